"""An event that can be set again and again, for one task that waits."""

from __future__ import annotations

import anyio

__all__ = ("Wakeup",)


class Wakeup:
    """Remembers that it was set until a task has waited for it."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        """Let the task that waits continue, or the next one that waits."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until it is set, and reset it."""
        await self._event.wait()
        self._event = anyio.Event()
