"""Listeners of a race, which log how they ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from antiphon import AsyncEventDispatcher, Event, Race
from tests.cancellation.tasks import forever, is_cancellation, left_by, settle

__all__ = ("Runners", "forever", "loses_and_sets", "returns", "stop", "stops_by_assignment", "waits", "wins")


class Runners:
    """Listeners that log how they ended."""

    def __init__(self, **options: Any) -> None:
        self.dispatcher = AsyncEventDispatcher(strategy=Race(**options))
        self.log: list[str] = []

    def add(self, name: str, run: Callable[[Event], Awaitable[object]], priority: int = 0) -> None:
        async def runner(event: Event) -> None:
            try:
                await run(event)
            except BaseException as exc:
                self.log.append(f"{name} cancelled" if is_cancellation(exc) else f"{name} failed")
                raise
            self.log.append(f"{name} finished")

        self.dispatcher.add_listener("order.offered", runner, priority=priority)

    async def dispatch(self, event: Any = None) -> Any:
        # Without a winner, listeners that wait never end.
        with anyio.fail_after(10):
            return await self.dispatcher.adispatch("order.offered", Event() if event is None else event)

    async def left_by_dispatch(self) -> Any:
        """Dispatch. Returns what leaves."""
        return await left_by(self.dispatch)


def stop(event: Event) -> None:
    event.stop_propagation()


async def returns(event: Event) -> None: ...


async def waits(event: Event) -> None:
    await settle()


async def wins(event: Event) -> None:
    """Stop the event while the others wait, and wait again."""
    await settle()
    event.stop_propagation()
    await settle()
    await settle()


async def stops_by_assignment(event: Event) -> None:
    event.propagation_stopped = True


def loses_and_sets(lost: Any) -> Callable[[Event], Awaitable[None]]:
    async def loses(event: Event) -> None:
        try:
            await forever()
        finally:
            lost.set()

    return loses
