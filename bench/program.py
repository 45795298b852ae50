"""Measures the size of the program `turntable` and the time of `turntable --version`, from spawn to exit.

Usage: python3 bench/program.py PROGRAM
"""

import pathlib
import statistics
import subprocess
import sys
import time

ROUNDS = 50


def start(program: str) -> float:
    """Returns the milliseconds of one start."""
    began = time.perf_counter()
    subprocess.run([program, "--version"], stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    program = sys.argv[1]
    start(program)  # Reads the file into memory.
    starts = [start(program) for _ in range(ROUNDS)]
    size = pathlib.Path(program).stat().st_size
    print(f"{size / 1e6:.1f} MB; start {statistics.median(starts):.1f} ms (median of {ROUNDS}, {min(starts):.1f} to {max(starts):.1f})")


if __name__ == "__main__":
    main()
