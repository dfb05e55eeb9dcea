"""Whether threads take turns in this build of Python."""

import sys
from typing import Final

__all__ = ("HAS_GIL",)

#: The GIL cannot be switched off later.
HAS_GIL: Final[bool] = getattr(sys, "_is_gil_enabled", lambda: True)()
