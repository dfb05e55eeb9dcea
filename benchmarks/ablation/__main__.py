"""The command: ``python -m benchmarks.ablation``."""

from __future__ import annotations

from argparse import ArgumentParser

from benchmarks.ablation.measuring import costs
from benchmarks.ablation.page import PAGE, as_markdown, put
from benchmarks.sampling import Settings

#: More passes than elsewhere: what is looked for is smaller than what the layout of memory does to a loop.
FULL = Settings(passes=100, rounds=12)
QUICK = Settings(passes=10, rounds=12)


def main() -> None:
    """Measures, shows the tables, and puts them into the documentation if asked to."""
    parser = ArgumentParser(prog="python -m benchmarks.ablation", description="What rules cost in each dispatch.")
    parser.add_argument("--quick", action="store_true", help="rough times in a few seconds")
    parser.add_argument("--update", action="store_true", help=f"put the tables into {PAGE.name}")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the variants (default: %(default)s)")
    asked = parser.parse_args()
    table = as_markdown(*costs(QUICK if asked.quick else FULL, asked.seed))
    print(table)
    if asked.update:
        put(table)


if __name__ == "__main__":
    main()
