"""Properties of ordering and of stop-propagation, each against the naive reference.

``test_scenarios.py`` asks far more, of scenarios that do anything at any time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import AsyncEventDispatcher, Event, Race
from antiphon.testing import Backend, BackendName
from tests.helpers import make_listener, make_recording_listener
from tests.properties.generating import ordered_scenarios
from tests.properties.interpreter import interpret
from tests.properties.reference import sort_listeners, split_into_tiers
from tests.properties.scenarios import Add, Dispatch, How, LookUp, Scenario, Stop
from tests.properties.trace import get_end

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])
seeds = st.none() | st.integers(0, 1000)


class Listener(NamedTuple):
    number: int
    priority: int
    stops: bool


def get_listeners(scenario: Scenario) -> list[Listener]:
    """Return the listeners that a scenario registers."""
    found = zip(scenario.script, scenario.behaviors, strict=True)
    return [
        Listener(number, step.priority, any(isinstance(each, Stop) for each in behavior))
        for number, (step, behavior) in enumerate(found)
        if isinstance(step, Add)
    ]


def take_until_stop(groups: list[list[Listener]]) -> list[list[Listener]]:
    """Return the groups up to the first in which a listener stops the event, and this one."""
    stopping = [number for number, group in enumerate(groups) if any(each.stops for each in group)]
    return groups[: stopping[0] + 1] if stopping else groups


def get_log(scenario: Scenario, how: How, backend: Backend) -> list[tuple[str, Listener]]:
    """Dispatch one event to the listeners of a scenario; return which started and which finished, in order."""
    listeners = get_listeners(scenario)
    dispatching = Scenario(scenario.behaviors, (*scenario.script, Dispatch(how=how)), how, sync=scenario.sync)
    (dispatch,) = interpret(dispatching, backend).dispatches
    assert dispatch.returned is dispatch.event
    log = [(call.began, "starts", call) for call in dispatch.calls]
    log += [(get_end(call.ended), "finishes", call) for call in dispatch.calls if call.error is None]
    return [(what, listeners[call.registration.number]) for _, what, call in sorted(log, key=lambda entry: entry[0])]


def both(listeners: list[Listener]) -> list[tuple[str, Listener]]:
    return [(what, listener) for listener in listeners for what in ("starts", "finishes")]


@pytest.mark.parametrize("errors", ["raise", "collect"])
@pytest.mark.parametrize("backend", ["asyncio", "trio", "sync"])
@given(data=st.data(), seed=seeds)
def test_sequential_runs_in_order_up_to_a_stop(backend: Any, errors: Any, data: Any, seed: int | None) -> None:
    sync = backend == "sync"
    scenario = data.draw(ordered_scenarios(waits=not sync))
    log = get_log(scenario, How(errors=errors), Backend("asyncio" if sync else backend, seed))

    in_order = [[listener] for listener in sort_listeners(get_listeners(scenario))]
    assert log == both([listener for group in take_until_stop(in_order) for listener in group])


@backends
@pytest.mark.parametrize("limit", [None, 1, 2])
@given(scenario=ordered_scenarios(), seed=seeds)
def test_concurrent_runs_tier_by_tier_up_to_a_stop(
    limit: int | None, backend: BackendName, scenario: Scenario, seed: int | None
) -> None:
    log = iter(get_log(scenario, How("concurrent", limit=limit), Backend(backend, seed)))

    for tier in take_until_stop(split_into_tiers(get_listeners(scenario))):
        # The whole of a tier, in any order, before the next one starts.
        assert sorted(next(log) for _ in range(2 * len(tier))) == sorted(both(tier))
    assert not list(log)


@backends
@given(scenario=ordered_scenarios(), seed=seeds)
def test_a_race_has_one_winner_and_ends_at_its_stop(backend: BackendName, scenario: Scenario, seed: int | None) -> None:
    log = get_log(scenario, How("race"), Backend(backend, seed))
    started, finished = ([each for what, each in log if what == wanted] for wanted in ("starts", "finishes"))

    *before, last = take_until_stop(split_into_tiers(get_listeners(scenario))) or [[]]
    winners = [listener for listener in started if listener.stops]
    earlier = {listener for tier in before for listener in tier}
    assert len(winners) == any(listener.stops for listener in last)
    assert set(started) <= earlier | set(last)
    # Without a stop, the race runs all tiers.
    assert set(finished) >= earlier | set(winners or last)
    assert [each.priority for each in started] == sorted(each.priority for each in started)
    for winner in winners:
        assert log[log.index(("starts", winner)) + 1 :] == [("finishes", winner)]


@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
@given(data=st.data())
def test_lookups_give_the_order_of_a_dispatch(sync: bool, data: Any) -> None:
    scenario = data.draw(ordered_scenarios(waits=not sync))
    asking = Scenario(scenario.behaviors, (*scenario.script, LookUp()), sync=sync)
    (_, found, _), (_, has_listeners, _) = interpret(asking, Backend("asyncio")).outcomes[-2:]

    assert [each.number for each in found] == [each.number for each in sort_listeners(get_listeners(scenario))]
    assert has_listeners is bool(found)


def test_the_reference_is_as_a_reader_expects() -> None:
    first, late, early, stops = (
        Listener(0, 0, False),
        Listener(1, 5, False),
        Listener(2, -5, False),
        Listener(3, 0, True),
    )
    listeners = [first, late, early, stops]

    assert sort_listeners(listeners) == [early, first, stops, late]
    assert split_into_tiers(listeners) == [[early], [first, stops], [late]]
    assert take_until_stop(split_into_tiers(listeners)) == [[early], [first, stops]]


@backends
@pytest.mark.parametrize("outlives", [False, True], ids=["in its listener", "in a task that outlives it"])
def test_a_stop_within_an_inner_race_reaches_a_running_outer_one(backend: BackendName, outlives: bool) -> None:
    dispatcher, log, outer = AsyncEventDispatcher(strategy=Race()), list[str](), Event()

    async def dispatch_inner() -> None:
        if outlives:
            await anyio.sleep(1)
        await dispatcher.adispatch("inner")

    async def main() -> None:
        async with anyio.create_task_group() as group:

            @dispatcher.listen("outer")
            async def nest(event: Event) -> None:
                await (dispatch_inner() if not outlives else anyio.lowlevel.checkpoint())
                if outlives:
                    group.start_soon(dispatch_inner)

            # A tier of one listener is no race.
            for name in ("outer", "inner"):
                dispatcher.add_listener(name, make_listener(dispatcher, lambda event: None))
            dispatcher.add_listener("outer", make_recording_listener(dispatcher, log, "later"), priority=1)
            dispatcher.add_listener("inner", make_listener(dispatcher, lambda event: outer.stop_propagation()))
            await dispatcher.adispatch("outer", outer)

    Backend(backend).run(main)

    assert (log, outer.propagation_stopped) == (["later"] * outlives, True)
