"""Faults at random, for two minutes: consumers stall and die, and the server ends."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.bridges.redis.figures import Figures, Rounds
from tests.bridges.redis.programs import make_billing, make_program, place_surely, until
from tests.bridges.redis.server import Server, find_server
from tests.bridges.redis.worker import Worker

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def strict_server(tmp_path: Path) -> Iterator[Server]:
    """A server that has written an event to the disk before it confirms it, so a kill loses none."""
    if find_server() is None:
        pytest.skip("neither redis-server nor valkey-server is installed")
    server = Server(tmp_path, "--appendfsync", "always")
    server.start()
    yield server
    server.end()


@pytest.mark.parametrize("ordered", [False, True], ids=["group", "ordered"])
async def test_a_group_in_a_storm_loses_nothing(
    strict_server: Server, prefix: str, rounds: Rounds, figures: Figures, tmp_path: Path, ordered: bool
):
    seed, seconds = 16, rounds(120, 8)
    random, faults = Random(seed), Counter[str]()
    options: dict[str, Any] = {"claim_after": 2, "seconds": 0.02, "ordered": ordered}
    workers: list[Worker] = []
    over = False

    with ExitStack() as stack:

        def start_worker() -> Worker:
            # Each second process of the group runs on another event loop.
            backend = ("asyncio", "trio")[len(workers) % 2]
            worker = Worker(tmp_path, backend, strict_server.url, prefix, **options)
            stack.callback(worker.end)
            workers.append(worker)
            return worker

        async def publish(number: int) -> None:
            count = 0
            while not over:
                count += 1
                figures.sent += 1
                await place_surely(web, f"{number}-{count}", figures.acknowledged)
                await anyio.sleep(0.02)

        async def stall(worker: Worker, duration: float) -> None:
            worker.send(signal.SIGSTOP)
            await anyio.sleep(duration)
            worker.send(signal.SIGCONT)

        async def raise_a_storm() -> None:
            alive = [start_worker() for _ in range(3)]
            await until(lambda: all(worker.is_ready for worker in alive), 60)
            with anyio.move_on_after(seconds):
                async with anyio.create_task_group() as stalls:
                    while True:
                        await anyio.sleep(random.uniform(0.5, 3))
                        fault = random.choice(["stall", "die", "server TERM", "server KILL"])
                        faults[fault] += 1
                        number = random.randrange(3)
                        if fault == "stall":
                            # Up to twice the time after which others claim its events.
                            stalls.start_soon(stall, alive[number], random.uniform(0.5, 4))
                        elif fault == "die":
                            await anyio.to_thread.run_sync(alive[number].end)
                            alive[number] = await anyio.to_thread.run_sync(start_worker)
                        else:
                            await anyio.to_thread.run_sync(strict_server.end, signal.Signals[f"SIG{fault[-4:]}"])
                            await anyio.to_thread.run_sync(strict_server.start)
            for worker in alive:
                worker.send(signal.SIGCONT)

        watcher = make_billing(strict_server, prefix, "watcher", claim_after=2, ordered=ordered)
        async with watcher.bridge:
            pass
        web = make_program(strict_server, prefix)
        async with web.bridge:
            async with anyio.create_task_group() as tasks:
                for number in range(4):
                    tasks.start_soon(publish, number)
                await raise_a_storm()
                over = True
            await figures.until_handled(lambda: [order_id for each in workers for order_id, _ in each.handled], 60)
            async with watcher.bridge:
                await figures.until_settled(watcher, 60)
            dead = await web.dead()
        figures.add(watcher)
        figures.handled += [each for worker in workers for each in worker.handled]

    figures.note(f"{seconds} s, seed {seed}, dead {len(dead)}, {dict(faults)}")
    figures.check()
    assert dead == []
