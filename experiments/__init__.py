"""One claim per file: a docstring that fixes the rule of its verdict, `sweep`, `name`, `score`, `figures`. `run.py` is the command line."""
