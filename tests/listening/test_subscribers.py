"""Subscribers: marked methods, inherited and overridden ones, registered all together or not at all."""

from __future__ import annotations

import functools
import gc
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any
from unittest.mock import AsyncMock, Mock

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, Subscription, listens_to
from antiphon.testing import settle
from tests.helpers import AnyDispatcher
from tests.naming import without_address

PLACED, PAID = "order.placed", "order.paid"


class Recording:
    def __init__(self) -> None:
        self.log: list[Any] = []


def fitting(dispatcher: AnyDispatcher, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function as it is for a sync dispatcher, and as an async one otherwise."""

    @functools.wraps(function)
    async def async_function(*args: Any) -> Any:
        return function(*args)

    return function if isinstance(dispatcher, EventDispatcher) else async_function


def make_shop(dispatcher: AnyDispatcher) -> Any:
    """Make a subscriber with one marked method."""

    class Shop(Recording):
        charge = listens_to(PLACED)(fitting(dispatcher, lambda self, event: self.log.append("charged")))

    return Shop()


async def dispatched(dispatcher: AnyDispatcher, log: list[Any], *names: Hashable) -> list[Any]:
    """Dispatch under each name, and return what was recorded."""
    log.clear()
    for name in names:
        await dispatcher.adispatch(name, Event())
    return list(log)


def get_keys(subscriber: object) -> list[Hashable]:
    return [subscription.key for subscription in AsyncEventDispatcher().add_subscriber(subscriber)]


# Marks


async def test_a_marked_method_is_still_a_method() -> None:
    class Shop(Recording):
        @listens_to(PLACED)
        async def charge(self, event: Any) -> None:
            self.log.append(event)

    async def validate(self: Any, event: Event) -> None: ...

    shop = Shop()
    await shop.charge("called")

    assert shop.log == ["called"]
    assert listens_to(PLACED)(validate) is validate


async def test_each_mark_is_a_registration_of_its_own() -> None:
    class Shop(Recording):
        @listens_to(PLACED, once=True)
        @listens_to(PLACED, priority=5)
        @listens_to("*")
        @listens_to(PAID)
        @listens_to(KeyError)
        async def charge(self, event: Any) -> None:
            self.log.append(getattr(event, "name", "no name"))

    dispatcher, shop = AsyncEventDispatcher(), Shop()
    dispatcher.add_subscriber(shop)

    assert await dispatched(dispatcher, shop.log, PLACED) == [PLACED] * 3
    assert await dispatched(dispatcher, shop.log, PLACED, PAID, "other") == [PLACED] * 2 + [PAID] * 2 + ["other"]
    shop.log.clear()
    await dispatcher.adispatch(KeyError())
    assert shop.log == ["no name"] * 2


async def test_marks_have_every_option_in_the_order_of_reading() -> None:
    def is_large(event: Event) -> bool:
        return True

    class Shop:
        @listens_to("first", priority=3, once=True, where=is_large, timeout=5, limit=2)
        @listens_to("second")
        async def charge(self, event: Event) -> None: ...

        @listens_to("third")
        async def validate(self, event: Event) -> None: ...

    first, *others = AsyncEventDispatcher().add_subscriber(Shop())

    assert [first.key, *(subscription.key for subscription in others)] == ["first", "second", "third"]
    assert (first.priority, *first.options) == (3, True, is_large, 5, 2)


async def test_priorities_of_marks_order_methods_among_listeners(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    class Shop:
        receipt = listens_to(PLACED, priority=1)(fitting(dispatcher, lambda self, event: log.append("late")))
        validate = listens_to(PLACED, priority=-1)(fitting(dispatcher, lambda self, event: log.append("early")))

    dispatcher.add_listener(PLACED, fitting(dispatcher, lambda event: log.append("between")))
    dispatcher.add_subscriber(Shop())
    dispatcher.add_listener(PLACED, fitting(dispatcher, lambda event: log.append("last")), priority=1)
    await dispatcher.adispatch(PLACED, Event())

    assert log == ["early", "between", "late", "last"]


async def test_a_subscriber_may_be_added_twice_and_elsewhere(dispatcher: AnyDispatcher) -> None:
    other, unused, shop = type(dispatcher)(), make_shop(dispatcher), make_shop(dispatcher)
    handles = [dispatcher.add_subscriber(shop), dispatcher.add_subscriber(shop)]
    other.add_subscriber(shop)

    assert await dispatched(dispatcher, shop.log, PLACED) == ["charged"] * 2
    for handle in handles:
        handle.unsubscribe()
    assert await dispatched(dispatcher, shop.log, PLACED) == []
    assert await dispatched(other, shop.log, PLACED) == ["charged"]
    assert unused.log == []


def test_a_marked_function_is_a_listener_like_any_other(dispatcher: AnyDispatcher) -> None:
    function = listens_to(PLACED)(fitting(dispatcher, lambda event: None))
    dispatcher.add_listener(PAID, function)

    assert dispatcher.get_listeners() == {PAID: (function,)}


# Inheritance


class Base(Recording):
    @listens_to("first")
    async def charge(self, event: Any) -> None:
        self.log.append("Base.charge")

    @listens_to("second")
    async def receipt(self, event: Any) -> None:
        self.log.append("Base.receipt")


class Inherits(Base): ...


class Overrides(Base):
    async def charge(self, event: Any) -> None:
        await super().charge(event)
        self.log.append("Overrides.charge")


class OverridesAgain(Overrides):
    async def charge(self, event: Any) -> None:
        await super().charge(event)
        self.log.append("OverridesAgain.charge")


class Marks(Base):
    @listens_to("third")
    async def charge(self, event: Any) -> None:
        self.log.append("Marks.charge")


class Removes(Base):
    charge = None  # type: ignore[assignment]  # removes the method


class Other(Recording):
    @listens_to("other")
    async def charge(self, event: Any) -> None:
        self.log.append("Other.charge")

    @listens_to("third")
    async def other(self, event: Any) -> None:
        self.log.append("Other.other")


class Both(Other, Base): ...


class Abstract(Recording, ABC):
    @listens_to("first")
    @abstractmethod
    async def charge(self, event: Any) -> None: ...


class Concrete(Abstract):
    async def charge(self, event: Any) -> None:
        self.log.append("Concrete.charge")


class Adds(Base):
    @listens_to("first")
    async def added(self, event: Any) -> None:
        self.log.append("Adds.added")

    @listens_to("first")
    async def also(self, event: Any) -> None:
        self.log.append("Adds.also")

    async def charge(self, event: Any) -> None:
        self.log.append("Adds.charge")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Base, ["Base.charge", "Base.receipt"]),
        (Inherits, ["Base.charge", "Base.receipt"]),
        (Overrides, ["Base.charge", "Overrides.charge", "Base.receipt"]),
        (OverridesAgain, ["Base.charge", "Overrides.charge", "OverridesAgain.charge", "Base.receipt"]),
        # Marks of an overriding method replace the inherited ones.
        (Marks, ["Base.receipt", "Marks.charge"]),
        (Removes, ["Base.receipt"]),
        # Of two bases that mark the same method, the first counts.
        (Both, ["Base.receipt", "Other.other", "Other.charge"]),
        (Concrete, ["Concrete.charge"]),
        # Base classes come first, then the order of definition.
        (Adds, ["Adds.charge", "Adds.added", "Adds.also", "Base.receipt"]),
    ],
)
async def test_marks_are_inherited(kind: Any, expected: list[str]) -> None:
    dispatcher, subscriber = AsyncEventDispatcher(), kind()
    dispatcher.add_subscriber(subscriber)

    assert await dispatched(dispatcher, subscriber.log, "first", "second", "third", "other") == expected


# What kinds of methods


async def test_a_static_method_is_marked_above_or_below(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    plain = [fitting(dispatcher, lambda event, what=what: log.append(what)) for what in ("above", "below")]

    class Shop:
        above = listens_to(PLACED)(staticmethod(plain[0]))
        below = staticmethod(listens_to(PLACED)(plain[1]))

    dispatcher.add_subscriber(Shop())

    assert await dispatched(dispatcher, log, PLACED) == ["above", "below"]


async def test_a_class_method_is_marked_above_and_below() -> None:
    log: list[Any] = []

    class Shop:
        @listens_to("first")
        @classmethod
        @listens_to("second")
        async def charge(cls, event: Event) -> None:
            log.append(cls)

        @listens_to("third")
        @staticmethod
        @listens_to("fourth")
        async def receipt(event: Event) -> None: ...

    class Derived(Shop): ...

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_subscriber(Derived())

    assert get_keys(Shop()) == ["first", "second", "third", "fourth"]
    assert await dispatched(dispatcher, log, "first", "second") == [Derived] * 2


async def test_other_callables_can_be_marked() -> None:
    class AsyncCallable(Recording):
        async def __call__(self, event: Any) -> None:
            self.log.append(event)

    class Shop(Recording):
        async def charge_by(self, card: str, event: Any) -> None:
            self.log.append(card)

        by_card = listens_to(PLACED)(functools.partialmethod(charge_by, "card"))  # type: ignore[type-var]  # a partialmethod is not callable
        callable = listens_to(PLACED)(AsyncCallable())
        mock = listens_to(PLACED)(AsyncMock())

    dispatcher, shop = AsyncEventDispatcher(), Shop()
    dispatcher.add_subscriber(shop)
    event = await dispatcher.adispatch(PLACED)

    assert (shop.log, Shop.callable.log) == (["card"], [event])
    Shop.mock.assert_awaited_once_with(event)


def test_only_marked_attributes_are_touched() -> None:
    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        async def wrapper(*args: Any) -> Any:
            return await function(*args)

        return wrapper

    class Touchy:
        def __get__(self, instance: object, owner: type) -> Any:
            raise RuntimeError("not to be touched")

    class Shop:
        __slots__ = ()
        touchy = Touchy()
        mocks = Mock(), AsyncMock()
        mock, async_mock = mocks

        @property
        def amount(self) -> int:
            raise RuntimeError("not to be touched")

        @decorate
        @listens_to(PLACED)
        async def charge(self, event: Event) -> None: ...

    assert get_keys(Shop()) == [PLACED]


# All or nothing


class Half:
    @listens_to("first")
    async def fits(self, event: Event) -> None: ...

    @listens_to("second")
    def does_not_fit(self, event: Event) -> None: ...

    @listens_to("third")
    async def would_fit(self, event: Event) -> None: ...


@pytest.mark.parametrize("way", ["itself", "temporarily", "scope"])
def test_a_refused_method_leaves_nothing(way: str) -> None:
    dispatcher, half = AsyncEventDispatcher(), Half()
    dispatcher.add_listener("first", half.fits)

    with dispatcher.temporarily() as registrar, dispatcher.scope() as scoped:
        with pytest.raises(TypeError, match="does_not_fit"):
            {"itself": dispatcher, "temporarily": registrar, "scope": scoped}[way].add_subscriber(half)

        assert scoped.get_listeners() == dispatcher.get_listeners() == {"first": (half.fits,)}


@pytest.mark.parametrize("way", ["dispatcher", "registrar"])
@pytest.mark.parametrize("failing", ["first", "second"])
@pytest.mark.parametrize("late", [False, True], ids=["before it registers", "after it registered"])
def test_a_failing_override_leaves_nothing(way: str, failing: str, late: bool) -> None:
    class Failing(AsyncEventDispatcher):
        def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Any:
            if key == failing and not late:
                raise LookupError
            super().add_listener(key, listener, **options)
            if key == failing:
                raise LookupError

    dispatcher = Failing()
    with dispatcher.temporarily() as registrar:
        with pytest.raises(LookupError):
            (dispatcher if way == "dispatcher" else registrar).add_subscriber(Base())

        assert dispatcher.get_listeners() == {}


def test_a_sync_dispatcher_refuses_the_whole_subscriber() -> None:
    class Shop:
        @listens_to(PLACED)
        def charge(self, event: Event) -> None: ...

        @listens_to(PLACED, timeout=1)
        def charge_briefly(self, event: Event) -> None: ...

    dispatcher = EventDispatcher()
    for subscriber, text in ((Shop(), "timeout="), (Base(), r"Base.* is async")):
        with pytest.raises(TypeError, match=text):
            dispatcher.add_subscriber(subscriber)

    assert not dispatcher.has_listeners()


async def test_plain_methods_can_be_called_inline() -> None:
    dispatcher, shop = AsyncEventDispatcher(sync_listeners="inline"), make_shop(EventDispatcher())
    dispatcher.add_subscriber(shop)

    assert await dispatched(dispatcher, shop.log, PLACED) == ["charged"]


# The handle


def test_one_handle_removes_all_methods_and_nothing_else(dispatcher: AnyDispatcher) -> None:
    class Shop:
        charge = listens_to(PLACED)(listens_to(PAID)(fitting(dispatcher, lambda self, event: None)))

    shop = Shop()
    dispatcher.add_listener(PLACED, shop.charge)
    handle = dispatcher.add_subscriber(shop)

    assert [handle.unsubscribe(), handle.unsubscribe()] == [True, False]
    assert dispatcher.get_listeners() == {PLACED: (shop.charge,)}


def test_the_handle_is_a_context_manager_that_keeps_nothing(dispatcher: AnyDispatcher) -> None:
    shop = make_shop(dispatcher)
    reference = weakref.ref(shop)
    with dispatcher.add_subscriber(shop) as handle:
        assert dispatcher.has_listeners(PLACED)
        assert all(isinstance(each, Subscription) for each in handle)
    del shop, handle
    gc.collect()

    assert (dispatcher.has_listeners(), reference()) == (False, None)


def test_a_method_can_be_removed_alone() -> None:
    dispatcher, subscriber = AsyncEventDispatcher(), Base()
    handle = dispatcher.add_subscriber(subscriber)

    dispatcher.remove_listener("first", subscriber.charge)

    assert dispatcher.get_listeners() == {"second": (subscriber.receipt,)}
    assert [handle.unsubscribe(), handle.unsubscribe()] == [True, False]


async def test_changes_in_a_dispatch_count_for_subscribers(dispatcher: AnyDispatcher) -> None:
    leaving, joining = make_shop(dispatcher), make_shop(dispatcher)

    def change(event: Event) -> None:
        handle.unsubscribe()
        dispatcher.add_subscriber(joining)

    dispatcher.add_listener(PLACED, fitting(dispatcher, change), once=True)
    handle = dispatcher.add_subscriber(leaving)

    assert await dispatched(dispatcher, joining.log, PLACED) == []
    assert await dispatched(dispatcher, joining.log, PLACED) == ["charged"]
    assert leaving.log == []


async def test_a_subscriber_of_a_scope_leaves_with_it(dispatcher: AnyDispatcher) -> None:
    shop = make_shop(dispatcher)

    with dispatcher.scope() as scoped:
        scoped.add_subscriber(shop)
        assert await dispatched(scoped, shop.log, PLACED) == ["charged"]

    assert not scoped.has_listeners()


async def test_the_limit_of_a_mark_counts_for_each_subscriber() -> None:
    dispatcher, running, most, go_on = AsyncEventDispatcher(), 0, 0, anyio.Event()

    class Shop:
        @listens_to(PLACED, limit=1)
        async def charge(self, event: Event) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await go_on.wait()
            running -= 1

    first, second = Shop(), Shop()
    dispatcher.add_subscriber(first)
    with dispatcher.scope() as scoped:
        scoped.add_subscriber(second)
        dispatcher.remove_listener(PLACED, first.charge)
        dispatcher.add_subscriber(first)
        async with anyio.create_task_group() as group:
            for each in (dispatcher, dispatcher, scoped, scoped):
                group.start_soon(each.adispatch, PLACED)
            await settle()
            go_on.set()

    assert (running, most) == (0, 2)


# An overridden add_listener


class Logging(AsyncEventDispatcher):
    """Overrides what whistle let, as HARP does."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        super().__init__()

    def add_listener(self, event_id: Any, listener: Any, /, *, priority: int = 0) -> None:  # type: ignore[override]
        self.seen.append((event_id, listener.__name__, priority))
        super().add_listener(event_id, listener, priority=priority)


async def test_only_plain_marks_reach_an_overridden_add_listener() -> None:
    class Shop(Recording):
        @listens_to(PLACED, once=True)
        @listens_to(PLACED)
        @listens_to(PAID, priority=4)
        async def charge(self, event: Any) -> None:
            self.log.append("charged")

    dispatcher, shop = Logging(), Shop()
    handle = dispatcher.add_subscriber(shop)

    assert dispatcher.seen == [(PLACED, "charge", 0), (PAID, "charge", 4)]
    assert [subscription.key for subscription in handle] == [PLACED, PLACED, PAID]
    assert await dispatched(dispatcher, shop.log, PLACED, PLACED) == ["charged"] * 3
    with pytest.raises(TypeError):
        dispatcher.add_subscriber(Half())
    assert handle.unsubscribe() is True
    assert not dispatcher.has_listeners()


# What is refused


def test_a_class_is_not_a_subscriber(dispatcher: AnyDispatcher) -> None:
    with pytest.raises(TypeError, match=r"write Base\(\) instead of Base"):
        dispatcher.add_subscriber(Base)


@pytest.mark.parametrize("unmarked", [object(), 3, None, Recording(), print], ids=without_address)
def test_an_object_without_marks_is_not_a_subscriber(dispatcher: AnyDispatcher, unmarked: object) -> None:
    with pytest.raises(TypeError, match="no method marked with @listens_to"):
        dispatcher.add_subscriber(unmarked)


def test_listens_to_without_a_key_shows_how_to_write_it() -> None:
    with pytest.raises(TypeError, match=r'@listens_to\("order.placed"\)'):

        @listens_to
        async def charge(self: object, event: Event) -> None: ...


@pytest.mark.parametrize(
    ("key", "options", "error"),
    [
        (None, {}, TypeError),
        ([], {}, TypeError),
        ("order.pl*", {}, ValueError),
        (PLACED, {"priority": "first"}, TypeError),
        (PLACED, {"where": 3}, TypeError),
        (PLACED, {"timeout": 0}, ValueError),
        (PLACED, {"limit": 0}, ValueError),
    ],
    ids=repr,
)
def test_a_wrong_mark_is_refused_where_it_is_written(key: Any, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        listens_to(key, **options)


@dataclass(frozen=True)
class Frozen:
    """A callable object that accepts no attributes."""

    def __call__(self, event: Event) -> None: ...

    def receive(self, event: Event) -> None: ...


@pytest.mark.parametrize("unmarkable", [Frozen(), Frozen().receive, print, Frozen])
def test_what_accepts_no_mark_is_refused(unmarkable: Any) -> None:
    with pytest.raises(TypeError, match="marks methods"):
        listens_to("order.placed")(unmarkable)
