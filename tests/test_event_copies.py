"""Rule 8: copies and pickles of events take their data over, the name and the mark, and not the running dispatch."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Event
from tests.event_kinds import Duck, Frozen, FrozenSlotted, Minimal, NamedLater, Slotted, WithName, WithNameField, kinds
from tests.helpers import make_listener


@dataclass
class Numbered(Event):
    number: int = 0
    more: list[int] = field(default_factory=list)


class WithState(Event):
    def __init__(self, number: int) -> None:
        self.number = number

    def __getstate__(self) -> int:
        return self.number

    def __setstate__(self, number: int) -> None:
        self.number = number + 1


class WithAll(Event):
    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "dispatcher"}


class WithListedState(Event):
    def __getstate__(self) -> list[Any]:
        return [vars(self)]

    def __setstate__(self, state: list[Any]) -> None:
        vars(self).update(state[0])


KINDS: list[Any] = [Numbered, Frozen, Slotted, FrozenSlotted]
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda event: pickle.loads(pickle.dumps(event)),
    "pickle, protocol 2": lambda event: pickle.loads(pickle.dumps(event, protocol=2)),
}


@pytest.fixture(params=COPIES)
def copied(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return COPIES[request.param]


@kinds([*KINDS, Minimal])
def test_an_event_can_be_copied_before_a_dispatch(copied: Callable[[Any], Any], kind: Any) -> None:
    twin = copied(kind(7))

    assert type(twin) is kind
    assert (twin.name, twin.dispatcher, twin.propagation_stopped) == (None, None, False)


@kinds(KINDS)
async def test_data_is_copied_in_and_after_a_dispatch(copied: Callable[[Any], Any], kind: Any) -> None:
    dispatcher, twins = AsyncEventDispatcher(), []
    dispatcher.add_listener("order.placed", make_listener(dispatcher, lambda event: twins.append(copied(event))))

    event = await dispatcher.adispatch("order.placed", kind(7))

    assert [*twins, copied(event)] == [event] * 2
    assert twins[0] is not event


async def test_a_copy_keeps_name_and_mark_but_not_the_dispatcher(copied: Callable[[Any], Any]) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", make_listener(dispatcher, Event.stop_propagation))

    twin = copied(await dispatcher.adispatch("order.placed", Numbered(7)))

    assert (twin.name, twin.dispatcher, twin.propagation_stopped) == ("order.placed", None, True)


@pytest.mark.parametrize("make", [lambda: Numbered(7), Duck], ids=["event", "duck-typed"])
async def test_a_copy_can_be_dispatched_by_a_listener(copied: Callable[[Any], Any], make: Any) -> None:
    dispatcher, twins = AsyncEventDispatcher(), []

    @dispatcher.listen("order.placed")
    async def dispatch_copy(event: Event) -> None:
        twins.append(await dispatcher.adispatch("order.paid", copied(event) if make is not Duck else copy.copy(event)))

    dispatcher.add_listener("order.paid", make_listener(dispatcher, lambda event: event.stop_propagation()))
    event = await dispatcher.adispatch("order.placed", make())

    assert (event.name, event.propagation_stopped) == ("order.placed", False)
    # If the copy counted as the running event, its earlier name would have been restored.
    assert (twins[0].name, twins[0].propagation_stopped) == ("order.paid", True)


async def test_a_class_may_define_its_own_state(copied: Callable[[Any], Any]) -> None:
    event = await AsyncEventDispatcher(name="shop").adispatch("order.placed", WithAll())

    twin = copied(event)
    assert (copied(WithState(7)).number, twin.name, twin.dispatcher) == (8, "order.placed", None)


@kinds([WithNameField, WithName, NamedLater])
async def test_a_name_set_by_a_listener_is_copied(copied: Callable[[Any], Any], kind: Any) -> None:
    dispatcher = AsyncEventDispatcher()

    def rename(event: Any) -> None:
        event.name = "order.renamed"

    dispatcher.add_listener("order.placed", make_listener(dispatcher, rename))
    event = await dispatcher.adispatch("order.placed", kind())

    assert copied(event).name == "order.renamed"


@pytest.mark.parametrize("copier", [copy.deepcopy, COPIES["pickle"]], ids=["deepcopy", "pickle"])
async def test_a_state_that_contains_the_attributes_keeps_no_dispatcher(copier: Callable[[Any], Any]) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", make_listener(dispatcher, Event.stop_propagation))
    event = await dispatcher.adispatch("order.placed", WithListedState())

    twin = copier(event)

    assert (twin.name, twin.dispatcher, twin.propagation_stopped) == ("order.placed", None, True)


async def test_other_attributes_of_an_event_with_slots_are_copied(copied: Callable[[Any], Any]) -> None:
    event: Any = await AsyncEventDispatcher().adispatch("order.placed", Slotted(7))
    event.more = [8]

    twin = copied(event)

    assert (twin.number, vars(twin)["more"]) == (7, [8])
    assert "number" not in vars(twin)


class Singleton(Event):
    def __reduce__(self) -> str:
        return "THE_EVENT"


THE_EVENT = Singleton()


async def test_an_event_that_is_a_global_object_is_not_copied(copied: Callable[[Any], Any]) -> None:
    await AsyncEventDispatcher().adispatch("order.placed", THE_EVENT)

    assert copied(THE_EVENT) is THE_EVENT
