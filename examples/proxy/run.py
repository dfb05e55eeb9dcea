"""One run: an upstream, the proxy before it, and clients that ask; all of it in one process, over real sockets."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from time import perf_counter
from typing import Any

import anyio
import h11

from antiphon import AsyncEventDispatcher
from examples.proxy.applications import Application, LivingApplication
from examples.proxy.applications.storage import DROPPED, WRITTEN
from examples.proxy.client import HttpClient
from examples.proxy.events import (
    FILTER_REQUEST,
    FILTER_RESPONSE,
    PROXY_ERROR,
    TRANSACTION_ENDED,
    TRANSACTION_MESSAGE,
    TRANSACTION_STARTED,
)
from examples.proxy.limits import Limits
from examples.proxy.proxy import Proxy
from examples.proxy.server import serving
from examples.proxy.tally import Tally
from examples.proxy.upstream import Upstream
from examples.proxy.workload import Checker, Exchange, Workload

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Result:
    """What a run has shown.

    Attributes:
        events: How often each name was dispatched.
        listeners: How many listeners were run.
        stops: How many dispatches were stopped.
        figures: What the applications counted.
        latencies: The seconds of each exchange, in ascending order.
        problems: A sentence for each thing that was wrong.
    """

    requests: int
    events: Mapping[str, int]
    listeners: int
    stops: int
    figures: Mapping[str, int]
    latencies: Sequence[float]
    problems: Sequence[str]


async def run(
    strategy: Any,
    applications: Sequence[Application],
    requests: int,
    clients: int,
    on_progress: Callable[[], None] = lambda: None,
) -> Result:
    """Send a workload through a proxy to which the applications listen, and check what comes back.

    Args:
        strategy: How the proxy's dispatcher runs its listeners.
        applications: Who listens.
        requests: How many requests to send.
        clients: How many connections to send them on.
        on_progress: Called after each exchange.
    """
    limits = Limits()
    dispatcher = AsyncEventDispatcher(strategy=strategy, name="proxy")
    tally = Tally()
    dispatcher.add_instrument(tally)
    upstream = Upstream()
    workload = Workload.of(requests)

    for application in applications:
        application.register(dispatcher)

    async with (
        # First in and last out: what still comes from the proxy as it ends finds them at work.
        _living(applications),
        serving(upstream, limits) as upstream_port,
        serving(Proxy(dispatcher, HOST, upstream_port, limits), limits) as port,
    ):
        crowd = _Crowd(port, limits, on_progress)
        await crowd.ask(workload.first, 1)
        await crowd.ask(workload.then, clients)

    figures = {word: number for application in applications for word, number in application.figures().items()}
    problems = [*crowd.problems, *_imbalances(workload, tally, upstream), *_losses(requests, figures)]

    return Result(requests, tally.events, tally.listeners, tally.stops, figures, sorted(crowd.latencies), problems)


@asynccontextmanager
async def _living(applications: Sequence[Application]) -> AsyncGenerator[None, None]:
    async with AsyncExitStack() as stack:
        for application in applications:
            if isinstance(application, LivingApplication):
                await stack.enter_async_context(application.lifespan())

        yield


class _Crowd:
    """Clients that ask at the same time, each on a connection of its own that it keeps."""

    def __init__(self, port: int, limits: Limits, on_progress: Callable[[], None]) -> None:
        self._port = port
        self._limits = limits
        self._on_progress = on_progress
        self._checker = Checker()
        self.latencies: list[float] = []
        self.problems: list[str] = []

    async def ask(self, exchanges: Sequence[Exchange], clients: int) -> None:
        """Share the exchanges out among so many clients, and wait for the last of them."""
        async with anyio.create_task_group() as tasks:
            for number in range(min(clients, len(exchanges))):
                tasks.start_soon(self._ask_in_turn, exchanges[number::clients])

    async def _ask_in_turn(self, exchanges: Sequence[Exchange]) -> None:
        remaining = iter(exchanges)
        exchange = next(remaining, None)

        while exchange is not None:
            async with HttpClient.connect(HOST, self._port, self._limits) as client:
                while exchange is not None and client.is_reusable:
                    await self._ask_once(client, exchange)
                    exchange = next(remaining, None)

            if exchange is not None:
                self.problems.append(f"the connection was not kept for {exchange.request.target}")

    async def _ask_once(self, client: HttpClient, exchange: Exchange) -> None:
        request = exchange.request
        started_at = perf_counter()

        try:
            with anyio.fail_after(self._limits.request_seconds):
                response = await client.exchange(request)
        except (TimeoutError, anyio.BrokenResourceError, h11.ProtocolError) as error:
            self.problems.append(f"{request.method} {request.target}: {error!r}")
        else:
            self.latencies.append(perf_counter() - started_at)
            wrong = self._checker.check(exchange, response)
            self.problems.extend(f"{request.method} {request.target}: {sentence}" for sentence in wrong)

        self._on_progress()


def _imbalances(workload: Workload, tally: Tally, upstream: Upstream) -> Sequence[str]:
    requests = len(workload)
    stops = workload.hits + workload.with_status(HTTPStatus.FORBIDDEN)

    expected = {
        TRANSACTION_STARTED: requests,
        TRANSACTION_MESSAGE: 2 * requests,
        FILTER_REQUEST: requests,
        PROXY_ERROR: workload.with_status(HTTPStatus.BAD_GATEWAY),
        FILTER_RESPONSE: requests,
        TRANSACTION_ENDED: requests,
        "stops": stops,
        "requests upstream": requests - stops,
    }
    counted = {**tally.events, "stops": tally.stops, "requests upstream": upstream.asked.total()}

    return [
        f"{word}: {counted.get(word, 0)} instead of {number}"
        for word, number in expected.items()
        if counted.get(word, 0) != number
    ]


def _losses(requests: int, figures: Mapping[str, int]) -> Sequence[str]:
    """Tell if a transaction was neither written nor counted as dropped, where there is a storage."""
    if WRITTEN not in figures or figures[WRITTEN] + figures[DROPPED] == requests:
        return []

    return [f"{figures[WRITTEN]} {WRITTEN} and {figures[DROPPED]} {DROPPED} of {requests} transactions"]
