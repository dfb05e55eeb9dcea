"""The entry points of ``python -m antiphon`` and of the command ``antiphon``."""

from __future__ import annotations

import sys
from pathlib import Path

from antiphon._cli import main

__all__ = ("run_script",)


def run_script() -> int:
    """Run the command ``antiphon``, and return the exit status.

    The current directory becomes importable, as with ``python -m antiphon``, unless Python runs in safe-path mode.
    """
    if not sys.flags.safe_path:
        sys.path.insert(0, str(Path.cwd()))
    return main()


if __name__ == "__main__":
    sys.exit(main())
