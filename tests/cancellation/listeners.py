"""Listeners that can be cancelled at a chosen checkpoint, and the strategies and policies to drive them with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import pytest
from anyio import lowlevel

from antiphon import AsyncEventDispatcher, Concurrent, ErrorPolicy, Event, Race, Sequential, Strategy

Make = Callable[..., Strategy]


def _limited(limit: int) -> Make:
    return lambda **options: Concurrent(limit, **options)


STRATEGIES: Final[dict[str, Make]] = {
    "sequential": Sequential,
    "concurrent": Concurrent,
    "concurrent-limit-1": _limited(1),
    "concurrent-limit-2": _limited(2),
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

#: Two listeners, then three, then one.
TIERS: Final = (2, 3, 1)
CHECKPOINTS: Final = 2
#: How many checkpoints a dispatch to such a choir passes in its listeners.
ALL_CHECKPOINTS: Final = sum(TIERS) * CHECKPOINTS


class Choir:
    """Listeners in tiers, each passing some checkpoints, all of which are counted together.

    Args:
        at: Which of all the checkpoints is special, counted from 1; 0 for none.
        act: What to do there, before the listener passes the checkpoint; it may block.
    """

    def __init__(self, at: int = 0, act: Callable[[], Awaitable[object]] | None = None) -> None:
        self.dispatcher = AsyncEventDispatcher(name="choir")
        self.started: list[str] = []
        self.finished: list[str] = []
        self.cancelled: list[str] = []
        #: Who was at the special checkpoint.
        self.interrupted = ""
        self.passed = 0
        self._at = at
        self._act = act
        for tier, size in enumerate(TIERS):
            for number in range(size):
                self.dispatcher.add_listener("order.placed", self._voice(f"{tier}.{number}"), priority=tier)

    async def sing(self, strategy: Strategy, event: Event | None = None) -> Event:
        return await self.dispatcher.adispatch("order.placed", Event() if event is None else event, strategy=strategy)

    def _voice(self, name: str) -> Callable[[Event], Awaitable[None]]:
        async def voice(event: Event) -> None:
            self.started.append(name)
            try:
                for _ in range(CHECKPOINTS):
                    await self._checkpoint(name)
            except anyio.get_cancelled_exc_class():
                self.cancelled.append(name)
                raise
            self.finished.append(name)

        return voice

    async def _checkpoint(self, name: str) -> None:
        self.passed += 1
        if self.passed == self._at:
            self.interrupted = name
            assert self._act is not None
            await self._act()
        await lowlevel.checkpoint()

    def assert_complete(self) -> None:
        """Nobody was cancelled, and everybody has sung."""
        assert self.cancelled == []
        assert sorted(self.finished) == sorted(self.started)
        assert len(self.finished) == sum(TIERS)

    def assert_cancelled_in_order(self, *, together: bool) -> None:
        """Whoever started has ended, the interrupted voice by cancellation; tiers and turns were kept.

        Args:
            together: Whether the voices of one tier sing together.
        """
        everybody = [f"{tier}.{number}" for tier, size in enumerate(TIERS) for number in range(size)]
        assert self.interrupted in self.cancelled
        assert sorted(self.finished + self.cancelled) == sorted(self.started), (
            "somebody neither finished nor was cancelled"
        )
        if together:
            tier = self.interrupted[0]
            earlier = [name for name in everybody if name < f"{tier}."]
            assert set(earlier) <= set(self.finished), "an earlier tier did not finish"
            assert all(name.startswith(tier) for name in set(self.started) - set(earlier)), "a later tier was started"
            assert all(name.startswith(tier) for name in self.cancelled)
        else:
            turn = everybody.index(self.interrupted)
            assert self.finished == everybody[:turn]
            assert self.cancelled == [self.interrupted]
            assert self.started == everybody[: turn + 1]
