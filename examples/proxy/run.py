"""One run: an upstream, the proxy in front of it, and clients, in one process and over real sockets."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from time import perf_counter
from typing import Any

import anyio
import h11

from antiphon import AsyncEventDispatcher
from examples.proxy.applications import Application, ApplicationWithLifespan
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
    """The result of a run.

    Attributes:
        events: The number of dispatches of each name.
        listeners: The number of listener calls.
        stops: The number of stopped dispatches.
        figures: The counts of the applications.
        latencies: The duration of each exchange in seconds, in ascending order.
        problems: A sentence for each problem.
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
    """Send a workload through a proxy with the given applications, and check the responses.

    Args:
        strategy: The strategy of the dispatcher.
        applications: The applications that listen to the proxy.
        requests: The number of requests.
        clients: The number of connections.
        on_progress: Called after each exchange.
    """
    limits = Limits()
    dispatcher = AsyncEventDispatcher(strategy=strategy, name="proxy")
    tally = Tally()
    dispatcher.add_instrument(tally)
    upstream = Upstream()
    workload = Workload.make(requests)

    for application in applications:
        application.register(dispatcher)

    async with (
        # Entered first and left last, so that the applications still run while the proxy shuts down.
        _run_lifespans(applications),
        serving(upstream, limits) as upstream_port,
        serving(Proxy(dispatcher, HOST, upstream_port, limits), limits) as port,
    ):
        group = _Clients(port, limits, on_progress)
        await group.send(workload.first, 1)
        await group.send(workload.then, clients)

    figures = {word: number for application in applications for word, number in application.figures().items()}
    problems = [*group.problems, *_find_wrong_counts(workload, tally, upstream), *_find_lost_records(requests, figures)]

    return Result(requests, tally.events, tally.listeners, tally.stops, figures, sorted(group.latencies), problems)


@asynccontextmanager
async def _run_lifespans(applications: Sequence[Application]) -> AsyncGenerator[None, None]:
    async with AsyncExitStack() as stack:
        for application in applications:
            if isinstance(application, ApplicationWithLifespan):
                await stack.enter_async_context(application.lifespan())

        yield


class _Clients:
    """Clients that send requests at the same time, each on its own persistent connection."""

    def __init__(self, port: int, limits: Limits, on_progress: Callable[[], None]) -> None:
        self._port = port
        self._limits = limits
        self._on_progress = on_progress
        self._checker = Checker()
        self.latencies: list[float] = []
        self.problems: list[str] = []

    async def send(self, exchanges: Sequence[Exchange], clients: int) -> None:
        """Distribute the exchanges to the given number of clients, and wait for all of them."""
        async with anyio.create_task_group() as tasks:
            for number in range(min(clients, len(exchanges))):
                tasks.start_soon(self._send_in_turn, exchanges[number::clients])

    async def _send_in_turn(self, exchanges: Sequence[Exchange]) -> None:
        remaining = iter(exchanges)
        exchange = next(remaining, None)

        while exchange is not None:
            async with HttpClient.connect(HOST, self._port, self._limits) as client:
                while exchange is not None and client.is_reusable:
                    await self._send_once(client, exchange)
                    exchange = next(remaining, None)

            if exchange is not None:
                self.problems.append(f"the connection was not kept for {exchange.request.target}")

    async def _send_once(self, client: HttpClient, exchange: Exchange) -> None:
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


def _find_wrong_counts(workload: Workload, tally: Tally, upstream: Upstream) -> Sequence[str]:
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


def _find_lost_records(requests: int, figures: Mapping[str, int]) -> Sequence[str]:
    """Return a problem if a transaction was neither written nor counted as dropped."""
    if WRITTEN not in figures or figures[WRITTEN] + figures[DROPPED] == requests:
        return []

    return [f"{figures[WRITTEN]} {WRITTEN} and {figures[DROPPED]} {DROPPED} of {requests} transactions"]
