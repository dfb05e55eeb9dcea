"""Wrong input: each is a clear error at the call, with nothing registered and nothing lost.

A message says what was expected, what was received, and how to fix it.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest.mock import AsyncMock, MagicMock, create_autospec

import pytest

from antiphon import (
    AsyncEventDispatcher,
    Concurrent,
    Event,
    EventDispatcher,
    Race,
    Sequential,
    listens_to,
    outside_dispatch,
)
from tests.helpers import BOTH, AnyDispatcher, make_listener, make_recording_listener
from tests.naming import without_address

PLACED = "order.placed"


class OrderPlaced(Event): ...


async def coroutine_function(event: Event) -> None: ...


def plain_function(event: Event) -> None: ...


async def async_handler(error: Exception, event: Any, listener: Any) -> None: ...


class AsyncHandler:
    async def __call__(self, error: Exception, event: Any, listener: Any) -> None: ...


class Unhashable:
    __hash__ = None  # type: ignore[assignment]  # that is its subject

    def __repr__(self) -> str:
        return "<unhashable>"


class BadRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr for you")


Register = Callable[..., object]
REGISTRATION_METHODS: dict[str, Register] = {
    "add_listener": lambda on, key, listener, **options: on.add_listener(key, listener, **options),
    "listen": lambda on, key, listener, **options: on.listen(key, **options)(listener),
    "temporarily.add_listener": lambda on, key, listener, **options: on.temporarily().add_listener(
        key, listener, **options
    ),
    "temporarily.listen": lambda on, key, listener, **options: on.temporarily().listen(key, **options)(listener),
}


@pytest.fixture(params=REGISTRATION_METHODS)
def register(request: pytest.FixtureRequest) -> Register:
    return REGISTRATION_METHODS[request.param]


@pytest.fixture(params=BOTH, ids=lambda kind: kind.__name__)
def dispatcher(request: pytest.FixtureRequest) -> AnyDispatcher:
    """A dispatcher with one listener."""
    made: AnyDispatcher = request.param()
    made.add_listener("kept", make_listener(made, lambda event: None))
    return made


@contextmanager
def refused(dispatcher: AnyDispatcher, *texts: str, kind: type[Exception] = TypeError) -> Iterator[None]:
    """Expect an error with these texts that leaves the registrations as they were."""
    before = dispatcher.get_listeners()
    with pytest.raises(kind) as caught:
        yield
    assert dispatcher.get_listeners() == before
    assert [text for text in texts if text not in str(caught.value)] == []


# Listeners


@pytest.mark.parametrize("listener", [None, 7, "listener", [plain_function], Event()], ids=without_address)
def test_an_uncallable_listener_is_refused(dispatcher: AnyDispatcher, register: Register, listener: Any) -> None:
    for key in (PLACED, "kept"):
        with refused(dispatcher, "a listener is", repr(listener), type(listener).__name__):
            register(dispatcher, key, listener)


async def test_a_function_of_the_other_kind_is_refused_with_its_fix(register: Register) -> None:
    dispatcher, sync, log = AsyncEventDispatcher(), EventDispatcher(), list[Any]()
    dispatcher.add_listener(PLACED, make_recording_listener(dispatcher, log, "called"))
    await dispatcher.adispatch(PLACED, Event())
    texts = repr(plain_function), "async def", "inline(plain_function)", "in_thread(plain_function)"

    with refused(dispatcher, *texts):
        register(dispatcher, PLACED, plain_function, priority=-1)
    with refused(sync, repr(coroutine_function), "async", "AsyncEventDispatcher"):
        register(sync, PLACED, coroutine_function)
    await dispatcher.adispatch(PLACED, Event())

    assert log == ["called", "called"]


def test_a_listener_with_a_failing_repr_is_refused(dispatcher: AnyDispatcher, register: Register) -> None:
    with refused(dispatcher, "BadRepr"):
        register(dispatcher, PLACED, BadRepr())


def test_a_coroutine_is_not_a_listener(dispatcher: AnyDispatcher, register: Register) -> None:
    with refused(dispatcher, "pass the function, coroutine_function, without calling it"):
        register(dispatcher, PLACED, coroutine_function(Event()))


# Keys


@pytest.mark.parametrize("key", [["placed"], {"placed": 1}, {"placed"}, Unhashable(), ("placed", []), None], ids=repr)
async def test_an_unhashable_key_is_refused(dispatcher: AnyDispatcher, register: Register, key: Any) -> None:
    expected = ["None is not a key"] if key is None else ["must be hashable", repr(key)]
    if isinstance(key, (list, set)):
        expected.append('pass each key on its own, as in listen("placed")')
    texts = ["a key", '"order.placed"', *expected]
    listener, event = make_listener(dispatcher, print), Event()

    with refused(dispatcher, *texts):
        register(dispatcher, key, listener)
    with refused(dispatcher, *texts):
        dispatcher.listen(key)
    with refused(dispatcher, *texts):
        dispatcher.remove_listener(key, listener)
    if key is not None:
        for use in (dispatcher.get_listeners, dispatcher.has_listeners):
            with refused(dispatcher, *texts):
                use(key)
        for dispatched in (event, object()):
            with refused(dispatcher, *texts):
                await dispatcher.adispatch(key, dispatched)
        assert vars(event) == {}


@pytest.mark.parametrize("temporarily", [False, True], ids=["dispatcher", "registrar"])
def test_listen_without_its_key_shows_how_to_write_it(dispatcher: AnyDispatcher, temporarily: bool) -> None:
    where: Any = dispatcher.temporarily() if temporarily else dispatcher

    with refused(dispatcher, '@dispatcher.listen("order.placed")', "validate", "takes the key"):

        @where.listen
        def validate(event: Event) -> None: ...


# Priorities and other arguments


@pytest.mark.parametrize("priority", ["high", 1.5, None, "1", (1,), Unhashable()], ids=repr)
def test_a_priority_must_be_an_int(dispatcher: AnyDispatcher, register: Register, priority: Any) -> None:
    for options in ({}, {"once": True}):
        with refused(dispatcher, "a priority is an int", repr(priority), type(priority).__name__):
            register(dispatcher, PLACED, make_listener(dispatcher, print), priority=priority, **options)


@pytest.mark.parametrize("temporarily", [False, True], ids=["dispatcher", "registrar"])
@pytest.mark.parametrize(
    ("key", "options"), [("placed", {"priority": "high"}), ("placed", {"priority": None}), (None, {}), (["placed"], {})]
)
def test_listen_checks_before_it_sees_a_function(
    dispatcher: AnyDispatcher, key: Any, options: dict[str, Any], temporarily: bool
) -> None:
    where: Any = dispatcher.temporarily() if temporarily else dispatcher
    with refused(dispatcher):
        where.listen(key, **options)


def test_arguments_are_positional_and_options_keywords(dispatcher: AnyDispatcher, register: Register) -> None:
    listener, anything = make_listener(dispatcher, print), cast("Any", dispatcher)
    with refused(dispatcher):
        anything.add_listener(PLACED, listener, 5)
    with refused(dispatcher):
        anything.add_listener(key=PLACED, listener=listener)
    with refused(dispatcher):
        register(dispatcher, PLACED, listener, prioritty=5)


# Strategies


@pytest.mark.parametrize("strategy", ["concurrent", 7, 0, "", object(), plain_function], ids=without_address)
async def test_a_wrong_strategy_is_refused(strategy: Any) -> None:
    dispatcher, log, event = AsyncEventDispatcher(), list[Any](), Event()
    dispatcher.add_listener("kept", make_recording_listener(dispatcher, log, "called"), once=True)
    texts = "strategy= is", "Concurrent()", repr(strategy)

    with refused(dispatcher, *texts):
        AsyncEventDispatcher(strategy=strategy)
    for name in ("kept", "no listeners"):
        with refused(dispatcher, *texts):
            await dispatcher.adispatch(name, event, strategy=strategy)

    assert (log, vars(event), dispatcher.has_listeners("kept")) == ([], {}, True)


@pytest.mark.parametrize("strategy", [Sequential, Concurrent, Race], ids=lambda strategy: strategy.__name__)
async def test_the_class_of_a_strategy_is_refused_with_the_fix(strategy: Any) -> None:
    with pytest.raises(TypeError, match=rf"write {strategy.__name__}\(\)"):
        AsyncEventDispatcher(strategy=strategy)
    with pytest.raises(TypeError, match=rf"write {strategy.__name__}\(\)"):
        await AsyncEventDispatcher().adispatch(PLACED, Event(), strategy=strategy)


@pytest.mark.parametrize("limit", [0, -1, -(10**9), "2", 1.0, True, [2], Unhashable()], ids=repr)
def test_a_wrong_limit_is_refused(limit: Any) -> None:
    is_int = type(limit) is int
    with pytest.raises(
        ValueError if is_int else TypeError, match="at least 1" if is_int else "an int or None"
    ) as caught:
        Concurrent(limit)

    assert f"got {limit!r}" in str(caught.value)


@pytest.mark.parametrize("limit", [0, "2"], ids=repr)
def test_the_message_of_an_option_without_a_default_limit_offers_none(dispatcher: AnyDispatcher, limit: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="None"):
        AsyncEventDispatcher().add_listener("order.placed", make_listener(AsyncEventDispatcher(), print), limit=limit)


@pytest.mark.parametrize("option", ["max_buffer_size", "workers"])
@pytest.mark.parametrize(("value", "text"), [(0, "at least 1, because"), (None, "an int; got None")])
def test_the_message_of_an_option_that_has_a_limit_does_not_offer_none(option: str, value: Any, text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        AsyncEventDispatcher().queue(**{option: value})


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Sequential("collect"), "write Sequential(errors='collect')"),
        (lambda: Race("collect"), "write Race(errors='collect')"),
        (lambda: Concurrent(8, "collect"), "write Concurrent(errors='collect')"),
        (lambda: Sequential(limit=8), "Sequential() has no option limit=: the limit is an option of Concurrent"),
        (lambda: Race(limit=8), "Race() has no option limit=: the limit is an option of Concurrent"),
        (lambda: Concurrent(max=8), "Concurrent() has no option max=: its options are limit=, errors="),
    ],
)
def test_other_arguments_of_a_strategy_are_refused_with_the_fix(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(TypeError) as caught:
        make()

    assert text in str(caught.value)


# Error policies and adapters


every_maker = pytest.mark.parametrize("make", [Sequential, Concurrent, Race, EventDispatcher])


@every_maker
@pytest.mark.parametrize("errors", ["ignore", "", "Raise", None, 7, True, ["raise"], Unhashable()], ids=repr)
def test_an_unknown_error_policy_is_refused(make: Any, errors: Any) -> None:
    kind = ValueError if isinstance(errors, str) else TypeError
    with pytest.raises(kind, match='"raise", "collect", "log" or a plain function') as caught:
        make(errors=errors)

    assert repr(errors) in str(caught.value)


@every_maker
@pytest.mark.parametrize(
    "handler",
    [async_handler, functools.partial(async_handler), AsyncHandler(), AsyncHandler().__call__, AsyncMock()],
    ids=["function", "partial", "object", "method", "AsyncMock"],
)
def test_an_async_error_policy_is_refused(make: Any, handler: Any) -> None:
    with pytest.raises(TypeError, match="is async") as caught:
        make(errors=handler)

    assert "plain function" in str(caught.value)


class Handlers:
    def handle(self, exc: Any) -> None: ...

    def __call__(self, exc: Any, event: Any) -> None: ...


def needs_more(exc: Any, event: Any, third: Any, fourth: Any) -> None: ...
def needs_option(exc: Any, event: Any, third: Any, *, log: Any) -> None: ...


@pytest.mark.parametrize(
    ("handler", "takes"),
    [
        (lambda: None, "()"),
        (lambda exc: None, "(exc)"),
        (needs_more, "(exc, event, third, fourth)"),
        (needs_option, "(exc, event, third, log=)"),
        (Handlers().handle, "(exc)"),
        (Handlers(), "(exc, event)"),
        (functools.partial(needs_more, 1, 2), "(third, fourth)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize(
    ("make", "third"),
    [
        (Sequential, "listener"),
        (Concurrent, "listener"),
        (Race, "listener"),
        (EventDispatcher, "listener"),
        (AsyncEventDispatcher().queue, "name"),
    ],
)
def test_an_error_function_of_other_parameters_is_refused(make: Any, third: str, handler: Any, takes: str) -> None:
    with pytest.raises(TypeError, match="plain function of exception, event and") as caught:
        make(errors=handler)

    for part in (f"event and {third}", repr(handler), f"takes {takes}", f"called with (exception, event, {third})"):
        assert part in str(caught.value)


@every_maker
@pytest.mark.parametrize(
    "handler",
    [
        lambda exc, event, listener: None,
        lambda exc, event, listener, more=None: None,
        lambda *details: None,
        lambda exc, *details, **options: None,
        functools.partial(needs_more, 0),
        functools.partial(needs_option, log=print),
        print,
        list[Any]().append,
        MagicMock(),
    ],
    ids=["three", "default", "any", "any more", "partial", "option", "builtin", "builtin method", "mock"],
)
def test_an_error_function_that_takes_three_arguments_is_accepted(make: Any, handler: Any) -> None:
    # The signature of a builtin is not cheap to find out.
    assert make(errors=handler).errors is handler


@pytest.mark.parametrize(
    "register",
    [
        lambda function: AsyncEventDispatcher().listen("order.placed", where=function),
        lambda function: AsyncEventDispatcher().expect("order.placed", where=function),
        lambda function: AsyncEventDispatcher().queue(ordered_by=function),
    ],
    ids=["where", "where of expect", "ordered_by"],
)
@pytest.mark.parametrize(
    ("function", "takes"),
    [(lambda: True, "()"), (lambda event, name: True, "(event, name)"), (Handlers(), "(exc, event)")],
    ids=["nothing", "two", "object"],
)
def test_a_function_of_an_event_needs_one_parameter(register: Any, function: Any, takes: str) -> None:
    with pytest.raises(TypeError, match="is a plain function") as caught:
        register(function)

    assert f"{function!r}, which takes {takes}: it is called with (event)" in str(caught.value)


def test_a_partial_that_passes_the_event_is_refused() -> None:
    with pytest.raises(TypeError, match=r"cannot be called with \(event\): remove event= from the partial"):
        AsyncEventDispatcher().listen(PLACED, where=functools.partial(lambda event: True, event=1))


def test_a_class_is_not_a_filter_unless_its_objects_can_be_false() -> None:
    with pytest.raises(TypeError, match="got the class OrderPlaced, whose objects are always true"):
        AsyncEventDispatcher().listen(PLACED, where=OrderPlaced)

    class Items:
        def __init__(self, event: Event) -> None: ...

        def __len__(self) -> int:
            return 0

    for where in (bool, Items):
        AsyncEventDispatcher().listen(PLACED, where=where)


def test_an_async_ordered_by_is_named() -> None:
    with pytest.raises(TypeError, match="which is async, and a post does not await it"):
        AsyncEventDispatcher().queue(ordered_by=coroutine_function)


@pytest.mark.parametrize("way", ["ignore", "", None, True, ["inline"], Unhashable()], ids=repr)
def test_a_wrong_sync_listeners_is_refused(way: Any) -> None:
    with pytest.raises((ValueError, TypeError), match='"refuse", "inline" or "thread"') as caught:
        AsyncEventDispatcher(sync_listeners=way)

    assert repr(way) in str(caught.value)


# Dispatches


async def test_a_dispatch_needs_a_name_or_an_event(dispatcher: AnyDispatcher) -> None:
    calls: dict[str, tuple[Any, ...]] = {
        "a name, an event, or both": (None,),
        "OrderPlaced(...)": (OrderPlaced,),
        "a name or a key must be hashable": (["placed"], Event()),
        "": (),
    }
    for text, arguments in calls.items():
        with refused(dispatcher, text):
            await cast("Any", dispatcher).adispatch(*arguments)
        if isinstance(dispatcher, EventDispatcher):
            with refused(dispatcher, text):
                cast("Any", dispatcher).dispatch(*arguments)


def test_dispatch_of_an_async_dispatcher_shows_what_to_await() -> None:
    with pytest.raises(NotImplementedError, match=r'await dispatcher\.adispatch\("order.placed"\)$'):
        AsyncEventDispatcher().dispatch(PLACED)
    with pytest.raises(NotImplementedError, match=r'await dispatcher\.adispatch\("order.placed", event\)$'):
        AsyncEventDispatcher().dispatch(PLACED, Event())
    with pytest.raises(NotImplementedError, match=r"await dispatcher\.adispatch\(event\)$"):
        AsyncEventDispatcher().dispatch(cast("Any", Event()))


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (lambda: coroutine_function(Event()), r"got the coroutine coroutine_function\(\): await it first"),
        (lambda: plain_function, "got the function plain_function: pass the event that it makes"),
    ],
    ids=["coroutine", "function"],
)
async def test_what_makes_an_event_is_not_an_event(
    dispatcher: AnyDispatcher, event: Callable[[], Any], message: str
) -> None:
    for arguments in [(PLACED, event()), (event(),)]:
        with pytest.raises(TypeError, match=message):
            await dispatcher.adispatch(*arguments)


async def test_a_text_after_an_object_is_the_name(dispatcher: AnyDispatcher) -> None:
    with refused(dispatcher, "the name comes first, then the event"):
        await dispatcher.adispatch(BadRepr(), PLACED)
    for name in ("text", 404, (PLACED, 1), None):
        await dispatcher.adispatch(name, "a text as the event")


def test_look_ups_take_what_a_dispatch_takes(dispatcher: AnyDispatcher) -> None:
    anything = cast("Any", dispatcher)
    for use in (anything.get_listeners, anything.has_listeners):
        with refused(dispatcher, "a dispatch takes one name", "'order.*'"):
            use("order.*")
        with refused(dispatcher, "pass its class, OrderPlaced"):
            use(PLACED, OrderPlaced())


def test_a_look_up_of_an_unhashable_class_is_refused(dispatcher: AnyDispatcher) -> None:
    class Unlisted(type):
        __hash__ = None  # type: ignore[assignment]  # that is its subject

    class Order(metaclass=Unlisted): ...

    for use in (dispatcher.get_listeners, dispatcher.has_listeners):
        with refused(dispatcher, "a name or a key must be hashable"):
            use(cast("Any", Order))


def test_a_prepared_dispatch_is_called_by_its_name(dispatcher: AnyDispatcher) -> None:
    with pytest.raises(TypeError, match=r"^prepared\(\) missing"):
        cast("Any", dispatcher.prepare(PLACED))()


# Removing and reprs


def test_removing_an_unregistered_listener_says_where_to_look(dispatcher: AnyDispatcher) -> None:
    texts = repr(plain_function), "does not listen to 'order.placed'", "get_listeners('order.placed')"
    with refused(dispatcher, *texts, kind=ValueError):
        dispatcher.remove_listener(PLACED, plain_function)
    with refused(dispatcher, "BadRepr", kind=ValueError):
        dispatcher.remove_listener(BadRepr(), cast("Any", BadRepr()))


async def test_a_subscription_is_used_with_a_plain_with(dispatcher: AnyDispatcher) -> None:
    handle: Any = dispatcher.add_listener(PLACED, make_listener(dispatcher, print))
    with pytest.raises(TypeError, match=r"a plain `with`: write `with dispatcher.add_listener\(key, listener\):`"):
        async with handle:
            pass


def test_the_repr_of_a_subscription_survives_a_failing_repr() -> None:
    class Listener(BadRepr):
        def __call__(self, event: Event) -> None: ...

    assert "BadRepr" in repr(EventDispatcher().add_listener(BadRepr(), Listener()))


# Subclasses


@pytest.mark.parametrize(
    "use",
    [
        lambda dispatcher: dispatcher.add_listener(PLACED, make_listener(dispatcher, print)),
        lambda dispatcher: dispatcher.add_listener(PLACED, make_listener(dispatcher, print), once=True),
        lambda dispatcher: dispatcher.listen(PLACED)(make_listener(dispatcher, print)),
        lambda dispatcher: dispatcher.remove_listener(PLACED, print),
        lambda dispatcher: dispatcher.get_listeners(),
        lambda dispatcher: dispatcher.has_listeners(PLACED),
        lambda dispatcher: dispatcher.describe(),
        lambda dispatcher: dispatcher.prepare(PLACED),
        lambda dispatcher: dispatcher.clear(),
        lambda dispatcher: dispatcher.scope(),
        lambda dispatcher: dispatcher.add_instrument(FakeInstrument()),
        lambda dispatcher: dispatcher.adispatch(PLACED, Event()),
    ],
)
@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
async def test_a_forgotten_init_of_the_dispatcher_is_named(kind: type[AnyDispatcher], use: Callable[..., Any]) -> None:
    class Shop(kind):  # type: ignore[misc, valid-type]  # either dispatcher
        def __init__(self) -> None:
            self.orders = list[Any]()

    with pytest.raises(AttributeError, match=r"must call super\(\).__init__\(\) before the dispatcher is used"):
        result = use(Shop())
        if isinstance(result, Awaitable):
            await result


class FakeInstrument:
    def dispatch_started(self, record: Any) -> None: ...


def test_a_plain_method_of_a_subscriber_is_refused_with_what_helps_in_its_class() -> None:
    class Shop:
        @listens_to(PLACED)
        def confirm(self, event: Event) -> None: ...

    with pytest.raises(TypeError, match=r"`async def`, .* In its class, @inline or @in_thread above `def confirm`"):
        AsyncEventDispatcher().add_subscriber(Shop())


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
def test_an_attribute_that_is_missing_has_the_message_of_python(kind: Any) -> None:
    class WithProperty(kind):  # type: ignore[misc]  # a class of the parameter
        @property
        def total(self) -> int:
            return int(self.totl)

    with pytest.raises(AttributeError, match=r"object has no attribute 'totl'$"):
        WithProperty().total


@pytest.mark.parametrize("kind", BOTH)
def test_a_dispatcher_with_a_wrong_name_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="name= is the name of the dispatcher, a str or None"):
        kind(name=1)


# Arguments by keyword, and attributes that are missing


@pytest.mark.parametrize("event_id", ["order.placed", OrderPlaced, 404], ids=repr)
def test_keywords_of_whistle_show_the_call_by_position(dispatcher: AnyDispatcher, event_id: Any) -> None:
    anything = cast("Any", dispatcher)
    for use, call in (
        (
            lambda **names: anything.remove_listener(**names, listener=plain_function),
            "remove_listener({}, plain_function)",
        ),
        (anything.remove_listener, "remove_listener({}, listener)"),
        (anything.get_listeners, "get_listeners({})"),
        (anything.has_listeners, "has_listeners({})"),
        (anything.prepare, "prepare({})"),
    ):
        shown = {OrderPlaced: "OrderPlaced", "order.placed": '"order.placed"'}.get(event_id, "404")
        with refused(dispatcher, "by position, not as event_id=", f"write {call.format(shown)}"):
            use(event_id=event_id)


def test_whistles_keywords_of_a_dispatch_work() -> None:
    event = OrderPlaced()
    dispatch = cast("Any", EventDispatcher().dispatch)

    assert dispatch(event_id=PLACED, event=event) is event
    assert dispatch(event_id=PLACED).name == PLACED


async def test_a_dispatch_accepts_the_documented_names() -> None:
    event = OrderPlaced()
    adispatch = cast("Any", AsyncEventDispatcher().adispatch)

    assert await adispatch(name=PLACED, event=event) is event
    assert (await adispatch(name=PLACED, strategy=Concurrent())).name == PLACED


async def test_a_dispatch_without_its_name_shows_the_call(dispatcher: AnyDispatcher) -> None:
    anything, method = cast("Any", dispatcher), "dispatch"
    if isinstance(dispatcher, AsyncEventDispatcher):
        method = "adispatch"
    dispatch = getattr(anything, method)
    for options, texts in (
        ({}, ["got nothing", f"{method}(event)"]),
        ({"event": OrderPlaced()}, ["got only event=", f"{method}(event)", f"{method}(name, event)"]),
    ):
        with refused(dispatcher, *texts):
            result = dispatch(**options)
            if isinstance(result, Awaitable):
                await result


async def test_a_post_without_its_name_shows_the_call() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.queue() as queue:
        for post in (cast("Any", queue).post, async_form(cast("Any", queue).post_nowait)):
            with refused(dispatcher, "got nothing"):
                await post()
            with refused(dispatcher, "got only event="):
                await post(event=OrderPlaced())
            await post(name=PLACED, event=OrderPlaced())

    assert queue.statistics().done == 2


def async_form(function: Callable[..., object]) -> Callable[..., Awaitable[object]]:
    async def call(**options: Any) -> object:
        return function(**options)

    return call


def test_the_dispatch_of_an_async_dispatcher_teaches_with_any_arguments() -> None:
    dispatch: Any = AsyncEventDispatcher().dispatch
    for arguments, options in ((("a",), {}), ((), {"event_id": "a"}), ((), {"name": "a"}), (("a", Event(), 3), {})):
        with pytest.raises(NotImplementedError, match=r'await dispatcher\.adispatch\("a"(, event)?\)$'):
            dispatch(*arguments, **options)
    with pytest.raises(NotImplementedError, match=r"await dispatcher\.adispatch\(name, event\)"):
        dispatch()


def test_an_unknown_option_shows_the_call_with_the_right_one(dispatcher: AnyDispatcher) -> None:
    anything: Any = dispatcher
    calls: list[tuple[Any, dict[str, Any], str]] = [
        (anything.listen, {"onec": True}, "listen(key, once=True)"),
        (anything.temporarily().listen, {"onec": True}, "listen(key, once=True)"),
        (listens_to, {"onec": True}, "listens_to(key, once=True)"),
    ]
    if isinstance(dispatcher, AsyncEventDispatcher):
        calls += [
            (anything.stream, {"size": 3}, "stream(key, max_buffer_size=3)"),
            (anything.expect, {"were": print}, "expect(key, where=<built-in function print>)"),
            (
                lambda *keys, **options: anything.wait_for(*keys, **options).send(None),
                {"were": 3},
                "wait_for(key, where=3)",
            ),
            (lambda _key, **options: anything.queue(**options), {"worker": 3}, "queue(workers=3)"),
            (lambda _key, **options: anything.queue(options["size"]), {"size": 3}, "queue(max_buffer_size=3)"),
        ]
    for call, options, fix in calls:
        with refused(dispatcher, f"{fix.partition('(')[0]}() ", f"rite {fix}"):
            call(PLACED, **options)


def test_calls_without_a_key_show_their_name(dispatcher: AnyDispatcher) -> None:
    anything: Any = dispatcher
    calls = {"listen": anything.listen, "listens_to": listens_to}
    if isinstance(dispatcher, AsyncEventDispatcher):
        calls |= {
            "stream": anything.stream,
            "expect": anything.expect,
            "wait_for": lambda: anything.wait_for().send(None),
        }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=rf"^{name}\(\) takes the keys to listen to"):
            call()


def test_adding_needs_a_key_and_a_listener_in_this_order(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    for where in (cast("Any", dispatcher), cast("Any", dispatcher.temporarily())):
        for arguments, text in (
            ((), "add_listener() takes a key and a listener; got nothing"),
            ((PLACED,), 'add_listener() takes a key and a listener; got only "order.placed"'),
            ((listener, PLACED), 'swapped: write add_listener("order.placed", '),
        ):
            with refused(dispatcher, text):
                where.add_listener(*arguments)


def test_a_refused_listener_or_priority_is_one_error(dispatcher: AnyDispatcher) -> None:
    async def with_a_customer(event: Event, *, customer: str) -> None: ...

    anything: Any = dispatcher
    for listener, options in ((7, {}), (with_a_customer, {}), (make_listener(dispatcher, print), {"priority": "high"})):
        with pytest.raises(TypeError) as caught:
            anything.add_listener(PLACED, listener, **options)
        assert caught.value.__context__ is None


def test_an_object_without_marks_shows_what_to_write(dispatcher: AnyDispatcher) -> None:
    with refused(dispatcher, 'no method marked with @listens_to("order.placed"): mark each listener'):
        dispatcher.add_subscriber(AsyncHandler())
    for function in (plain_function, Unhashable().__repr__):
        with refused(dispatcher, '@listens_to("order.placed"): register a function with add_listener(key, function)'):
            dispatcher.add_subscriber(function)


def test_prepare_takes_one_name(dispatcher: AnyDispatcher) -> None:
    anything = cast("Any", dispatcher)
    with refused(dispatcher, "takes a name; got nothing", 'prepare("order.placed")'):
        anything.prepare()
    with refused(dispatcher, "takes only (name); got 3 as well"):
        anything.prepare(PLACED, 3)


def test_removing_needs_a_key_and_a_listener_in_this_order(dispatcher: AnyDispatcher) -> None:
    anything = cast("Any", dispatcher)
    for arguments, options, text in (
        ((), {}, "got nothing"),
        ((PLACED,), {}, 'got only "order.placed"'),
        ((), {"listener": plain_function}, "got only listener=plain_function"),
        ((plain_function, PLACED), {}, 'swapped: write remove_listener("order.placed", plain_function)'),
    ):
        with refused(dispatcher, text):
            anything.remove_listener(*arguments, **options)


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
def test_the_documented_parameters_are_positional(kind: Any) -> None:
    for method in ("get_listeners", "has_listeners", "remove_listener", kind._dispatch_method):
        _self, *parameters = inspect.signature(getattr(kind, method)).parameters.values()
        assert [each.kind for each in parameters if each.name != "strategy"] == [inspect.Parameter.POSITIONAL_ONLY] * 2
        assert "event_id" not in [each.name for each in parameters]


foreign_names = pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 reads attributes more slowly then")


@foreign_names
@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("attribute", "fix"),
    [
        ("emit", "dispatch(name, event)"),
        ("send", "dispatch(name, event)"),
        ("post", "queue.post(name, event)"),
        ("on", "@dispatcher.listen(key)"),
        ("connect", "@dispatcher.listen(key)"),
        ("once", "@dispatcher.listen(key, once=True)"),
        ("off", "dispatcher.remove_listener(key, listener)"),
        ("remove_all_listeners", "dispatcher.clear()"),
        ("receivers", "dispatcher.get_listeners()"),
        ("add_event_subscriber", "dispatcher.add_subscriber(subscriber)"),
    ],
)
def test_a_method_of_another_library_shows_the_one_of_antiphon(kind: Any, attribute: str, fix: str) -> None:
    if attribute == "post" and kind is EventDispatcher:
        fix = "dispatcher.dispatch(name, event)"
    with pytest.raises(AttributeError) as caught:
        getattr(kind(), attribute)

    assert f"{kind.__name__!r} object has no attribute {attribute!r}" in str(caught.value)
    assert fix in str(caught.value)
    assert not hasattr(kind(), attribute)
    assert (caught.value.name, type(caught.value.obj)) == (attribute, kind)


@foreign_names
@pytest.mark.parametrize("attribute", ["expect", "queue", "stream", "wait_for"])
def test_a_method_of_the_async_dispatcher_names_its_class(attribute: str) -> None:
    with pytest.raises(AttributeError, match=r"needs an event loop, so create an AsyncEventDispatcher$"):
        getattr(EventDispatcher(), attribute)


@foreign_names
def test_a_way_to_dispatch_of_another_library_shows_the_whole_call() -> None:
    awaited = "to dispatch an event, write await dispatcher.adispatch(name, event)"
    plain = "to dispatch an event, write dispatcher.dispatch(name, event)"
    later = (
        "; to dispatch it later, write `async with dispatcher.queue() as queue:` and `await queue.post(name, event)`"
    )
    for dispatcher, attribute, fix in (
        (AsyncEventDispatcher(), "emit", awaited),
        (EventDispatcher(), "emit", plain),
        (AsyncEventDispatcher(), "post", awaited + later),
        (EventDispatcher(), "post", plain),
    ):
        with pytest.raises(AttributeError) as caught:
            getattr(dispatcher, attribute)
        kind = type(dispatcher).__name__
        assert str(caught.value) == f"{kind!r} object has no attribute {attribute!r}: {fix}"


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
def test_a_method_of_a_subclass_is_its_own(kind: Any) -> None:
    class WithEmit(kind):  # type: ignore[misc]  # a class of the parameter
        def emit(self) -> str:
            return "emitted"

        @property
        def on(self) -> int:
            return int(self.totl)

    assert WithEmit().emit() == "emitted"
    with pytest.raises(AttributeError, match=r"object has no attribute 'totl'$"):
        WithEmit().on


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
def test_mocks_of_a_dispatcher_have_its_attributes_alone(kind: Any) -> None:
    mock = create_autospec(kind, instance=True)

    assert mock.add_listener(PLACED, plain_function) is not None
    assert not hasattr(mock, "emit")


@pytest.mark.parametrize(
    ("call", "fix"),
    [
        (lambda on: on.listen("a", "b", 10), 'listen("a", "b", priority=10)'),
        (lambda on: on.listen("a", OrderPlaced, True), 'listen("a", OrderPlaced, once=True)'),
        (lambda on: on.temporarily().listen("a", "b", 1.5), 'listen("a", "b", timeout=1.5)'),
    ],
    ids=["priority", "once", "timeout"],
)
def test_a_number_after_several_keys_is_an_option(
    dispatcher: AnyDispatcher, call: Callable[..., Any], fix: str
) -> None:
    with refused(dispatcher, "takes options by keyword", f"write {fix}", "pass it as the first key"):
        call(dispatcher)


def test_numbers_are_keys_after_a_number(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    dispatcher.listen(404, "not.found", 500)(listener)

    for key in (404, "not.found", 500):
        assert dispatcher.get_listeners(key) == (listener,)


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
def test_the_repr_of_a_registrar_tells_its_dispatcher(kind: Any) -> None:
    assert repr(kind(name="shop").temporarily()) == f"<registrar of <{kind.__name__} 'shop'>>"


async def test_outside_dispatch_is_a_plain_block() -> None:
    block: Any = outside_dispatch()
    assert repr(block) == "outside_dispatch()"
    with pytest.raises(TypeError, match="a plain `with`: write `with outside_dispatch\\(\\):`"):
        async with block:
            pass


@foreign_names
@pytest.mark.parametrize(
    ("attribute", "fix"),
    [("put", "await queue.post(name, event)"), ("get", "dispatches its events"), ("qsize", "queue.statistics()")],
)
def test_a_method_of_another_queue_shows_the_one_of_antiphon(attribute: str, fix: str) -> None:
    queue = AsyncEventDispatcher().queue()
    with pytest.raises(AttributeError, match=f"'Queue' object has no attribute '{attribute}'") as caught:
        getattr(queue, attribute)

    assert fix in str(caught.value)
    assert not hasattr(queue, attribute)


@foreign_names
def test_other_names_for_a_read_show_how_to_read() -> None:
    dispatcher: Any = AsyncEventDispatcher()
    for waiting, attribute, fix in (
        (dispatcher.stream(PLACED), "get", "async for event in stream:"),
        (dispatcher.expect(PLACED), "result", "expected.event"),
    ):
        with pytest.raises(AttributeError, match=fix):
            getattr(waiting, attribute)


@pytest.mark.parametrize("kind", ["queue", "stream", "expect"])
def test_any_other_missing_attribute_has_the_message_of_python(kind: str) -> None:
    keys = () if kind == "queue" else (PLACED,)
    waiting = getattr(AsyncEventDispatcher(), kind)(*keys)
    with pytest.raises(AttributeError, match=r"object has no attribute 'nothing'$"):
        waiting.nothing


@every_maker
def test_an_exception_class_is_not_an_error_function(make: Any) -> None:
    with pytest.raises(TypeError, match="got the class ValueError, whose call only makes an object"):
        make(errors=ValueError)
