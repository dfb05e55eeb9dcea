"""The event loop that an object belongs to, for calls from other event loops and threads."""

from __future__ import annotations

from collections.abc import Callable
from threading import current_thread
from typing import Any

import anyio.lowlevel

__all__ = ("OwnerLoop",)


class OwnerLoop:
    """The event loop in which an object was created."""

    __slots__ = ("_loop", "_thread")

    def __init__(self) -> None:
        self._loop: Any = anyio.lowlevel.current_token().native_token
        self._thread = current_thread()

    def is_current(self) -> bool:
        """Return whether the current code runs in this event loop."""
        try:
            return current_thread() is self._thread and anyio.lowlevel.current_token().native_token is self._loop
        except Exception:
            # No event loop runs here.
            return False

    def call(self, function: Callable[[], object]) -> None:
        """Call a function in this event loop: immediately if it is the current one, otherwise soon. Does not wait."""
        if self.is_current():
            function()
            return
        # The first name is asyncio's, the second is Trio's.
        call_soon = getattr(self._loop, "call_soon_threadsafe", None) or self._loop.run_sync_soon
        try:
            call_soon(function)
        except RuntimeError:
            # The loop has finished, and so have the tasks that waited there. Trio's RunFinishedError is a RuntimeError.
            pass

    def __repr__(self) -> str:
        return f"{type(self._loop).__module__.partition('.')[0]}, thread {self._thread.name!r}"
