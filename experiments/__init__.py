"""One claim per file: a docstring that fixes the rule of its verdict, `sweep`, `name`, `score`, `figures`. `run.py` is the command line."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before JAX is imported: XLA says of each large array that it exceeds `machine.HEAP`
