"""What docs/why.md and docs/migrating.md state about other libraries, checked by running them."""

from __future__ import annotations

import gc
import inspect
import re
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import requires, version
from pathlib import Path

import anyio
import pytest
import whistle
from packaging.requirements import Requirement

import antiphon
from antiphon import Concurrent

REASON = "needs the libraries of the group `peers`"
aiosignal = pytest.importorskip("aiosignal", reason=REASON)
blinker = pytest.importorskip("blinker", reason=REASON)
pluggy = pytest.importorskip("pluggy", reason=REASON)
psygnal = pytest.importorskip("psygnal", reason=REASON)
pyee = pytest.importorskip("pyee", reason=REASON)
containers, asyncio_emitters, trio_emitters = map(import_module, ("psygnal.containers", "pyee.asyncio", "pyee.trio"))

PAGE = Path(__file__).parents[1] / "docs" / "why.md"
if not PAGE.exists():
    pytest.skip("needs the checkout", allow_module_level=True)

LIBRARIES = ("aiosignal", "blinker", "pluggy", "psygnal", "pyee", "whistle")
DISPATCHERS = {"antiphon": antiphon, "whistle": whistle}
NAME = "order.placed"


class Order(antiphon.Event):
    """The event of the tests, which whistle and antiphon can stop."""


def read_table():
    """Return the cells of the feature table by row and library."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    head, _, *rows = rows
    return {name: dict(zip(head[1:], cells, strict=True)) for name, *cells in rows}


TABLE = read_table()
in_each = pytest.mark.parametrize("library", next(iter(TABLE.values())))


@asynccontextmanager
async def open_async(library, backend):
    """Yield a function that adds an async listener, and one that dispatches an event."""
    async with anyio.create_task_group() as group:
        if library in DISPATCHERS:
            dispatcher = DISPATCHERS[library].AsyncEventDispatcher()

            def add(listener, **options):
                dispatcher.add_listener(NAME, listener, **options)

            async def send(event):
                await dispatcher.adispatch(NAME, event)
        elif library == "blinker":
            signal = blinker.Signal()

            def add(listener, **options):
                signal.connect(listener, **options)

            async def send(event):
                await signal.send_async(event)
        elif library == "aiosignal":
            signal = aiosignal.Signal(object())
            add = signal.append

            async def send(event):
                signal.freeze()
                await signal.send(event)
        elif library == "pyee":
            # Its own class for each backend. A nursery of Trio has the same method as a task group.
            emitter = (
                asyncio_emitters.AsyncIOEventEmitter()
                if backend == "asyncio"
                else trio_emitters.TrioEventEmitter(nursery=group)
            )

            def add(listener, **options):
                emitter.add_listener(NAME, listener, **options)

            async def send(event):
                emitter.emit(NAME, event)
        elif library == "psygnal":
            queue = psygnal.set_async_backend(backend)
            if backend == "trio":
                group.start_soon(queue.run)
            await queue.running.wait()
            signal = psygnal.SignalInstance((object,))
            add = signal.connect

            async def send(event):
                signal.emit(event)
        else:
            pytest.fail(f"{library} has no async listeners")
        try:
            yield add, send
        finally:
            if library == "psygnal":
                psygnal._async.clear_async_backend()
            group.cancel_scope.cancel()


def open_sync(library):
    """Return a function that adds a plain listener, and one that dispatches an event."""
    if library in DISPATCHERS:
        dispatcher = DISPATCHERS[library].EventDispatcher()
        return (
            lambda listener, **options: dispatcher.add_listener(NAME, listener, **options),
            lambda event: dispatcher.dispatch(NAME, event),
        )
    if library == "blinker":
        signal = blinker.Signal()
        return signal.connect, signal.send
    if library == "pyee":
        emitter = pyee.EventEmitter()
        return (
            lambda listener, **options: emitter.add_listener(NAME, listener, **options),
            lambda event: emitter.emit(NAME, event),
        )
    if library == "psygnal":
        signal = psygnal.SignalInstance((object,))
        return signal.connect, signal.emit
    manager = open_plugins()
    return (
        lambda listener, **options: add_plugin(manager, listener, **options),
        lambda event: manager.hook.order_placed(event=event),
    )


def open_plugins(**options):
    class Specification:
        @pluggy.HookspecMarker("shop")(**options)
        def order_placed(self, event): ...

    manager = pluggy.PluginManager("shop")
    manager.add_hookspecs(Specification)
    return manager


def add_plugin(manager, listener, **options):
    # pluggy reads the parameters of a plain function.
    def order_placed(event):
        return listener(event)

    marked = pluggy.HookimplMarker("shop")(**options)(order_placed)
    manager.register(type("Plugin", (), {"order_placed": staticmethod(marked)})())


async def send_to_two(library, backend):
    """Dispatch to two listeners that suspend once, and return their steps and those after the dispatch."""
    steps = []

    async def first(event):
        steps.append("first starts")
        await anyio.lowlevel.checkpoint()
        steps.append("first ends")

    async def second(event):
        steps.append("second starts")
        await anyio.lowlevel.checkpoint()
        steps.append("second ends")

    async with open_async(library, backend) as (add, send):
        add(first)
        add(second)
        await send(Order())
        waited = len(steps) == 4
        await anyio.wait_all_tasks_blocked()
    return steps, waited


def test_the_page_describes_the_versions_that_run_here():
    (line,) = re.findall(r"^The table and the sections below describe (.*)\.$", PAGE.read_text(encoding="utf-8"), re.M)
    described = dict(re.findall(r"(\w+) (\d+\.\d+)", line))

    assert described == {library: ".".join(version(library).split(".")[:2]) for library in LIBRARIES}


@in_each
async def test_async_listeners(library, anyio_backend_name):
    if library == "pluggy":
        # It calls an async function, and returns the coroutine.
        async def order_placed(event): ...

        add, send = open_sync(library)
        add(order_placed)
        (result,) = send(Order())
        result.close()
        assert inspect.iscoroutine(result)
        answer = "no"
    else:
        steps, _ = await send_to_two(library, anyio_backend_name)
        answer = "yes" if len(steps) == 4 else "no"

    assert TABLE["Async listeners"][library] == answer


@in_each
async def test_trio(library, anyio_backend_name):
    if library == "pluggy":
        assert TABLE["Trio"][library] == "–"
        return
    steps, _ = await send_to_two(library, anyio_backend_name)

    # "yes" is the answer of the documentation.
    assert len(steps) == 4
    assert TABLE["Trio"][library] in {"yes", "runs"}


@in_each
async def test_waiting_and_concurrency(library, anyio_backend_name):
    if library == "pluggy":
        assert TABLE["The caller waits for async listeners"][library] == "–"
        assert TABLE["Concurrent listeners"][library] == "–"
        return
    steps, waited = await send_to_two(library, anyio_backend_name)
    in_turn = ["first starts", "first ends", "second starts", "second ends"]

    assert TABLE["The caller waits for async listeners"][library] == ("yes" if waited else "no")
    if TABLE["Concurrent listeners"][library] == "always":
        assert set(steps[:2]) == {"first starts", "second starts"}
    elif library == "blinker":
        # Its order is not guaranteed.
        assert steps in (in_turn, in_turn[2:] + in_turn[:2])
    else:
        assert steps == in_turn
    assert (TABLE["Concurrent listeners"][library] == "optional") == (library == "antiphon")


async def test_concurrency_of_antiphon_is_optional():
    started = [anyio.Event(), anyio.Event()]

    async def first(event):
        started[0].set()
        await started[1].wait()

    async def second(event):
        started[1].set()
        await started[0].wait()

    dispatcher = antiphon.AsyncEventDispatcher()
    dispatcher.add_listener(NAME, first)
    dispatcher.add_listener(NAME, second)
    with anyio.fail_after(20):
        await dispatcher.adispatch(NAME, strategy=Concurrent())


@in_each
def test_priorities(library):
    called = []

    def late(event):
        called.append("late")

    def early(event):
        called.append("early")

    def middle(event):
        called.append("middle")

    options = {
        "lower first": ({"priority": 1}, {"priority": -1}),
        "higher first": ({"priority": -1}, {"priority": 1}),
        "first and last": ({"trylast": True}, {"tryfirst": True}),
    }
    answer = TABLE["Priorities"][library]
    if library == "aiosignal":
        signal = aiosignal.Signal(object())
        with pytest.raises(TypeError):
            signal.append(late, priority=1)
        assert answer == "no"
        return
    add, send = open_sync(library)
    if answer == "no":
        with pytest.raises(TypeError):
            add(late, priority=1)
        return
    of_late, of_early = options[answer]
    add(late, **of_late)
    add(middle)
    add(early, **of_early)
    send(Order())

    assert called == ["early", "middle", "late"]


@in_each
async def test_stopping(library, anyio_backend_name):
    called = []

    def answer(event):
        called.append("listener")
        getattr(event, "stop_propagation", int)()
        return True

    async def answer_later(event):
        return answer(event)

    def answer_again(event):
        return answer(event)

    async def answer_again_later(event):
        return answer(event)

    if library == "aiosignal":
        async with open_async(library, anyio_backend_name) as (add, send):
            add(answer_later)
            add(answer_again_later)
            await send(Order())
    else:
        add, send = open_sync(library)
        add(answer)
        add(answer_again)
        send(Order())
    stopped = len(called) == 1
    if library == "pluggy":
        assert not stopped
        manager = open_plugins(firstresult=True)
        for listener in (answer, answer_again):
            add_plugin(manager, listener)
        called.clear()
        assert manager.hook.order_placed(event=Order()) is True
        stopped = "first result" if len(called) == 1 else False

    assert TABLE["A listener can stop later ones"][library] == {True: "yes", False: "no"}.get(stopped, stopped)


@in_each
async def test_results(library, anyio_backend_name):
    event = Order()

    def answer(event):
        event.seen = True
        return "answer"

    async def answer_later(event):
        return answer(event)

    if library == "aiosignal":
        signal = aiosignal.Signal(object())
        signal.append(answer_later)
        signal.freeze()
        result = await signal.send(event)
    else:
        add, send = open_sync(library)
        add(answer)
        result = send(event)
    found = {
        "on the event": result is event and event.seen,
        "return values": result in ([(answer, "answer")], ["answer"]),
        "–": result is None or isinstance(result, bool),
    }

    assert [cell for cell, is_found in found.items() if is_found] == [TABLE["Results of listeners"][library]]


@in_each
async def test_weak_references(library, anyio_backend_name):
    called = []

    class Shop:
        def method(self, event):
            called.append("method")

        async def async_method(self, event):
            called.append("method")

    def make_function():
        def function(event):
            called.append("function")

        async def async_function(event):
            called.append("function")

        return async_function if library == "aiosignal" else function

    if library == "aiosignal":
        async with open_async(library, anyio_backend_name) as (add, send):
            add(make_function())
            add(Shop().async_method)
            gc.collect()
            await send(Order())
    else:
        add, send = open_sync(library)
        add(make_function())
        add(Shop().method)
        gc.collect()
        send(Order())
    cells = {(): "by default", ("function",): "to methods", ("function", "method"): "no"}

    assert TABLE["Weak references"][library] == cells[tuple(sorted(called))]
    if library == "blinker":
        signal = blinker.Signal()
        signal.connect(make_function(), weak=False)
        gc.collect()
        signal.send(Order())
        assert called == ["function"]


@in_each
async def test_sync_listeners(library, anyio_backend_name):
    called = []

    def listener(event):
        called.append(event)

    if library == "aiosignal":
        async with open_async(library, anyio_backend_name) as (add, send):
            add(listener)
            with pytest.raises(TypeError):
                await send(Order())
        assert TABLE["Sync listeners"][library] == "no"
        return
    add, send = open_sync(library)
    add(listener)
    send(Order())
    assert len(called) == 1

    own = ""
    if library in DISPATCHERS:
        with pytest.raises(TypeError):
            DISPATCHERS[library].AsyncEventDispatcher().add_listener(NAME, listener)
        own = "own dispatcher"
    if library == "antiphon":
        dispatcher = antiphon.AsyncEventDispatcher()
        dispatcher.add_listener(NAME, antiphon.inline(listener))
        await dispatcher.adispatch(NAME)
        assert len(called) == 2
        own += ", or wrapped"
    only = "only sync" if library == "pluggy" else "yes"
    assert TABLE["Sync listeners"][library] == (own or only)


@in_each
def test_dependencies(library):
    required = map(Requirement, requires(library) or [])
    # The page describes Python 3.13.
    needed = [each.name for each in required if not each.marker or each.marker.evaluate({"python_version": "3.13"})]

    assert TABLE["Runtime dependencies"][library] == (", ".join(needed) or "none")


def test_aiosignal_depends_on_typing_extensions_before_python_313():
    required = [each for each in map(Requirement, requires("aiosignal")) if each.name == "typing-extensions"]

    assert [each.marker.evaluate({"python_version": "3.12"}) for each in required] == [True]


def test_a_receiver_of_blinker_selects_a_single_sender():
    signal = blinker.Signal()
    shop = Order()
    called = []
    signal.connect(called.append, sender=shop, weak=False)
    signal.send(Order())
    signal.send(shop)

    assert called == [shop]


async def test_pyee_passes_errors_to_listeners_of_error_on_an_event_loop(anyio_backend_name):
    errors = []

    async def fail(event):
        raise ValueError(f"async {event}")

    def fail_plainly(event):
        raise ValueError(f"plain {event}")

    async with anyio.create_task_group() as group:
        emitter = (
            asyncio_emitters.AsyncIOEventEmitter()
            if anyio_backend_name == "asyncio"
            else trio_emitters.TrioEventEmitter(nursery=group)
        )
        emitter.add_listener("error", lambda exc: errors.append(str(exc)))
        emitter.add_listener(NAME, fail)
        emitter.add_listener(NAME, fail_plainly)
        assert emitter.emit(NAME, 7) is True
        await anyio.wait_all_tasks_blocked()
    assert sorted(errors) == ["async 7", "plain 7"]


def test_pyee_raises_the_error_of_a_plain_listener_only_without_an_event_loop():
    emitter, errors = pyee.EventEmitter(), []
    emitter.add_listener("error", errors.append)

    @emitter.on(NAME)
    def fail(event):
        raise ValueError(event)

    with pytest.raises(ValueError, match="plain"):
        emitter.emit(NAME, "plain")
    assert errors == []


async def test_a_signal_of_aiosignal_is_frozen_before_it_is_sent():
    signal = aiosignal.Signal(object())
    with pytest.raises(RuntimeError, match="non-frozen"):
        await signal.send(Order())
    signal.freeze()
    with pytest.raises(RuntimeError, match="frozen"):
        signal.append(print)


def test_psygnal_checks_signatures_and_wraps_the_errors_of_plain_callbacks():
    signal = psygnal.SignalInstance((int,))
    with pytest.raises(ValueError, match="Cannot connect"):
        signal.connect(lambda first, second: None)

    @signal.connect
    def fail(number):
        raise KeyError(number)

    with pytest.raises(psygnal.EmitLoopError):
        signal.emit(1)


async def test_psygnal_prints_the_error_of_an_async_callback(capsys, anyio_backend_name):
    async def fail(event):
        raise ValueError("no paper")

    async with open_async("psygnal", anyio_backend_name) as (add, send):
        add(fail)
        await send(Order())
        await anyio.wait_all_tasks_blocked()
        other = "trio" if anyio_backend_name == "asyncio" else "asyncio"
        with pytest.raises(RuntimeError, match="already set"):
            psygnal.set_async_backend(other)

    assert "ValueError: no paper" in capsys.readouterr().err


def test_psygnal_announces_the_changes_of_containers_queues_and_throttles():
    changes = []
    orders = containers.EventedList()
    orders.events.inserted.connect(lambda index, value: changes.append(value))
    orders.append(7)
    assert changes == [7]

    assert psygnal._compiled is (not psygnal._signal.__file__.endswith(".py"))
    for name in ("emit_queued", "throttled", "debounced", "evented"):
        assert callable(getattr(psygnal, name))


def test_plugins_of_pluggy_return_a_list_and_wrap_each_other():
    manager = open_plugins()
    add_plugin(manager, lambda event: 1)
    add_plugin(manager, lambda event: 2)

    class Wrapper:
        @staticmethod
        @pluggy.HookimplMarker("shop")(wrapper=True)
        def order_placed(event):
            results = yield
            return [*results, "wrapped"]

    manager.register(Wrapper)
    assert manager.hook.order_placed(event=Order()) == [2, 1, "wrapped"]

    class Other:
        @staticmethod
        @pluggy.HookimplMarker("shop")
        def order_placed(event, unknown): ...

    with pytest.raises(pluggy.PluginValidationError):
        manager.register(Other)


@pytest.mark.parametrize("name", ["AsyncIOEventEmitter", "ExecutorEventEmitter", "TrioEventEmitter"])
def test_pyee_has_a_class_for_each_kind_of_program(name):
    module = name.removesuffix("EventEmitter").lower()

    assert issubclass(getattr(import_module(f"pyee.{module}"), name), pyee.EventEmitter)


def test_blinker_calls_a_receiver_once_and_checks_it_when_it_sends():
    signal, called = blinker.Signal(), []

    def receive(sender):
        called.append(sender)

    async def receive_later(sender): ...

    with signal.connected_to(receive):
        signal.connect(receive)
        signal.send(7)
        assert called == [7]
    assert not signal.receivers

    with signal.connected_to(receive_later), pytest.raises(RuntimeError, match="coroutine"):
        signal.send(7)


async def test_send_async_of_blinker_refuses_a_plain_function():
    def receive(sender): ...

    signal = blinker.Signal()
    with signal.connected_to(receive), pytest.raises(RuntimeError, match="non-coroutine"):
        await signal.send_async(7)


def test_pyee_calls_a_function_once_and_ignores_the_removal_of_an_unknown_one():
    emitter, called = pyee.EventEmitter(), []

    def listener(number):
        called.append(number)

    emitter.on(NAME, listener)
    emitter.on(NAME, listener)
    emitter.remove_listener(NAME, print)

    assert emitter.emit(NAME, 7) is True
    assert called == [7]
    emitter.remove_all_listeners(NAME)
    assert emitter.emit(NAME, 7) is False
