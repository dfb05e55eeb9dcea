"""The entry point of ``python -m antiphon``."""

from __future__ import annotations

import sys

from antiphon._cli import main

__all__ = ()

if __name__ == "__main__":
    sys.exit(main())
