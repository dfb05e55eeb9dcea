"""Names for the parameters of tests."""

from __future__ import annotations

import re
from typing import Final

__all__ = ("ADDRESS", "without_address")

#: What the repr of an object with an identity ends with, and that of a mock holds.
ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+| id='\d+'")


def without_address(value: object) -> str:
    """Return the repr of a parameter, the same in every process; ``ids=repr`` is enough for plain values."""
    return ADDRESS.sub("", repr(value))
