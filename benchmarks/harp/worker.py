"""The process that measures: it starts HARP on one dispatcher, and sends it requests.

It writes a line of JSON with the module of the dispatcher and the dispatches of a request. Then, for each line that it
reads, it sends a batch of requests, and writes the CPU nanoseconds of one of them.

HARP's system has the applications ``http_client`` and ``proxy``. Its server and its upstream are replaced: requests are
ASGI calls, and a transport answers what HARP forwards. Listeners that do nothing replace those of HARP's storage,
because a database would take longer than the rest.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from argparse import ArgumentParser
from importlib import import_module
from time import process_time_ns
from types import ModuleType
from typing import Any

#: The requests before those that are measured: as many as the caches of HARP and its libraries need.
WARM_UPS = 200

#: The requests whose CPU time is measured together.
BATCH = 50

SCOPE = {
    "type": "http",
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/orders/1",
    "raw_path": b"/orders/1",
    "query_string": b"",
    "headers": [(b"host", b"localhost"), (b"accept", b"application/json")],
    "client": ("127.0.0.1", 50_000),
    "server": ("127.0.0.1", 4_000),
}

SETTINGS = {
    "applications": ["http_client", "proxy"],
    "proxy": {"endpoints": [{"name": "orders", "port": 4_000, "url": "http://upstream/"}]},
    "http_client": {"transport": {"type": f"{__spec__.name}.Upstream", "arguments": {}}},
}

#: What the upstream answers.
ANSWER = b'{"order": 1}'

#: The names to which HARP's storage listens.
STORED = ("proxy.transaction.started", "proxy.transaction.message", "proxy.transaction.ended")


def main() -> None:
    """Run HARP on the dispatcher that the command line names."""
    parser = ArgumentParser(prog="python -m benchmarks.harp.worker")
    parser.add_argument("dispatcher", choices=("antiphon", "whistle"))
    if parser.parse_args().dispatcher == "antiphon":
        replace_whistle()
    asyncio.run(measure())


def replace_whistle() -> None:
    """Let ``import whistle`` import antiphon's classes."""
    antiphon, replacement = import_module("antiphon"), ModuleType("whistle")
    vars(replacement).update({name: getattr(antiphon, name) for name in antiphon.__all__})
    sys.modules["whistle"] = replacement


async def measure() -> None:
    """Start HARP, and measure batches until the input ends."""
    system = await start()
    module = import_module("whistle").AsyncEventDispatcher.__module__.partition(".")[0]
    dispatches = await count_dispatches(system)
    await send_requests(system.asgi_app, WARM_UPS)
    # What HARP has made so far is not collected during the requests.
    gc.collect()
    gc.freeze()
    print(json.dumps({"module": module, "dispatches": dispatches}), flush=True)
    # Nothing else runs in this event loop, so waiting for a line may block it.
    while sys.stdin.readline():
        started = process_time_ns()
        await send_requests(system.asgi_app, BATCH)
        print((process_time_ns() - started) / BATCH, flush=True)
    await system.dispose()


async def start() -> Any:
    """Build HARP's system and start its kernel."""
    from harp._logging import configure_logging
    from harp.config import ConfigurationBuilder
    from harp.config.builders.system import SystemBuilder

    # As the command `harp` does it. HARP's dispatcher then logs warnings only.
    configure_logging()
    configuration = ConfigurationBuilder(SETTINGS, use_default_applications=False)
    system = await SystemBuilder(configuration.applications, configuration.build).abuild()
    for name in STORED:
        system.dispatcher.add_listener(name, _make_listener())
    await system.asgi_app({"type": "lifespan"}, _make_receive(), _ignore)
    return system


async def count_dispatches(system: Any) -> list[int]:
    """Return the number of listeners of each dispatch of a request."""
    dispatcher = system.dispatcher
    counts: list[int] = []
    original = dispatcher.adispatch

    async def adispatch(name: str, event: Any = None) -> Any:
        counts.append(len(dispatcher.get_listeners(name)))
        return await original(name, event)

    dispatcher.adispatch = adispatch
    try:
        await send_requests(system.asgi_app, 1)
    finally:
        del dispatcher.adispatch
    return counts


async def send_requests(app: Any, count: int) -> None:
    """Send requests, one after another.

    Raises:
        RuntimeError: If HARP does not answer a request with what its upstream answers.
    """
    for _ in range(count):
        sent: list[Any] = []

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        await app(dict(SCOPE), _make_receive(), send)
        if sent[0]["status"] != 200 or sent[1]["body"] != ANSWER:
            raise RuntimeError(f"the upstream's answer was expected, and HARP answered {sent}")


def _make_receive() -> Any:
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in messages:
            return message
        # HARP 0.12 waits for the client to disconnect, and cancels this call when it has answered.
        return await asyncio.get_running_loop().create_future()

    return receive


async def _ignore(message: Any) -> None:
    pass


def _make_listener() -> Any:
    async def listener(event: Any) -> None:
        pass

    return listener


class Upstream:
    """A transport for HARP's HTTP client that answers each request itself."""

    async def handle_async_request(self, request: Any) -> Any:
        """Answer a request."""
        from httpx import ByteStream, Response

        return Response(200, headers={"content-type": "application/json"}, stream=ByteStream(ANSWER))

    async def aclose(self) -> None:
        """Close the transport."""


if __name__ == "__main__":
    main()
