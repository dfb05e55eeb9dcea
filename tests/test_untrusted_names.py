"""docs/security.md: names from outside match no more than their text, and do not fill the memory."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Event
from antiphon._registry.caches import MAX_CACHED_NAMES_WITHOUT_LISTENERS
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener


class LongName(str):
    """A name to which a weak reference is possible."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("name", ["*", "**", "order.*", "*.placed", "order.**"])
async def test_a_pattern_is_refused_as_a_name(dispatcher: AnyDispatcher, name: str) -> None:
    log: list[Any] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "placed"))

    with pytest.raises(TypeError, match="pattern"):
        await dispatcher.adispatch(name)

    assert log == []


@pytest.mark.parametrize(
    "name", ["order.placed\n", " order.placed", "order.placed\0", "ORDER.PLACED", "order\u2024placed", "order.placed\ud800", "a*b", "[o]rder.placed", "order.?laced", ""]
)  # fmt: skip
async def test_a_similar_name_reaches_no_listener_of_another(dispatcher: AnyDispatcher, name: str) -> None:
    log: list[Any] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "placed"))

    await dispatcher.adispatch(name)
    await dispatcher.adispatch("order.placed")

    assert log == ["placed"]


async def test_a_pattern_does_not_match_beyond_its_segment(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    dispatcher.add_listener("order.*", make_listener(dispatcher, lambda event: log.append(event.name)))

    for name in ("order", "order.a.b", "order..b", "orders.a", "x.order.a"):
        await dispatcher.adispatch(name)

    assert log == []


async def test_many_names_leave_a_bounded_number_of_plans(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_listener("**", make_listener(dispatcher, lambda event: None))

    for number in range(3 * MAX_CACHED_NAMES_WITHOUT_LISTENERS):
        await dispatcher.adispatch(f"order.{number}")
        dispatcher.has_listeners(f"payment.{number}")

    caches = dispatcher._registry._caches
    assert len(caches.plans) <= MAX_CACHED_NAMES_WITHOUT_LISTENERS
    assert len(caches.answers) <= MAX_CACHED_NAMES_WITHOUT_LISTENERS


@pytest.mark.parametrize("pattern", ["**", "order.placed"])
async def test_a_huge_name_is_not_kept(dispatcher: AnyDispatcher, pattern: str) -> None:
    dispatcher.add_listener(pattern, make_listener(dispatcher, lambda event: None))
    name = LongName("n" * 100_000)
    kept = weakref.ref(name)

    await dispatcher.adispatch(name)
    dispatcher.get_listeners(name)
    dispatcher.has_listeners(name)
    del name
    gc.collect()

    assert kept() is None


async def test_a_huge_name_reaches_its_listener_each_time(dispatcher: AnyDispatcher) -> None:
    name = "n" * 100_000
    log: list[Any] = []
    dispatcher.add_listener(name, make_recording_listener(dispatcher, log, "exact"))
    dispatcher.add_listener("*", make_recording_listener(dispatcher, log, "pattern"), priority=1)

    await dispatcher.adispatch(name)
    await dispatcher.adispatch(name)
    await dispatcher.adispatch(f"{name}n")

    assert log == ["exact", "pattern", "exact", "pattern", "pattern"]


async def test_declared_names_refuse_all_others() -> None:
    dispatcher = AsyncEventDispatcher(names=["order.placed"])

    with pytest.raises(ValueError):
        await dispatcher.adispatch("order.cancelled")


class Hostile(Event):
    """An event whose attributes raise."""

    def __getattr__(self, attribute: str) -> Any:
        raise RuntimeError(f"no {attribute} for you")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison for you")

    __hash__ = None  # type: ignore[assignment]  # that is its subject

    def __repr__(self) -> str:
        raise RuntimeError("no repr for you")


async def test_a_hostile_event_stays_alone(dispatcher: AnyDispatcher) -> None:
    """It may end its own dispatch, and changes nothing for the next event."""
    log: list[Any] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "placed"))

    with suppress(RuntimeError):
        await dispatcher.adispatch("order.placed", Hostile())
    log.clear()
    await dispatcher.adispatch("order.placed")

    assert log == ["placed"]
