"""What leaves a dispatch that is interrupted, and what leaves ``anyio.run`` then: the table that the docs quote.

An interrupt is ``KeyboardInterrupt`` or ``SystemExit``. No policy sees one. ``test_interrupts.py`` proves each row, on
asyncio with and without uvloop and on trio.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ("INTERRUPTS", "Row")


class Row(NamedTuple):
    """One row of the table."""

    strategies: tuple[str, ...]
    #: Where the interrupt comes from: a ``listener`` that raises it, or the signal (``Control-C``) while listeners wait.
    source: str
    #: Whether another listener's ``ValueError`` was collected before.
    errors_in_hand: bool
    backend: str
    #: What the caller of ``adispatch`` sees.
    leaves_dispatch: str
    #: What the caller of ``anyio.run`` sees. Under asyncio a listener's interrupt stops the loop at once.
    leaves_run: str


_SEQUENTIAL: Final = ("Sequential",)
_TOGETHER: Final = ("Concurrent", "Race")

INTERRUPTS: Final = (
    Row(_SEQUENTIAL, "listener", False, "asyncio", "interrupt", "interrupt"),
    Row(_SEQUENTIAL, "listener", False, "trio", "interrupt", "interrupt"),
    Row(_SEQUENTIAL, "listener", True, "asyncio", "group(ValueError, interrupt)", "group(ValueError, interrupt)"),
    Row(_SEQUENTIAL, "listener", True, "trio", "group(ValueError, interrupt)", "group(ValueError, interrupt)"),
    Row(_TOGETHER, "listener", False, "asyncio", "group(interrupt)", "interrupt"),
    Row(_TOGETHER, "listener", False, "trio", "group(interrupt)", "group(interrupt)"),
    Row(_TOGETHER, "listener", True, "asyncio", "group(ValueError, group(interrupt))", "interrupt"),
    Row(
        _TOGETHER,
        "listener",
        True,
        "trio",
        "group(ValueError, group(interrupt))",
        "group(ValueError, group(interrupt))",
    ),
    # asyncio makes a cancellation of Control-C, and an interrupt of that again when it leaves the main task bare.
    Row(_SEQUENTIAL, "Control-C", False, "asyncio", "cancellation", "interrupt"),
    Row(_SEQUENTIAL, "Control-C", False, "trio", "interrupt", "interrupt"),
    Row(
        _SEQUENTIAL, "Control-C", True, "asyncio", "group(ValueError, cancellation)", "group(ValueError, cancellation)"
    ),
    Row(_SEQUENTIAL, "Control-C", True, "trio", "group(ValueError, interrupt)", "group(ValueError, interrupt)"),
    Row(_TOGETHER, "Control-C", False, "asyncio", "cancellation", "interrupt"),
    Row(_TOGETHER, "Control-C", False, "trio", "group(interrupt)", "group(interrupt)"),
    Row(_TOGETHER, "Control-C", True, "asyncio", "group(ValueError, cancellation)", "group(ValueError, cancellation)"),
    Row(
        _TOGETHER,
        "Control-C",
        True,
        "trio",
        "group(ValueError, group(interrupt))",
        "group(ValueError, group(interrupt))",
    ),
)
