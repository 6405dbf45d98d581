"""Times an import in a new process: `python -m benchmarks.importing MODULE` prints JSON, seconds of JAX and of the module above it.

Seconds are those of the processor: importing waits for nothing but a disk, whose first time is not the package's.
"""

import json
import sys
import time


def main(name: str) -> None:
    """Imports JAX, then the module, and prints the seconds of both."""
    begin = time.process_time()
    __import__("jax.numpy")
    jax = time.process_time()
    __import__(name)
    end = time.process_time()
    print(json.dumps({"jax": jax - begin, "above": end - jax}))


if __name__ == "__main__":
    main(sys.argv[1])
