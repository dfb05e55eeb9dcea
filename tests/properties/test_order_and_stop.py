"""Who runs, in which order, and who no longer does: the first properties of a dispatch.

A random choir sings on a real dispatcher, and is compared with the naive one of ``model.py``. (``test_programs.py`` asks
far more, of programs that do anything at any time.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential, Strategy
from antiphon.testing import Backend, BackendName
from tests.properties.model import Singer, in_order, performed_sequentially, performed_together, tiers_of


@st.composite
def choirs(draw: st.DrawFn) -> list[Singer]:
    """Up to eight singers in few tiers, of whom some stop the event."""
    singers = draw(
        st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 2), st.sampled_from([False, False, True])), max_size=8)
    )
    return [Singer(number, *singer) for number, singer in enumerate(singers)]


class Heard:
    """What was heard of a choir: who started and who finished, in order."""

    def __init__(self) -> None:
        self.log: list[tuple[str, Singer]] = []

    def listener_of(self, singer: Singer) -> Callable[[Event], Any]:
        async def listener(event: Event) -> None:
            self.log.append(("starts", singer))
            if singer.stops:
                event.stop_propagation()
            for _ in range(singer.pauses):
                await anyio.lowlevel.checkpoint()
            self.log.append(("finishes", singer))

        return listener

    def started(self) -> list[Singer]:
        return [singer for what, singer in self.log if what == "starts"]

    def finished(self) -> list[Singer]:
        return [singer for what, singer in self.log if what == "finishes"]


def sing(choir: list[Singer], strategy: Strategy | None, backend: Backend) -> Heard:
    """Register a choir, and dispatch one event to it."""
    heard = Heard()
    dispatcher = AsyncEventDispatcher()
    for singer in choir:
        dispatcher.add_listener("mass", heard.listener_of(singer), priority=singer.priority)
    event = Event()
    assert backend.run(lambda: dispatcher.adispatch("mass", event, strategy=strategy)) is event
    return heard


on_both_backends = pytest.mark.parametrize("name", ["asyncio", "trio"])
seeds = st.none() | st.integers(0, 1000)


@on_both_backends
@pytest.mark.parametrize("strategy", [None, Sequential(), Sequential(errors="collect")], ids=repr)
@given(choir=choirs(), seed=seeds)
def test_sequential_runs_in_order_up_to_the_first_that_stops(
    strategy: Strategy | None, name: BackendName, choir: list[Singer], seed: int | None
) -> None:
    heard = sing(choir, strategy, Backend(name, seed))

    one_after_another = [(what, singer) for singer in performed_sequentially(choir) for what in ("starts", "finishes")]
    assert heard.log == one_after_another


@given(choir=choirs())
def test_a_sync_dispatcher_runs_in_order_up_to_the_first_that_stops(choir: list[Singer]) -> None:
    heard: list[Singer] = []

    def listener_of(singer: Singer) -> Callable[[Event], None]:
        def listener(event: Event) -> None:
            heard.append(singer)
            event.propagation_stopped = singer.stops

        return listener

    dispatcher = EventDispatcher()
    for singer in choir:
        dispatcher.add_listener("mass", listener_of(singer), priority=singer.priority)
    dispatcher.dispatch("mass")

    assert heard == performed_sequentially(choir)


@on_both_backends
@pytest.mark.parametrize("limit", [None, 1, 2])
@given(choir=choirs(), seed=seeds)
def test_concurrent_runs_tier_by_tier_up_to_the_first_in_which_one_stops(
    limit: int | None, name: BackendName, choir: list[Singer], seed: int | None
) -> None:
    heard = sing(choir, Concurrent(limit), Backend(name, seed))

    log = iter(heard.log)
    for tier in performed_together(choir):
        # The whole of a tier, in any order, before the next one starts.
        tier_log = [next(log) for _ in range(2 * len(tier))]
        assert sorted(tier_log) == sorted((what, singer) for singer in tier for what in ("starts", "finishes"))
    assert not list(log)


@on_both_backends
@given(choir=choirs(), seed=seeds)
def test_concurrent_with_a_limit_of_one_still_lets_a_tier_finish_after_a_stop(
    name: BackendName, choir: list[Singer], seed: int | None
) -> None:
    heard = sing(choir, Concurrent(limit=1), Backend(name, seed))

    assert heard.started() == heard.finished()
    assert len(heard.finished()) == sum(map(len, performed_together(choir)))


@on_both_backends
@given(choir=choirs(), seed=seeds)
def test_a_race_nobody_wins_is_run_tier_by_tier(name: BackendName, choir: list[Singer], seed: int | None) -> None:
    choir = [singer._replace(stops=False) for singer in choir]
    heard = sing(choir, Race(), Backend(name, seed))

    finished = [singer.priority for singer in heard.finished()]
    assert finished == sorted(finished)
    assert sorted(heard.finished()) == sorted(choir)


@on_both_backends
@given(choir=choirs(), seed=seeds)
def test_a_race_has_one_winner_that_finishes_and_all_others_of_its_tier_end_at_its_stop(
    name: BackendName, choir: list[Singer], seed: int | None
) -> None:
    heard = sing(choir, Race(), Backend(name, seed))

    *before, last = performed_together(choir) or [[]]
    winners = [singer for singer in heard.started() if singer.stops]
    assert len(winners) == any(singer.stops for singer in last)
    assert set(heard.started()) <= {singer for tier in (*before, last) for singer in tier}
    assert set(heard.finished()) >= {singer for tier in before for singer in tier} | set(winners)
    for winner in winners:
        after = heard.log[heard.log.index(("starts", winner)) + 1 :]
        assert after == [("finishes", winner)]


@given(choir=choirs())
def test_get_listeners_tells_who_would_run_in_order(choir: list[Singer]) -> None:
    heard = Heard()
    dispatcher = AsyncEventDispatcher()
    listeners = {singer: heard.listener_of(singer) for singer in choir}
    for singer, listener in listeners.items():
        dispatcher.add_listener("mass", listener, priority=singer.priority)

    assert list(dispatcher.get_listeners("mass")) == [listeners[singer] for singer in in_order(choir)]
    assert dispatcher.has_listeners("mass") is bool(choir)


def test_the_naive_choir_is_as_a_reader_expects() -> None:
    first, late, early, stops = Singer(0, 0), Singer(1, 5), Singer(2, -5), Singer(3, 0, stops=True)
    choir = [first, late, early, stops]

    assert in_order(choir) == [early, first, stops, late]
    assert tiers_of(choir) == [[early], [first, stops], [late]]
    assert performed_sequentially(choir) == [early, first, stops]
    assert performed_together(choir) == [[early], [first, stops]]
