"""Subscribers: marked methods, inherited and overridden ones, registered all together or not at all."""

from __future__ import annotations

import functools
import gc
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Any
from unittest.mock import AsyncMock, Mock

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, Subscription, listens_to
from antiphon.testing import settle
from tests.helpers import AnyDispatcher
from tests.naming import without_address


class Noting:
    """A subscriber that notes what its methods hear; the methods fit the sync dispatcher."""

    def __init__(self) -> None:
        self.log: list[Any] = []


def both(function: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Give a function as it is, and as an async one."""

    @functools.wraps(function)
    async def async_function(*args: Any) -> Any:
        return function(*args)

    return function, async_function


def fitting(dispatcher: AnyDispatcher, function: Callable[..., Any]) -> Callable[..., Any]:
    plain, async_function = both(function)
    return plain if isinstance(dispatcher, EventDispatcher) else async_function


def choir(dispatcher: AnyDispatcher) -> type[Noting]:
    """Make a class of subscribers with one marked method."""

    class Choir(Noting):
        def sing(self, event: Any) -> None:
            self.log.append("sung")

    Choir.sing = listens_to("hymn")(fitting(dispatcher, Choir.sing))  # type: ignore[method-assign]  # marked afterwards
    return Choir


async def heard(dispatcher: AnyDispatcher, log: list[Any], *names: Hashable) -> list[Any]:
    """Dispatch under each name, and give what was noted."""
    log.clear()
    for name in names:
        await dispatcher.adispatch(name, Event())
    return list(log)


# Marks


async def test_a_marked_method_hears_with_its_instance(dispatcher: AnyDispatcher) -> None:
    one, other = choir(dispatcher)(), choir(dispatcher)()
    dispatcher.add_subscriber(one)

    await dispatcher.adispatch("hymn", Event())

    assert (one.log, other.log) == (["sung"], [])


def test_marking_gives_the_method_back_unchanged() -> None:
    async def sing(self: Any, event: Event) -> None: ...

    assert listens_to("hymn")(sing) is sing


async def test_a_marked_method_is_still_a_method() -> None:
    class Choir(Noting):
        @listens_to("hymn")
        async def sing(self, event: Any) -> None:
            self.log.append(event)

    choir = Choir()
    await choir.sing("called")

    assert choir.log == ["called"]


async def test_a_method_hears_all_it_is_marked_with() -> None:
    dispatcher = AsyncEventDispatcher()

    class Choir(Noting):
        @listens_to("hymn")
        @listens_to("psalm")
        @listens_to(KeyError)
        async def sing(self, event: Any) -> None:
            self.log.append(getattr(event, "name", "nameless"))

    choir = Choir()
    dispatcher.add_subscriber(choir)
    await dispatcher.adispatch(KeyError())

    assert choir.log == ["nameless"]
    assert await heard(dispatcher, choir.log, "hymn", "psalm", "other") == ["hymn", "psalm"]


async def test_each_mark_is_a_registration_of_its_own() -> None:
    dispatcher = AsyncEventDispatcher()

    class Choir(Noting):
        @listens_to("hymn", once=True)
        @listens_to("hymn", priority=5)
        @listens_to("*")
        async def sing(self, event: Any) -> None:
            self.log.append("sung")

    choir = Choir()
    dispatcher.add_subscriber(choir)

    assert await heard(dispatcher, choir.log, "hymn") == ["sung"] * 3
    assert await heard(dispatcher, choir.log, "hymn") == ["sung"] * 2


def test_marks_count_as_they_are_read() -> None:
    class Choir:
        @listens_to("first")
        @listens_to("second")
        async def sing(self, event: Event) -> None: ...

        @listens_to("third")
        async def answer(self, event: Event) -> None: ...

    subscriptions = AsyncEventDispatcher().add_subscriber(Choir())

    assert [subscription.key for subscription in subscriptions] == ["first", "second", "third"]


async def test_marks_take_every_option() -> None:
    dispatcher = AsyncEventDispatcher()

    def on_sundays(event: Event) -> bool:
        return True

    class Choir:
        @listens_to("hymn", priority=3, once=True, where=on_sundays, timeout=5, limit=2)
        async def sing(self, event: Event) -> None: ...

    (subscription,) = dispatcher.add_subscriber(Choir())

    assert (subscription.priority, *subscription.options) == (3, True, on_sundays, 5, 2)


async def test_priorities_of_marks_place_methods_among_other_listeners(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    class Choir:
        sing = listens_to("hymn", priority=1)(fitting(dispatcher, lambda self, event: log.append("late")))
        open = listens_to("hymn", priority=-1)(fitting(dispatcher, lambda self, event: log.append("early")))

    dispatcher.add_listener("hymn", fitting(dispatcher, lambda event: log.append("between")))
    dispatcher.add_subscriber(Choir())
    dispatcher.add_listener("hymn", fitting(dispatcher, lambda event: log.append("last")), priority=1)
    await dispatcher.adispatch("hymn", Event())

    assert log == ["early", "between", "late", "last"]


async def test_the_same_subscriber_added_twice_hears_twice(dispatcher: AnyDispatcher) -> None:
    subscriber = choir(dispatcher)()
    dispatcher.add_subscriber(subscriber)
    dispatcher.add_subscriber(subscriber)

    assert await heard(dispatcher, subscriber.log, "hymn") == ["sung", "sung"]


async def test_one_subscriber_may_hear_several_dispatchers(dispatcher: AnyDispatcher) -> None:
    other, subscriber = type(dispatcher)(), choir(dispatcher)()
    handle = dispatcher.add_subscriber(subscriber)
    other.add_subscriber(subscriber)
    handle.unsubscribe()

    assert await heard(dispatcher, subscriber.log, "hymn") == []
    assert await heard(other, subscriber.log, "hymn") == ["sung"]


def test_a_marked_function_that_is_no_method_is_a_listener_like_any_other(dispatcher: AnyDispatcher) -> None:
    function = listens_to("hymn")(fitting(dispatcher, lambda event: None))

    dispatcher.add_listener("psalm", function)

    assert dispatcher.get_listeners() == {"psalm": (function,)}


# Inheritance


class Base(Noting):
    @listens_to("first")
    async def one(self, event: Any) -> None:
        self.log.append("Base.one")

    @listens_to("second")
    async def two(self, event: Any) -> None:
        self.log.append("Base.two")


async def heard_by(subscriber: Noting, *names: str) -> list[Any]:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_subscriber(subscriber)
    return await heard(dispatcher, subscriber.log, *names)


async def test_marked_methods_are_inherited() -> None:
    class Derived(Base): ...

    assert await heard_by(Derived(), "first", "second") == ["Base.one", "Base.two"]


async def test_an_overriding_method_keeps_the_marks() -> None:
    class Derived(Base):
        async def one(self, event: Any) -> None:
            self.log.append("Derived.one")

    assert await heard_by(Derived(), "first", "second") == ["Derived.one", "Base.two"]


async def test_marks_are_kept_over_several_generations() -> None:
    class Derived(Base):
        async def one(self, event: Any) -> None:
            await super().one(event)
            self.log.append("Derived.one")

    class Again(Derived):
        async def one(self, event: Any) -> None:
            await super().one(event)
            self.log.append("Again.one")

    assert await heard_by(Again(), "first") == ["Base.one", "Derived.one", "Again.one"]


async def test_an_overriding_method_with_marks_of_its_own_has_only_those() -> None:
    class Derived(Base):
        @listens_to("third")
        async def one(self, event: Any) -> None:
            self.log.append("Derived.one")

    assert await heard_by(Derived(), "first", "second", "third") == ["Base.two", "Derived.one"]
    assert await heard_by(Base(), "first", "third") == ["Base.one"]


async def test_what_overrides_a_method_with_nothing_callable_takes_its_marks_away() -> None:
    class Derived(Base):
        one = None  # type: ignore[assignment]  # takes the method away

    assert await heard_by(Derived(), "first", "second") == ["Base.two"]


async def test_the_marks_of_every_base_class_are_found() -> None:
    class Other(Noting):
        @listens_to("third")
        async def three(self, event: Any) -> None:
            self.log.append("Other.three")

    class Derived(Other, Base): ...

    assert await heard_by(Derived(), "first", "second", "third") == ["Base.one", "Base.two", "Other.three"]


async def test_of_two_bases_that_mark_the_same_method_the_first_counts() -> None:
    class Left(Noting):
        @listens_to("left")
        async def sing(self, event: Any) -> None:
            self.log.append("Left.sing")

    class Right(Noting):
        @listens_to("right")
        async def sing(self, event: Any) -> None:
            self.log.append("Right.sing")

    class Derived(Left, Right): ...

    assert await heard_by(Derived(), "left", "right") == ["Left.sing"]


async def test_an_abstract_method_gives_its_marks_to_what_implements_it() -> None:
    class Abstract(Noting, ABC):
        @listens_to("hymn")
        @abstractmethod
        async def sing(self, event: Any) -> None: ...

    class Concrete(Abstract):
        async def sing(self, event: Any) -> None:
            self.log.append("sung")

    assert await heard_by(Concrete(), "hymn") == ["sung"]


async def test_base_classes_come_first_then_the_order_of_definition() -> None:
    class Derived(Base):
        @listens_to("first")
        async def added(self, event: Any) -> None:
            self.log.append("Derived.added")

        @listens_to("first")
        async def also(self, event: Any) -> None:
            self.log.append("Derived.also")

        async def one(self, event: Any) -> None:
            self.log.append("Derived.one")

    assert await heard_by(Derived(), "first") == ["Derived.one", "Derived.added", "Derived.also"]


# What kinds of methods


async def test_the_mark_of_a_staticmethod_stands_above_or_below(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    plain = [fitting(dispatcher, lambda event, what=what: log.append(what)) for what in ("above", "below")]

    class Choir:
        above = listens_to("hymn")(staticmethod(plain[0]))
        below = staticmethod(listens_to("hymn")(plain[1]))

    dispatcher.add_subscriber(Choir())

    assert await heard(dispatcher, log, "hymn") == ["above", "below"]


async def test_the_mark_of_a_classmethod_stands_above_or_below() -> None:
    log: list[Any] = []

    class Choir:
        @listens_to("hymn")
        @classmethod
        async def above(cls, event: Event) -> None:
            log.append(cls)

        @classmethod
        @listens_to("hymn")
        async def below(cls, event: Event) -> None:
            log.append(cls)

    class Derived(Choir): ...

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_subscriber(Derived())

    assert await heard(dispatcher, log, "hymn") == [Derived, Derived]


def test_marks_above_and_below_a_staticmethod_or_classmethod_all_count() -> None:
    class Choir:
        @listens_to("first")
        @staticmethod
        @listens_to("second")
        async def static(event: Event) -> None: ...

        @listens_to("third")
        @classmethod
        @listens_to("fourth")
        async def of_class(cls, event: Event) -> None: ...

    subscriptions = AsyncEventDispatcher().add_subscriber(Choir())

    assert [subscription.key for subscription in subscriptions] == ["first", "second", "third", "fourth"]


def test_marks_pass_through_a_decorator_that_wraps() -> None:
    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        async def wrapper(*args: Any) -> Any:
            return await function(*args)

        return wrapper

    class Choir:
        @decorate
        @listens_to("hymn")
        async def sing(self, event: Event) -> None: ...

    (subscription,) = AsyncEventDispatcher().add_subscriber(Choir())

    assert subscription.key == "hymn"


async def test_a_partialmethod_can_be_marked() -> None:
    class Choir(Noting):
        async def sing_as(self, part: str, event: Any) -> None:
            self.log.append(part)

        soprano = listens_to("hymn")(functools.partialmethod(sing_as, "soprano"))  # type: ignore[type-var]  # a partialmethod is no callable

    assert await heard_by(Choir(), "hymn") == ["soprano"]


async def test_an_object_with_an_async_call_can_be_marked() -> None:
    class Voice:
        def __init__(self) -> None:
            self.heard: list[Any] = []

        async def __call__(self, event: Any) -> None:
            self.heard.append(event)

    class Choir:
        soprano = listens_to("hymn")(Voice())

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_subscriber(Choir())
    event = await dispatcher.adispatch("hymn")

    assert Choir.soprano.heard == [event]


async def test_an_async_mock_as_a_class_attribute_can_be_marked() -> None:
    class Choir:
        sing = listens_to("hymn")(AsyncMock())

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_subscriber(Choir())
    event = await dispatcher.adispatch("hymn")

    Choir.sing.assert_awaited_once_with(event)


def test_mocks_that_nobody_marked_are_no_listeners() -> None:
    class Choir:
        clerk = Mock()
        deacon = AsyncMock()

        @listens_to("hymn")
        async def sing(self, event: Event) -> None: ...

    subscriptions = AsyncEventDispatcher().add_subscriber(Choir())

    assert [subscription.key for subscription in subscriptions] == ["hymn"]


def test_what_is_not_marked_is_not_touched() -> None:
    class Touchy:
        def __get__(self, instance: object, owner: type) -> Any:
            raise RuntimeError("not to be touched")

    class Choir:
        touchy = Touchy()

        @property
        def pitch(self) -> int:
            raise RuntimeError("not to be touched")

        @listens_to("hymn")
        async def sing(self, event: Event) -> None: ...

    subscriptions = AsyncEventDispatcher().add_subscriber(Choir())

    assert [subscription.key for subscription in subscriptions] == ["hymn"]


def test_a_subscriber_with_slots_works() -> None:
    class Choir:
        __slots__ = ()

        @listens_to("hymn")
        async def sing(self, event: Event) -> None: ...

    assert len(AsyncEventDispatcher().add_subscriber(Choir())) == 1


# All or nothing


class Half:
    @listens_to("first")
    async def fits(self, event: Event) -> None: ...

    @listens_to("second")
    def does_not_fit(self, event: Event) -> None: ...

    @listens_to("third")
    async def would_fit(self, event: Event) -> None: ...


def test_when_one_method_is_refused_none_is_registered() -> None:
    dispatcher = AsyncEventDispatcher()

    with pytest.raises(TypeError, match="does_not_fit"):
        dispatcher.add_subscriber(Half())

    assert dispatcher.get_listeners() == {}


def test_when_one_method_is_refused_none_is_registered_temporarily() -> None:
    dispatcher = AsyncEventDispatcher()

    with dispatcher.temporarily() as registrar:
        with pytest.raises(TypeError, match="does_not_fit"):
            registrar.add_subscriber(Half())

        assert dispatcher.get_listeners() == {}


def test_when_one_method_is_refused_none_is_registered_in_a_scope() -> None:
    dispatcher = AsyncEventDispatcher()

    with dispatcher.scope() as scoped:
        with pytest.raises(TypeError, match="does_not_fit"):
            scoped.add_subscriber(Half())

        assert scoped.get_listeners() == {}


@pytest.mark.parametrize("door", ["dispatcher", "registrar"])
def test_when_an_overridden_add_listener_fails_what_it_registered_before_is_taken_back(door: str) -> None:
    class Picky(AsyncEventDispatcher):
        def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Any:
            if key == "second":
                raise LookupError
            super().add_listener(key, listener, **options)

    class Choir:
        @listens_to("first")
        @listens_to("second")
        async def sing(self, event: Event) -> None: ...

    dispatcher = Picky()
    with dispatcher.temporarily() as registrar:
        with pytest.raises(LookupError):
            (dispatcher if door == "dispatcher" else registrar).add_subscriber(Choir())

        assert dispatcher.get_listeners() == {}


@pytest.mark.parametrize("door", ["dispatcher", "registrar"])
def test_when_an_overridden_add_listener_fails_after_it_registered_nothing_is_left(door: str) -> None:
    class Clumsy(AsyncEventDispatcher):
        def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Any:
            super().add_listener(key, listener, **options)
            raise LookupError

    dispatcher = Clumsy()
    with dispatcher.temporarily() as registrar:
        with pytest.raises(LookupError):
            (dispatcher if door == "dispatcher" else registrar).add_subscriber(Base())

        assert dispatcher.get_listeners() == {}


def test_what_was_registered_before_a_refused_subscriber_stays() -> None:
    dispatcher, half = AsyncEventDispatcher(), Half()
    dispatcher.add_listener("first", half.fits)

    with pytest.raises(TypeError):
        dispatcher.add_subscriber(half)

    assert dispatcher.get_listeners() == {"first": (half.fits,)}


def test_an_option_that_a_sync_dispatcher_cannot_keep_refuses_the_whole_subscriber() -> None:
    dispatcher = EventDispatcher()

    class Choir:
        @listens_to("hymn")
        def sing(self, event: Event) -> None: ...

        @listens_to("hymn", timeout=1)
        def sing_briefly(self, event: Event) -> None: ...

    with pytest.raises(TypeError, match="timeout="):
        dispatcher.add_subscriber(Choir())

    assert not dispatcher.has_listeners()


def test_a_sync_dispatcher_refuses_async_methods() -> None:
    dispatcher = EventDispatcher()

    with pytest.raises(TypeError, match=r"Base.* is async"):
        dispatcher.add_subscriber(Base())

    assert not dispatcher.has_listeners()


async def test_plain_methods_can_be_called_inline() -> None:
    dispatcher = AsyncEventDispatcher(sync_listeners="inline")
    subscriber = choir(EventDispatcher())()
    dispatcher.add_subscriber(subscriber)

    assert await heard(dispatcher, subscriber.log, "hymn") == ["sung"]


# The handle


def test_one_handle_takes_all_of_them_back(dispatcher: AnyDispatcher) -> None:
    class Choir:
        sing = listens_to("hymn")(listens_to("psalm")(fitting(dispatcher, lambda self, event: None)))

    handle = dispatcher.add_subscriber(Choir())

    assert [handle.unsubscribe(), handle.unsubscribe()] == [True, False]
    assert not dispatcher.has_listeners()


def test_the_handle_takes_back_nothing_else(dispatcher: AnyDispatcher) -> None:
    subscriber = choir(dispatcher)()
    dispatcher.add_listener("hymn", subscriber.sing)  # type: ignore[attr-defined]  # made by the test
    dispatcher.add_subscriber(subscriber).unsubscribe()

    assert dispatcher.get_listeners("hymn") == (subscriber.sing,)  # type: ignore[attr-defined]  # made by the test


def test_the_handle_is_a_context_manager(dispatcher: AnyDispatcher) -> None:
    with dispatcher.add_subscriber(choir(dispatcher)()) as handle:
        assert dispatcher.has_listeners("hymn")
        assert all(isinstance(each, Subscription) for each in handle)

    assert not dispatcher.has_listeners()


def test_the_handle_tells_whether_any_of_them_was_still_there() -> None:
    dispatcher, subscriber = AsyncEventDispatcher(), Base()
    handle = dispatcher.add_subscriber(subscriber)
    dispatcher.remove_listener("first", subscriber.one)

    assert [handle.unsubscribe(), handle.unsubscribe()] == [True, False]


def test_a_marked_method_can_be_removed_alone() -> None:
    dispatcher, subscriber = AsyncEventDispatcher(), Base()
    dispatcher.add_subscriber(subscriber)

    dispatcher.remove_listener("first", subscriber.one)

    assert dispatcher.get_listeners() == {"second": (subscriber.two,)}


async def test_a_subscriber_that_leaves_during_a_dispatch_is_not_started_any_more(dispatcher: AnyDispatcher) -> None:
    subscriber = choir(dispatcher)()
    dispatcher.add_listener("hymn", fitting(dispatcher, lambda event: handle.unsubscribe()))
    handle = dispatcher.add_subscriber(subscriber)

    assert await heard(dispatcher, subscriber.log, "hymn") == []


async def test_a_subscriber_that_joins_during_a_dispatch_hears_the_next_one(dispatcher: AnyDispatcher) -> None:
    subscriber = choir(dispatcher)()
    dispatcher.add_listener("hymn", fitting(dispatcher, lambda event: dispatcher.add_subscriber(subscriber)), once=True)

    assert await heard(dispatcher, subscriber.log, "hymn") == []
    assert await heard(dispatcher, subscriber.log, "hymn") == ["sung"]


def test_a_subscriber_that_left_is_not_kept_alive(dispatcher: AnyDispatcher) -> None:
    subscriber = choir(dispatcher)()
    witness = weakref.ref(subscriber)
    with dispatcher.add_subscriber(subscriber):
        pass
    del subscriber
    gc.collect()

    assert witness() is None


# Overridden doors


class Logging(AsyncEventDispatcher):
    """Overrides what whistle let, as HARP does."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        super().__init__()

    def add_listener(self, event_id: Any, listener: Any, /, *, priority: int = 0) -> None:  # type: ignore[override]
        self.seen.append((event_id, listener.__name__, priority))
        super().add_listener(event_id, listener, priority=priority)


def test_plain_marks_pass_through_an_overridden_add_listener() -> None:
    dispatcher = Logging()

    class Choir:
        @listens_to("hymn")
        @listens_to("psalm", priority=4)
        async def sing(self, event: Event) -> None: ...

    handle = dispatcher.add_subscriber(Choir())

    assert dispatcher.seen == [("hymn", "sing", 0), ("psalm", "sing", 4)]
    assert [subscription.key for subscription in handle] == ["hymn", "psalm"]


async def test_marks_with_options_work_although_an_overridden_add_listener_knows_none() -> None:
    dispatcher, subscriber = Logging(), Noting()

    class Choir(Noting):
        @listens_to("hymn", once=True)
        @listens_to("hymn")
        async def sing(self, event: Any) -> None:
            self.log.append("sung")

    subscriber = Choir()
    dispatcher.add_subscriber(subscriber)

    assert await heard(dispatcher, subscriber.log, "hymn", "hymn") == ["sung"] * 3


def test_the_handle_works_although_an_overridden_add_listener_returns_nothing() -> None:
    dispatcher = Logging()

    assert dispatcher.add_subscriber(Base()).unsubscribe() is True
    assert not dispatcher.has_listeners()


def test_a_refused_method_leaves_nothing_behind_an_overridden_add_listener() -> None:
    dispatcher = Logging()

    with pytest.raises(TypeError):
        dispatcher.add_subscriber(Half())

    assert not dispatcher.has_listeners()


# Errors teach


def test_a_class_is_no_subscriber(dispatcher: AnyDispatcher) -> None:
    with pytest.raises(TypeError, match=r"write Base\(\) instead of Base"):
        dispatcher.add_subscriber(Base)


@pytest.mark.parametrize("nobody", [object(), 3, None, Noting(), print], ids=without_address)
def test_an_object_without_marks_is_no_subscriber(dispatcher: AnyDispatcher, nobody: object) -> None:
    with pytest.raises(TypeError, match="no method marked with @listens_to"):
        dispatcher.add_subscriber(nobody)


def test_listens_to_without_a_key_teaches_how_to_write_it() -> None:
    with pytest.raises(TypeError, match=r'@listens_to\("order.placed"\)'):

        @listens_to
        async def sing(self: object, event: Event) -> None: ...


@pytest.mark.parametrize(
    ("key", "options", "error"),
    [
        (None, {}, TypeError),
        ([], {}, TypeError),
        ("hy*mn", {}, ValueError),
        ("hymn", {"priority": "first"}, TypeError),
        ("hymn", {"where": 3}, TypeError),
        ("hymn", {"timeout": 0}, ValueError),
        ("hymn", {"limit": 0}, ValueError),
    ],
    ids=repr,
)
def test_a_mark_that_makes_no_sense_is_refused_where_it_is_written(
    key: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        listens_to(key, **options)


# Together with the other ways of registering


async def test_a_subscriber_of_a_scope_goes_with_it(dispatcher: AnyDispatcher) -> None:
    subscriber = choir(dispatcher)()

    with dispatcher.scope() as scoped:
        scoped.add_subscriber(subscriber)
        assert await heard(scoped, subscriber.log, "hymn") == ["sung"]

    assert await heard(scoped, subscriber.log, "hymn") == []


async def test_a_limit_of_a_mark_counts_for_each_subscriber() -> None:
    dispatcher, running, most, go_on = AsyncEventDispatcher(), 0, 0, anyio.Event()

    class Choir:
        @listens_to("hymn", limit=1)
        async def sing(self, event: Event) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await go_on.wait()
            running -= 1

    first, second = Choir(), Choir()
    dispatcher.add_subscriber(first)
    with dispatcher.scope() as scoped:
        scoped.add_subscriber(second)
        dispatcher.remove_listener("hymn", first.sing)
        dispatcher.add_subscriber(first)
        async with anyio.create_task_group() as group:
            for each in (dispatcher, dispatcher, scoped, scoped):
                group.start_soon(each.adispatch, "hymn")
            await settle()
            go_on.set()

    assert (running, most) == (0, 2)
