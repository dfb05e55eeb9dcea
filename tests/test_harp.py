"""HARP itself on antiphon: its own dispatcher and its ASGI kernel, without a changed line.

HARP imports its dispatcher from whistle. Here a module of that name stands for antiphon while HARP is imported, so that
HARP's class bodies, as they are shipped, are built on our classes.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

import antiphon
from antiphon import Concurrent, Event, Race

if sys.version_info < (3, 13):
    pytest.skip("HARP 0.11 needs Python 3.13", allow_module_level=True)
if find_spec("harp") is None or find_spec("harp_apps") is None:
    pytest.skip("harp-proxy is not installed", allow_module_level=True)

FAMILIES = ("whistle", "harp", "harp_apps")


def modules_of(*families: str) -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in families}


@pytest.fixture(scope="module")
def harp() -> Iterator[SimpleNamespace]:
    """HARP's modules, imported while ``whistle`` means antiphon; other tests find the modules as they were."""
    before = modules_of(*FAMILIES)
    for name in before:
        del sys.modules[name]
    stand_in = ModuleType("whistle")
    vars(stand_in).update({name: getattr(antiphon, name) for name in antiphon.__all__})
    sys.modules["whistle"] = stand_in
    try:
        yield SimpleNamespace(
            dispatcher=import_module("harp.event_dispatcher"),
            asgi=import_module("harp.asgi"),
            events=import_module("harp.asgi.events"),
            http=import_module("harp.http"),
            views=import_module("harp.views.json"),
            controllers=import_module("harp.controllers"),
            health=import_module("harp.controllers.default"),
            builder=import_module("harp.config.builders.system"),
            config=import_module("harp.config"),
            services=import_module("harp.services"),
        )
    finally:
        for name in modules_of(*FAMILIES):
            del sys.modules[name]
        sys.modules.update(before)


class Lines:
    """A logger that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def debug(self, line: str) -> None:
        self.lines.append(line)

    info = error = debug


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def dispatcher(harp: Any, lines: Lines) -> Any:
    return harp.dispatcher.LoggingAsyncEventDispatcher(logger=lines)


# HARP's dispatcher


def test_harps_dispatcher_is_ours(harp: Any) -> None:
    mro = inspect.getmro(harp.dispatcher.LoggingAsyncEventDispatcher)

    assert mro[1] is antiphon.AsyncEventDispatcher
    assert [cls for cls in mro if cls.__module__.startswith("whistle")] == []


def test_harps_events_are_ours(harp: Any) -> None:
    assert issubclass(harp.events.RequestEvent, Event)


def test_harps_dispatcher_is_built_with_its_own_logger(harp: Any) -> None:
    assert not harp.dispatcher.LoggingAsyncEventDispatcher().has_listeners()


async def test_harps_dispatcher_logs_as_it_does_on_whistle(dispatcher: Any, lines: Lines) -> None:
    async def listener(event: Event) -> None: ...

    dispatcher.add_listener("core.started", listener)
    await dispatcher.adispatch("core.started", Event())

    assert [line.partition(" ")[2] for line in lines.lines] == [
        f"[Add] core.started ({listener})",
        "[Dispatch] core.started (Event)",
        f"[DispatchOne] listener: {listener}",
    ]


async def test_harps_dispatcher_runs_in_order_and_stops(dispatcher: Any) -> None:
    log: list[str] = []

    async def last(event: Event) -> None:
        log.append("last")

    async def stop(event: Event) -> None:
        log.append("stop")
        event.stop_propagation()

    async def first(event: Event) -> None:
        log.append("first")

    dispatcher.add_listener("core.view", last, priority=100)
    dispatcher.add_listener("core.view", stop)
    dispatcher.add_listener("core.view", first, priority=-100)

    event = await dispatcher.adispatch("core.view", Event())

    assert (log, event.propagation_stopped, event.dispatcher) == (["first", "stop"], True, dispatcher)


async def test_harps_dispatcher_logs_and_raises_the_very_error(dispatcher: Any, lines: Lines) -> None:
    error = LookupError("no such route")
    dispatcher.add_listener("core.request", AsyncMock(side_effect=error))

    with pytest.raises(LookupError) as caught:
        await dispatcher.adispatch("core.request", Event())

    assert caught.value is error
    assert lines.lines[-1].endswith("[Error] core.request (Event) failed: LookupError: no such route")


async def test_harps_dispatcher_removes_bound_methods_by_equality(dispatcher: Any) -> None:
    class Subscriber:
        async def on_response(self, event: Event) -> None:
            raise AssertionError("called after it was removed")

    subscriber = Subscriber()
    dispatcher.add_listener("core.response", subscriber.on_response)
    dispatcher.remove_listener("core.response", subscriber.on_response)

    await dispatcher.adispatch("core.response", Event())

    assert not dispatcher.has_listeners()


async def test_listen_and_temporarily_pass_through_harps_add_listener(dispatcher: Any, lines: Lines) -> None:
    @dispatcher.listen("core.view")
    async def listener(event: Event) -> None: ...

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("core.view", listener)

    assert [line.partition(" ")[2] for line in lines.lines] == [f"[Add] core.view ({listener})"] * 2
    assert dispatcher.get_listeners("core.view") == (listener,)


@pytest.mark.parametrize("strategy", [Concurrent(), Race()], ids=repr)
async def test_harps_dispatcher_follows_no_other_strategy(dispatcher: Any, strategy: Any) -> None:
    with pytest.raises(TypeError):
        await antiphon.AsyncEventDispatcher.adispatch(dispatcher, "core.view", Event(), strategy=strategy)


# HARP's kernel


class Browser:
    """The other side of ASGI: what the kernel receives, and what it sent."""

    def __init__(self, path: str = "/", *, method: str = "GET", body: bytes = b"") -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
            "server": ("127.0.0.1", 80),
        }
        self.body = body
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode().lower(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent[1:]).decode()


async def start(kernel: Any) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, Any]) -> None: ...

    await kernel({"type": "lifespan"}, receive, send)


async def request(kernel: Any, *arguments: Any, **options: Any) -> Browser:
    browser = Browser(*arguments, **options)
    await kernel(browser.scope, browser.receive, browser.send)
    return browser


@pytest.fixture(params=["HARP's dispatcher", "plain dispatcher", "kernel's own dispatcher"])
def kernel(request: pytest.FixtureRequest, harp: Any) -> Any:
    """A kernel that answers with its controller's JSON, on each dispatcher that HARP's code makes or is given."""

    async def controller(request: Any) -> Any:
        return harp.views.json({"path": request.path})

    dispatchers = {
        "HARP's dispatcher": lambda: harp.dispatcher.LoggingAsyncEventDispatcher(),
        "plain dispatcher": lambda: antiphon.AsyncEventDispatcher(),
        "kernel's own dispatcher": lambda: None,
    }
    kernel = harp.asgi.ASGIKernel(
        dispatcher=dispatchers[request.param](),
        resolver=harp.controllers.DefaultControllerResolver(default_controller=controller),
        handle_errors=False,
    )
    kernel.dispatcher.add_listener(harp.events.EVENT_CORE_REQUEST, harp.health.on_health_request, priority=-100)
    kernel.dispatcher.add_listener(harp.events.EVENT_CORE_VIEW, harp.views.on_json_response)
    return kernel


async def test_the_kernel_starts(kernel: Any, harp: Any) -> None:
    started: list[Any] = []

    @kernel.dispatcher.listen(harp.events.EVENT_CORE_STARTED)
    async def on_started(event: Event) -> None:
        started.append(event.name)

    await start(kernel)

    assert (kernel.started, started) == (True, ["core.started"])


async def test_the_kernel_serves_a_request(kernel: Any) -> None:
    await start(kernel)

    answer = await request(kernel, "/orders")

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.text) == {"path": "/orders"}


async def test_the_kernel_dispatches_its_events_in_order(kernel: Any, harp: Any) -> None:
    names: list[str] = []

    async def note(event: Event) -> None:
        names.append(event.name)

    events = harp.events
    for name in (
        events.EVENT_CORE_REQUEST,
        events.EVENT_CORE_CONTROLLER,
        events.EVENT_CORE_VIEW,
        events.EVENT_CORE_RESPONSE,
    ):
        kernel.dispatcher.add_listener(name, note, priority=-1000)
    await start(kernel)

    await request(kernel, "/orders")

    assert names == ["core.request", "core.controller", "core.view", "core.response"]


async def test_the_health_listener_answers_before_all_others(kernel: Any, harp: Any) -> None:
    log: list[str] = []

    @kernel.dispatcher.listen(harp.events.EVENT_CORE_REQUEST, priority=-99)
    async def later(event: Event) -> None:
        log.append("later")

    await start(kernel)
    answer = await request(kernel, "/healthz")

    assert (answer.status, answer.text, log) == (200, "Ok.", [])


async def test_a_view_listener_that_sets_the_response_stops_the_others(kernel: Any, harp: Any) -> None:
    log: list[str] = []

    @kernel.dispatcher.listen(harp.events.EVENT_CORE_VIEW, priority=1)
    async def later(event: Event) -> None:
        log.append("later")

    await start(kernel)
    await request(kernel, "/orders")

    assert log == []


async def test_a_response_listener_changes_the_response(kernel: Any, harp: Any) -> None:
    @kernel.dispatcher.listen(harp.events.EVENT_CORE_RESPONSE)
    async def sign(event: Any) -> None:
        event.response.headers["x-signed-by"] = event.name

    await start(kernel)
    answer = await request(kernel, "/orders")

    assert answer.headers["x-signed-by"] == "core.response"


async def test_a_controller_listener_changes_the_controller(kernel: Any, harp: Any) -> None:
    @kernel.dispatcher.listen(harp.events.EVENT_CORE_CONTROLLER)
    async def replace(event: Any) -> None:
        event.set_controller(harp.health.ok_controller)

    await start(kernel)
    answer = await request(kernel, "/orders")

    assert answer.text == "Ok."


async def test_the_error_of_a_listener_reaches_who_called_the_kernel(kernel: Any, harp: Any) -> None:
    error = LookupError("no such route")
    kernel.dispatcher.add_listener(harp.events.EVENT_CORE_REQUEST, AsyncMock(side_effect=error))
    await start(kernel)

    with pytest.raises(LookupError) as caught:
        await request(kernel, "/orders")

    assert caught.value is error


async def test_the_kernel_serves_requests_one_after_another(kernel: Any) -> None:
    await start(kernel)

    answers = [await request(kernel, path) for path in ("/one", "/healthz", "/two")]

    assert [answer.text for answer in answers] == ['{"path":"/one"}', "Ok.", '{"path":"/two"}']


# HARP's system


def test_harps_builder_makes_its_dispatcher_with_the_listeners_of_its_core(harp: Any) -> None:
    builder = harp.builder.SystemBuilder(harp.config.ApplicationsRegistry(), None)

    dispatcher = builder.build_dispatcher()

    assert isinstance(dispatcher, antiphon.AsyncEventDispatcher)
    assert dispatcher.get_listeners() == {
        "core.request": (harp.health.on_health_request,),
        "core.view": (harp.views.on_json_response,),
    }


async def test_harps_container_shares_the_dispatcher_under_its_protocol(harp: Any) -> None:
    dispatcher, container = harp.dispatcher.LoggingAsyncEventDispatcher(), harp.services.Container()
    container.add_instance(dispatcher, antiphon.IAsyncEventDispatcher)

    assert container.build_provider().get(antiphon.IAsyncEventDispatcher) is dispatcher
