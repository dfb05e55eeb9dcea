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
    #: Where the interrupt comes from: a ``listener`` that raises it, in the caller's task or in a ``task`` of its own, or
    #: the signal (``Control-C``) while listeners wait.
    source: str
    #: Whether another listener's ``ValueError`` was collected before.
    errors_in_hand: bool
    backend: str
    #: What the caller of ``adispatch`` sees.
    leaves_dispatch: str
    #: What the caller of ``anyio.run`` sees. Under asyncio a listener's interrupt stops the loop at once.
    leaves_run: str


_EVERY: Final = ("Sequential", "Concurrent", "Race")
_TOGETHER: Final = ("Concurrent", "Race")

INTERRUPTS: Final = (
    Row(_EVERY, "listener", False, "asyncio", "interrupt", "interrupt"),
    Row(_EVERY, "listener", False, "trio", "interrupt", "interrupt"),
    Row(_EVERY, "listener", True, "asyncio", "group(ValueError, interrupt)", "group(ValueError, interrupt)"),
    Row(_EVERY, "listener", True, "trio", "group(ValueError, interrupt)", "group(ValueError, interrupt)"),
    # On asyncio an interrupt in a task ends the loop, whatever the code that waits for the task does.
    Row(_TOGETHER, "listener in a task", False, "asyncio", "interrupt", "interrupt"),
    Row(_TOGETHER, "listener in a task", False, "trio", "interrupt", "interrupt"),
    Row(_TOGETHER, "listener in a task", True, "asyncio", "group(ValueError, interrupt)", "interrupt"),
    Row(_TOGETHER, "listener in a task", True, "trio", "group(ValueError, interrupt)", "group(ValueError, interrupt)"),
    # asyncio turns Control-C into a cancellation, which becomes an interrupt again if it leaves the main task bare.
    Row(_EVERY, "Control-C", False, "asyncio", "cancellation", "interrupt"),
    Row(_EVERY, "Control-C", False, "trio", "interrupt", "interrupt"),
    Row(_EVERY, "Control-C", True, "asyncio", "group(ValueError, cancellation)", "group(ValueError, cancellation)"),
    Row(_EVERY, "Control-C", True, "trio", "group(ValueError, interrupt)", "group(ValueError, interrupt)"),
)
