"""The event loop that something belongs to, seen from others and from their threads."""

from __future__ import annotations

from collections.abc import Callable
from threading import current_thread
from typing import Any

import anyio.lowlevel

__all__ = ("OwnerLoop",)


class OwnerLoop:
    """The event loop that something was made in, and belongs to."""

    __slots__ = ("_loop", "_thread")

    def __init__(self) -> None:
        self._loop: Any = anyio.lowlevel.current_token().native_token
        self._thread = current_thread()

    def is_current(self) -> bool:
        """Tell whether the running code runs in this event loop."""
        try:
            return current_thread() is self._thread and anyio.lowlevel.current_token().native_token is self._loop
        except Exception:
            # No event loop runs here.
            return False

    def call(self, function: Callable[[], object]) -> None:
        """Call a function that must run in this event loop: at once if this is it, else soon, without waiting."""
        if self.is_current():
            function()
            return
        # asyncio's name for it, and trio's.
        soon = getattr(self._loop, "call_soon_threadsafe", None) or self._loop.run_sync_soon
        try:
            soon(function)
        except RuntimeError:
            # The loop has ended, and with it whoever waited there. (trio's RunFinishedError is a RuntimeError too.)
            pass

    def __repr__(self) -> str:
        return f"{type(self._loop).__module__.partition('.')[0]}, thread {self._thread.name!r}"
