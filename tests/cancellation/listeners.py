"""Listeners that can be cancelled at a chosen checkpoint, and the strategies and policies that run them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import anyio
import pytest
from anyio import CancelScope
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, ErrorPolicy, Event, Race, Sequential, Strategy
from tests.cancellation.tasks import forever, is_cancellation

Make = Callable[..., Strategy]

STRATEGIES: Final[dict[str, Make]] = {
    "sequential": Sequential,
    "concurrent": Concurrent,
    "concurrent-limit-1": partial(Concurrent, 1),
    "concurrent-limit-2": partial(Concurrent, 2),
    "race": Race,
}
GROUPING: Final = {name: make for name, make in STRATEGIES.items() if name != "sequential"}


def overlook(exc: Exception, event: Any, listener: Any) -> None:
    """An error policy under which the dispatch goes on."""


POLICIES: Final[dict[str, ErrorPolicy]] = {"raise": "raise", "collect": "collect", "callable": overlook}

#: Every strategy, to be made with a policy or without.
every_strategy = pytest.mark.parametrize("make", STRATEGIES.values(), ids=STRATEGIES.keys())
#: Those that run a tier together.
every_grouping_strategy = pytest.mark.parametrize("make", GROUPING.values(), ids=GROUPING.keys())
#: Those that run a whole tier together.
every_unlimited_strategy = pytest.mark.parametrize("make", [Concurrent, Race], ids=["concurrent", "race"])
every_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
#: Those under which the dispatch goes on after an error.
every_lenient_policy = pytest.mark.parametrize("policy", ["collect", overlook], ids=["collect", "callable"])


def of(*listeners: Any, later: Any = None, strategy: Strategy | None = None) -> AsyncEventDispatcher:
    """Make a dispatcher with listeners of one priority, and one of a later priority."""
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    for listener in listeners:
        dispatcher.add_listener("order.placed", listener)
    if later is not None:
        dispatcher.add_listener("order.placed", later, priority=1)
    return dispatcher


def failing(error: BaseException) -> Callable[[Event], Awaitable[None]]:
    async def fail(event: Event) -> None:
        raise error

    return fail


async def fails_in_clean_up(event: Event) -> None:
    try:
        await forever()
    finally:
        raise ValueError("clean-up")


def logging(log: list[str], name: str) -> Callable[[Event], Awaitable[None]]:
    """Make a listener that waits once, and then logs its name."""

    async def listener(event: Event) -> None:
        await checkpoint()
        log.append(name)

    return listener


async def make_stored_cancellation() -> BaseException:
    """Return a cancellation whose scope has ended."""
    stored: list[BaseException] = []
    with CancelScope() as scope:
        scope.cancel()
        try:
            await checkpoint()
        except BaseException as exc:
            stored.append(exc)
            raise
    assert is_cancellation(stored[0])
    return stored[0]


#: Two listeners, then three, then one.
TIERS: Final = (2, 3, 1)
CHECKPOINTS: Final = 2
#: How many checkpoints the listeners of a dispatch pass.
ALL_CHECKPOINTS: Final = sum(TIERS) * CHECKPOINTS


class TieredListeners:
    """Listeners in tiers, each passing some checkpoints, all of which are counted together.

    Args:
        at: Which of all the checkpoints is special, counted from 1; 0 for none.
        act: What to do there, before the listener passes the checkpoint; it may block.
    """

    def __init__(self, at: int = 0, act: Callable[[], Awaitable[object]] | None = None) -> None:
        self.dispatcher = AsyncEventDispatcher(name="orders")
        self.started: list[str] = []
        self.finished: list[str] = []
        self.cancelled: list[str] = []
        #: The listener at the special checkpoint.
        self.interrupted = ""
        self.passed = 0
        self._at = at
        self._act = act
        for tier, size in enumerate(TIERS):
            for number in range(size):
                self.dispatcher.add_listener("order.placed", self._listener(f"{tier}.{number}"), priority=tier)

    async def dispatch(self, strategy: Strategy, event: Event | None = None) -> Event:
        return await self.dispatcher.adispatch("order.placed", Event() if event is None else event, strategy=strategy)

    def _listener(self, name: str) -> Callable[[Event], Awaitable[None]]:
        async def listener(event: Event) -> None:
            self.started.append(name)
            try:
                for _ in range(CHECKPOINTS):
                    await self._checkpoint(name)
            except anyio.get_cancelled_exc_class():
                self.cancelled.append(name)
                raise
            self.finished.append(name)

        return listener

    async def _checkpoint(self, name: str) -> None:
        self.passed += 1
        if self.passed == self._at:
            self.interrupted = name
            assert self._act is not None
            await self._act()
        await checkpoint()

    def assert_complete(self) -> None:
        """Check that all listeners have finished."""
        assert self.cancelled == []
        assert sorted(self.finished) == sorted(self.started)
        assert len(self.finished) == sum(TIERS)

    def assert_cancelled_in_order(self, *, together: bool) -> None:
        """Check that all that started have ended, the interrupted one by cancellation, and that tiers were kept.

        Args:
            together: Whether the listeners of one tier run together.
        """
        names = [f"{tier}.{number}" for tier, size in enumerate(TIERS) for number in range(size)]
        assert self.interrupted in self.cancelled
        assert sorted(self.finished + self.cancelled) == sorted(self.started), "a listener did not end"
        if together:
            tier = self.interrupted[0]
            earlier = [name for name in names if name < f"{tier}."]
            assert set(earlier) <= set(self.finished), "an earlier tier did not finish"
            assert all(name.startswith(tier) for name in set(self.started) - set(earlier)), "a later tier was started"
            assert all(name.startswith(tier) for name in self.cancelled)
        else:
            turn = names.index(self.interrupted)
            assert self.finished == names[:turn]
            assert self.cancelled == [self.interrupted]
            assert self.started == names[: turn + 1]
