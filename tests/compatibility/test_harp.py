"""HARP itself on antiphon: its dispatcher, its ASGI kernel and its system, without a changed line.

HARP imports its dispatcher from whistle. While HARP is imported, a module of that name has antiphon's classes, so that
HARP's class bodies, as they are published, are built on them.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

import antiphon
from antiphon import Event
from tests.compatibility.conftest import MISSING

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)


def test_its_classes_are_built_on_antiphon(harp: Any) -> None:
    mro = inspect.getmro(harp.dispatcher.LoggingAsyncEventDispatcher)

    assert mro[1] is antiphon.AsyncEventDispatcher
    assert [cls for cls in mro if cls.__module__.startswith("whistle")] == []
    assert issubclass(harp.events.RequestEvent, Event)
    assert not harp.dispatcher.LoggingAsyncEventDispatcher().has_listeners()


# HARP's kernel


class Browser:
    """The client of the kernel: what the kernel receives, and what it has sent."""

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


async def test_the_kernel_starts_and_serves_requests(kernel: Any, harp: Any) -> None:
    names: list[str] = []

    async def record(event: Event) -> None:
        names.append(event.name)

    for event in ("STARTED", "REQUEST", "CONTROLLER", "VIEW", "RESPONSE"):
        kernel.dispatcher.add_listener(getattr(harp.events, f"EVENT_CORE_{event}"), record, priority=-1000)
    await start(kernel)
    assert kernel.started

    answer = await request(kernel, "/orders")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.text) == {"path": "/orders"}
    assert names == ["core.started", "core.request", "core.controller", "core.view", "core.response"]

    answers = [await request(kernel, path) for path in ("/one", "/healthz", "/two")]
    assert [answer.text for answer in answers] == ['{"path":"/one"}', "Ok.", '{"path":"/two"}']


@pytest.mark.parametrize(
    ("path", "event", "priority", "text"),
    [("/healthz", "REQUEST", -99, "Ok."), ("/orders", "VIEW", 1, '{"path":"/orders"}')],
    ids=["health", "view"],
)
async def test_a_listener_that_answers_stops_the_others(
    kernel: Any, harp: Any, path: str, event: str, priority: int, text: str
) -> None:
    log: list[str] = []

    @kernel.dispatcher.listen(getattr(harp.events, f"EVENT_CORE_{event}"), priority=priority)
    async def later(event: Event) -> None:
        log.append("later")

    await start(kernel)
    answer = await request(kernel, path)

    assert (answer.status, answer.text, log) == (200, text, [])


async def test_listeners_change_the_controller_and_the_response(kernel: Any, harp: Any) -> None:
    @kernel.dispatcher.listen(harp.events.EVENT_CORE_CONTROLLER)
    async def replace(event: Any) -> None:
        event.set_controller(harp.health.ok_controller)

    @kernel.dispatcher.listen(harp.events.EVENT_CORE_RESPONSE)
    async def sign(event: Any) -> None:
        event.response.headers["x-signed-by"] = event.name

    await start(kernel)
    answer = await request(kernel, "/orders")

    assert (answer.text, answer.headers["x-signed-by"]) == ("Ok.", "core.response")


async def test_the_error_of_a_listener_reaches_the_caller(kernel: Any, harp: Any) -> None:
    error = LookupError("no such route")
    kernel.dispatcher.add_listener(harp.events.EVENT_CORE_REQUEST, AsyncMock(side_effect=error))
    await start(kernel)

    with pytest.raises(LookupError) as caught:
        await request(kernel, "/orders")

    assert caught.value is error


# HARP's system


def test_the_builder_makes_the_dispatcher_with_its_listeners(harp: Any) -> None:
    builder = harp.builder.SystemBuilder(harp.config.ApplicationsRegistry(), None)

    dispatcher = builder.build_dispatcher()

    assert isinstance(dispatcher, antiphon.AsyncEventDispatcher)
    assert dispatcher.get_listeners() == {
        "core.request": (harp.health.on_health_request,),
        "core.view": (harp.views.on_json_response,),
    }


async def test_the_container_shares_the_dispatcher(harp: Any) -> None:
    dispatcher, container = harp.dispatcher.LoggingAsyncEventDispatcher(), harp.services.Container()
    container.add_instance(dispatcher, antiphon.IAsyncEventDispatcher)

    assert container.build_provider().get(antiphon.IAsyncEventDispatcher) is dispatcher


def test_a_queue_replaces_the_storage_worker(harp: Any, tmp_path: Path) -> None:
    from harp_apps.storage.types import IBlobStorage, IStorage
    from harp_apps.storage.worker import StorageAsyncWorkerQueue
    from sqlalchemy.ext.asyncio import AsyncEngine

    from benchmarks.harp.worker import SETTINGS, send_requests
    from docs.recipes.queued_storage import QueuedStorage

    upstream = {"transport": {"type": "benchmarks.harp.worker.Upstream", "arguments": {}}}
    settings = {
        **SETTINGS,
        "applications": ["http_client", "proxy", "storage"],
        "http_client": upstream,
        "storage": {"url": f"sqlite+aiosqlite:///{tmp_path / 'harp.db'}"},
    }

    async def serve() -> list[Any]:
        configuration = harp.config.ConfigurationBuilder(settings, use_default_applications=False)
        system = await harp.builder.SystemBuilder(configuration.applications, configuration.build).abuild()
        worker, *services = (
            system.provider.get(cls) for cls in (StorageAsyncWorkerQueue, AsyncEngine, IStorage, IBlobStorage)
        )
        await start(system.asgi_app)
        async with system.dispatcher.queue(errors="collect") as queue:
            QueuedStorage(*services, queue).replace(worker, system.dispatcher)
            await send_requests(system.asgi_app, 3)
        assert queue.statistics().done == 3
        stored = await services[1].get_transaction_list(username="anonymous", with_messages=True)
        await system.dispose()
        return [[message.kind for message in transaction.messages] for transaction in stored]

    # HARP's storage runs on asyncio only.
    assert asyncio.run(serve()) == [["request", "response"]] * 3
