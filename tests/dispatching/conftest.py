"""The kinds of dispatchers and of events, each of which takes another path through a dispatch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential, Strategy
from antiphon._dispatchers.loops import change_running
from antiphon.instruments import Instrument
from tests.helpers import AnyDispatcher


@dataclass(frozen=True)
class Frozen(Event):
    number: int = 0


class Duck:
    name: Any = None
    dispatcher: Any = None
    propagation_stopped = False

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


EVENTS: dict[str, Callable[[], Any]] = {"Event": Event, "frozen dataclass": Frozen, "duck-typed": Duck}


def make_observed(kind: Callable[[], AnyDispatcher]) -> AnyDispatcher:
    """Make a dispatcher whose dispatches an instrument observes."""
    made = kind()
    made.add_instrument(Instrument())
    return made


STRATEGIES: list[Strategy] = [Sequential(), Sequential(errors="collect"), Concurrent(), Race()]
KINDS: dict[str, Callable[[], AnyDispatcher]] = {
    **{repr(strategy): partial(AsyncEventDispatcher, strategy=strategy) for strategy in STRATEGIES},
    "EventDispatcher": EventDispatcher,
    "EventDispatcher that collects": partial(EventDispatcher, errors="collect"),
    "AsyncEventDispatcher that is observed": partial(make_observed, AsyncEventDispatcher),
    "EventDispatcher that is observed": partial(make_observed, EventDispatcher),
}
IN_TURN = [name for name in KINDS if not name.startswith(("Concurrent", "Race"))]

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)


@pytest.fixture(params=KINDS)
def dispatcher(request: pytest.FixtureRequest) -> AnyDispatcher:
    return KINDS[request.param]()


@pytest.fixture(params=IN_TURN)
def sequential(request: pytest.FixtureRequest) -> AnyDispatcher:
    """A dispatcher that runs its listeners one after another."""
    return KINDS[request.param]()


@pytest.fixture(params=EVENTS)
def event(request: pytest.FixtureRequest) -> Any:
    return EVENTS[request.param]()


def count_running() -> int:
    """Return how many dispatches run a listener, as the loops count them."""
    [cell] = change_running.__closure__
    count: int = cell.cell_contents
    return count


@pytest.fixture(autouse=True)
def all_dispatches_end() -> Iterator[None]:
    """Check that each dispatch of a test is counted as ended."""
    before = count_running()
    yield
    assert count_running() == before


def stop(event: Any) -> None:
    event.stop_propagation()


def assign_stop(event: Any) -> None:
    # A frozen dataclass refuses a plain assignment.
    object.__setattr__(event, "propagation_stopped", True)


def fail(event: Any) -> None:
    raise LookupError


def dispatching(dispatcher: AnyDispatcher, get_arguments: Callable[[Any], Any]) -> Any:
    """Make a listener that dispatches: the function returns the dispatcher and its arguments, or None."""
    if isinstance(dispatcher, EventDispatcher):

        def listener(event: Any) -> None:
            arguments = get_arguments(event)
            if arguments is not None:
                arguments[0].dispatch(*arguments[1:])

        return listener

    async def async_listener(event: Any) -> None:
        arguments = get_arguments(event)
        if arguments is not None:
            await arguments[0].adispatch(*arguments[1:])

    return async_listener
