"""``python -m tests.endurance``: the long runs, all of them or some."""

from __future__ import annotations

import argparse
import sys

from tests.endurance import bad_input, leaks, threads

RUNS = {"threads": threads.main, "leaks": leaks.main, "bad_input": bad_input.main}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 if one of the runs fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__)
    parser.add_argument("runs", nargs="*", choices=[*RUNS, []], help="which runs; without any, all of them")
    parser.add_argument("--short", action="store_true", help="in two minutes, and without storing the figures")
    options = parser.parse_args(arguments)
    failed = 0
    for name in options.runs or RUNS:
        print(f"{name}:", flush=True)
        failed |= RUNS[name](["--short"] if options.short else [])
    return failed


if __name__ == "__main__":
    sys.exit(main())
