"""The proxies that a subclass which overrides ``_adispatch`` or ``do_dispatch`` gets in the place of listeners."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
from functools import partial
from types import FunctionType
from typing import Any
from unittest.mock import AsyncMock

import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, in_thread, inline, listener_name
from antiphon._dispatchers import overrides
from antiphon.instruments.timeline._labels import listener_label


async def charge(event: Event, retries: int = 3) -> str:
    """Charge the card."""
    return "charged"


def charge_plainly(event: Event, retries: int = 3) -> None:
    """Charge the card at once."""


def logged(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(*arguments: Any) -> Any:
        return await function(*arguments)

    return wrapper


class Stock:
    """The stock of a shop."""

    def __init__(self, books: int = 1) -> None:
        self.books = books

    async def reserve(self, event: Event) -> None:
        """Reserve a book."""

    def count(self, event: Event) -> None:
        """Count the books."""

    @classmethod
    async def order(cls, event: Event) -> None:
        """Order books."""

    async def __call__(self, event: Event) -> None:
        """Sell a book."""

    def __eq__(self, other: object) -> bool:
        return other.books == self.books if isinstance(other, Stock) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.books)

    def __str__(self) -> str:
        return f"{self.books} books"

    class Shelf:
        async def __call__(self, event: Event) -> None: ...


class Slotted:
    __slots__ = ("books",)

    async def __call__(self, event: Event) -> None: ...


ASYNC = {
    "function": charge,
    "wrapper": logged(charge),
    "method": Stock().reserve,
    "class method": Stock.order,
    "partial": partial(charge, retries=1),
    "partial of a method": partial(Stock().reserve),
    "object": Stock(3),
    "slotted object": Slotted(),
    "mock": AsyncMock(),
}
ADAPTED = {
    "inline": inline(charge_plainly),
    "inline of a method": inline(Stock().count),
    "in_thread": in_thread(charge_plainly),
    "inline of a partial": inline(partial(charge_plainly)),
}
PLAIN = {
    "function": charge_plainly,
    "method": Stock().count,
    "partial": partial(charge_plainly, retries=1),
    "builtin": print,
}

every_listener = pytest.mark.parametrize(
    "listener",
    [pytest.param(listener, id=f"async {kind}") for kind, listener in {**ASYNC, **ADAPTED}.items()]
    + [pytest.param(listener, id=f"plain {kind}") for kind, listener in PLAIN.items()],
)


def guarded(listener: Any) -> Any:
    """Return what a subclass gets for a listener."""
    given: list[Any] = []

    class Keeping(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            given.extend(listeners)

    class KeepingPlainly(EventDispatcher):
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            given.extend(listeners)

    if any(listener is plain for plain in PLAIN.values()):
        plainly = KeepingPlainly()
        plainly.add_listener("order.placed", listener)
        plainly.dispatch("order.placed")
    else:
        dispatcher = Keeping()
        dispatcher.add_listener("order.placed", listener)
        dispatch = dispatcher.adispatch("order.placed")
        with pytest.raises(StopIteration):
            dispatch.send(None)
    return given[0]


def of_adapter(listener: Any) -> Any:
    """Return the function that an adapter calls, else the listener."""
    return listener.function if any(listener is adapter for adapter in ADAPTED.values()) else listener


def find_function(listener: Any) -> Any:
    """Return the function in partials and adapters."""
    if isinstance(listener, partial):
        return find_function(listener.func)
    return find_function(of_adapter(listener)) if of_adapter(listener) is not listener else listener


@every_listener
def test_it_answers_as_the_listener_does(listener: Any) -> None:
    guard, documented = guarded(listener), of_adapter(listener)

    assert (guard.__module__, guard.__doc__) == (getattr(documented, "__module__", None), documented.__doc__)
    assert listener_name(guard) == listener_name(listener)
    assert guard.__wrapped__ is listener
    assert inspect.signature(guard) == inspect.signature(listener)
    assert inspect.iscoroutinefunction(guard) == inspect.iscoroutinefunction(listener)
    for attribute in ("__name__", "__qualname__"):
        name = getattr(guard, attribute)
        assert name == getattr(listener, attribute, name)
        assert name.rpartition(".")[2] in listener_name(listener)


@every_listener
def test_its_texts_equality_and_hash_are_those_of_the_listener(listener: Any) -> None:
    guard = guarded(listener)

    assert (repr(guard), str(guard), f"{guard}") == (repr(listener), str(listener), f"{listener}")
    assert guard == listener and listener == guard and guard == guarded(listener)
    assert hash(guard) == hash(listener)
    assert {listener: "known"}.get(guard) == "known"


def test_guards_of_different_listeners_differ() -> None:
    guards = [guarded(charge), guarded(charge), guarded(Stock().reserve)]

    assert len(set(guards)) == 2
    assert guards[0] != guards[2]


@every_listener
async def test_a_guard_may_be_registered(listener: Any) -> None:
    is_plain = any(listener is plain for plain in PLAIN.values())
    described = []
    for registered in (listener, guarded(listener)):
        other: Any = EventDispatcher() if is_plain else AsyncEventDispatcher()
        other.add_listener("order.placed", registered)
        await other.adispatch("order.placed")
        description = other.describe().listeners[0]._replace(order=0)
        described.append((other.get_listeners("order.placed"), description, listener_label(registered)))
        other.remove_listener("order.placed", listener)
        assert not other.has_listeners("order.placed")

    assert described[0] == described[1]


async def test_the_guard_of_an_object_with_a_function_may_be_registered() -> None:
    class Retry:
        def __init__(self, func: Any) -> None:
            self.func, self.args, self.keywords = func, 3, None

        async def __call__(self, event: Event) -> None:
            self.func(event)

    calls: list[Event] = []
    other = AsyncEventDispatcher()
    other.add_listener("order.placed", guarded(Retry(calls.append)))

    calls.clear()
    event = await other.adispatch("order.placed")

    assert calls == [event]


@every_listener
def test_a_copy_of_it_is_itself(listener: Any) -> None:
    guard = guarded(listener)

    assert copy.copy(guard) is guard
    assert copy.deepcopy(guard) is guard


@pytest.mark.parametrize(
    ("listener", "signature"),
    [
        (charge, "(event: 'Event', retries: 'int' = 3) -> 'str'"),
        (Stock().reserve, "(event: 'Event') -> 'None'"),
        (Stock(), "(event: 'Event') -> 'None'"),
        (inline(charge_plainly), "(event: 'Event', retries: 'int' = 3) -> 'None'"),
    ],
    ids=["function", "method", "object", "adapter"],
)
def test_the_signature_has_no_self(listener: Any, signature: str) -> None:
    assert str(inspect.signature(guarded(listener))) == signature


@pytest.mark.skipif(not hasattr(inspect, "markcoroutinefunction"), reason="new in Python 3.12")
def test_it_is_a_coroutine_function_if_the_listener_is_marked_as_one() -> None:
    def wrapper(event: Event) -> Any:
        return charge(event)

    inspect.markcoroutinefunction(wrapper)  # type: ignore[attr-defined, unused-ignore]  # new in Python 3.12

    assert inspect.iscoroutinefunction(guarded(wrapper))
    assert inspect.iscoroutinefunction(guarded(partial(wrapper)))


@pytest.mark.parametrize(
    "listener",
    [charge, Stock(), partial(charge), inline(charge_plainly)],
    ids=["function", "object", "partial", "adapter"],
)
def test_an_attribute_that_is_set_is_set_on_the_listener(listener: Any) -> None:
    guard = guarded(listener)

    guard.seen = 7
    assert listener.seen == guard.seen == 7
    del guard.seen
    assert not hasattr(listener, "seen") and not hasattr(guard, "seen")


@pytest.mark.parametrize("listener", [Stock().reserve, Slotted()], ids=["method", "slots"])
def test_an_attribute_that_the_listener_refuses_is_refused(listener: Any) -> None:
    with pytest.raises(AttributeError):
        guarded(listener).seen = 7


def test_an_unknown_attribute_is_an_error_of_the_listener() -> None:
    with pytest.raises(AttributeError, match="'function' object has no attribute 'price'"):
        guarded(charge).price


@every_listener
def test_it_has_the_attributes_of_the_listener_alone(listener: Any) -> None:
    guard, function = guarded(listener), find_function(listener)

    assert set(dir(guard)) == set(dir(listener))
    annotated = listener if hasattr(listener, "__annotations__") else function
    assert getattr(guard, "__annotations__", None) == getattr(annotated, "__annotations__", None)
    if isinstance(function, FunctionType):
        assert guard.__code__ is function.__code__
    if function is not listener and isinstance(function, FunctionType):
        function.price = 7  # type: ignore[attr-defined]  # a function has any attribute
        assert not hasattr(guard, "price")
        del function.price  # type: ignore[attr-defined]


def test_its_class_has_texts_of_its_own() -> None:
    cls = type(guarded(charge))

    assert cls.__module__ == "antiphon._dispatchers.overrides"
    assert cls.__doc__.startswith("A proxy of a listener.")


@pytest.mark.parametrize(
    ("listener", "name", "qualname"),
    [
        (Stock.Shelf(), "Shelf", "Stock.Shelf"),
        (partial(charge), "charge", "charge"),
        (inline(Stock().count), "count", "Stock.count"),
        (inline(partial(Stock.Shelf())), "Shelf", "Stock.Shelf"),
    ],
    ids=["object", "partial", "adapter of a method", "adapter of an object"],
)
def test_a_listener_without_a_name_has_that_of_its_function(listener: Any, name: str, qualname: str) -> None:
    guard = guarded(listener)

    assert (guard.__name__, guard.__qualname__) == (name, qualname)


@pytest.mark.parametrize(
    "listener",
    [charge, Stock().reserve, partial(charge, retries=1), Stock(4)],
    ids=["function", "method", "partial", "object"],
)
def test_a_pickle_of_it_is_one_of_the_listener(listener: Any) -> None:
    loaded, expected = pickle.loads(pickle.dumps(guarded(listener))), pickle.loads(pickle.dumps(listener))

    assert type(loaded) is type(expected)
    assert listener_name(loaded) == listener_name(listener)


async def test_it_is_called_like_the_listener() -> None:
    given: list[Any] = []

    class Keeping(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            for listener in listeners:
                called = listener(event)
                assert inspect.iscoroutine(called)
                given.append(await called)

    dispatcher = Keeping()
    dispatcher.add_listener("order.placed", charge)
    await dispatcher.adispatch("order.placed")

    assert given == ["charged"]


class Keeping(AsyncEventDispatcher):
    """It keeps what its override gets in each dispatch."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[list[Any]] = []

    async def _adispatch(self, listeners: Any, event: Any) -> None:
        self.given.append(list(listeners))


class KeepingPlainly(EventDispatcher):
    """It keeps what its override gets in each dispatch."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[list[Any]] = []

    def do_dispatch(self, listeners: Any, event: Any, /) -> None:
        self.given.append(list(listeners))


@pytest.fixture(params=[True, False], ids=["GIL", "no GIL"])
def gil(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guards of this build of Python, and those of a build without a GIL."""
    monkeypatch.setattr(overrides, "HAS_GIL", request.param)


async def fail(event: Event) -> None:
    raise AssertionError("called")


def fail_plainly(event: Event) -> None:
    raise AssertionError("called")


class Failing:
    async def method(self, event: Event) -> None:
        raise AssertionError("called")

    def plain_method(self, event: Event) -> None:
        raise AssertionError("called")

    async def __call__(self, event: Event) -> None:
        raise AssertionError("called")


@pytest.mark.parametrize(
    "listener",
    [fail, Failing().method, Failing(), partial(fail), inline(fail_plainly)],
    ids=["function", "method", "object", "partial", "adapter"],
)
@pytest.mark.usefixtures("gil")
async def test_a_guard_that_was_taken_does_nothing_after_the_removal(listener: Any) -> None:
    dispatcher, event = Keeping(), Event()
    dispatcher.add_listener("order.placed", listener)
    await dispatcher.adispatch("order.placed", event)
    # A change drops the plan, so the next dispatch makes another one.
    dispatcher.add_listener("order.placed", charge)
    await dispatcher.adispatch("order.placed", event)
    guards = [guards[0] for guards in dispatcher.given]
    guards.append(partial(guards[0]))

    dispatcher.remove_listener("order.placed", listener)

    assert [await guard(event) for guard in guards] == [None, None, None]
    assert guards[0] == guards[1] == listener


@pytest.mark.parametrize(
    "listener", [fail_plainly, Failing().plain_method, partial(fail_plainly)], ids=["function", "method", "partial"]
)
@pytest.mark.usefixtures("gil")
def test_a_sync_guard_that_was_taken_does_nothing_after_the_removal(listener: Any) -> None:
    dispatcher = KeepingPlainly()
    handle = dispatcher.add_listener("order.placed", listener)
    event = dispatcher.dispatch("order.placed")
    (guard,) = dispatcher.given[0]

    handle.unsubscribe()

    assert guard(event) is partial(guard)(event) is None
    assert guard == listener


async def test_guards_of_a_scope_do_nothing_after_its_end_and_those_of_its_parent_go_on() -> None:
    dispatcher = Keeping()
    dispatcher.add_listener("order.placed", charge)
    with dispatcher.scope() as scoped:
        scoped.add_listener("order.placed", fail)
        event = await scoped.adispatch("order.placed")
    of_parent, of_scope = dispatcher.given[0]

    assert await of_parent(event) == "charged"
    assert await of_scope(event) is None


async def test_a_listener_that_is_added_again_gets_a_guard_that_calls_it() -> None:
    dispatcher = Keeping()
    for _ in range(2):
        with dispatcher.add_listener("order.placed", charge):
            event = await dispatcher.adispatch("order.placed")
            (guard,) = dispatcher.given[-1]
            assert await guard(event) == "charged"
        assert await guard(event) is None
    assert await dispatcher.given[0][0](event) is None


@every_listener
def test_its_dict_is_that_of_the_listener(listener: Any) -> None:
    guard = guarded(listener)

    def wrapper(event: Event) -> None: ...

    assert getattr(guard, "__dict__", None) == getattr(listener, "__dict__", None)
    if hasattr(listener, "__dict__"):
        functools.update_wrapper(wrapper, guard)
        assert vars(wrapper) == {**vars(listener), "__wrapped__": guard}


@pytest.mark.parametrize(
    "listener", [partial(charge, retries=2), partial(Stock.reserve, Stock(5))], ids=["keyword", "positional"]
)
def test_of_a_partial_it_has_the_function_and_the_arguments(listener: Any) -> None:
    guard = guarded(listener)

    assert (guard.func, guard.args, guard.keywords) == (listener.func, listener.args, listener.keywords)


@pytest.mark.parametrize("failing", ["shop", "bank"])
@pytest.mark.usefixtures("gil")
async def test_an_error_names_the_right_one_of_two_functions_with_equal_code(failing: str) -> None:
    class Checked(Event):
        def check(self, module: str) -> None:
            if module == failing:
                raise ValueError(module)

    class Running(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            for listener in listeners:
                await listener(event)

    dispatcher = Running()
    for module in ("shop", "bank"):
        namespace: dict[str, Any] = {"__name__": module}
        exec("async def on_order(event):\n    event.check(__name__)", namespace)
        dispatcher.add_listener("order.placed", namespace["on_order"])
    shop, bank = dispatcher.get_listeners("order.placed")
    assert shop.__code__ == bank.__code__

    with pytest.raises(ValueError) as caught:
        await dispatcher.adispatch("order.placed", Checked())

    assert caught.value.__notes__[0].startswith(f"antiphon: raised in listener {failing}.on_order")
