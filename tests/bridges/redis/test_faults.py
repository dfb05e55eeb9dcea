"""What the bridge does when processes, servers and connections fail. Each test prints its figures at the end of the run.

The variable ``ANTIPHON_FAULTS=short`` makes fewer rounds. `test_refusals` is about servers that refuse, `test_traffic`
about what crosses, and `test_storm` about faults at random.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from antiphon.bridges import EventRegistry, Message, PublishFailed, PublishUncertain, Retry
from antiphon.bridges.redis import RedisStreams
from tests.bridges.redis.figures import Figures, Rounds
from tests.bridges.redis.programs import make_billing, make_program, place_surely, until
from tests.bridges.redis.proxy import Proxy
from tests.bridges.redis.server import Server
from tests.bridges.redis.worker import Worker
from tests.bridges.shop import ORDERS, OrderPlaced, Program, fail, make_registry

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

#: How long the start of processes may take on a busy machine.
_START_SECONDS = 60

StartWorker = Callable[..., Worker]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def start_worker(tmp_path: Path, anyio_backend_name: str, shared_server: Server, prefix: str) -> Iterator[StartWorker]:
    """Start a process that receives in the group "billing"."""
    with ExitStack() as stack:

        def start(**options: Any) -> Worker:
            worker = Worker(tmp_path, anyio_backend_name, shared_server.url, prefix, **options)
            stack.callback(worker.end)
            return worker

        yield start


async def enter(stack: AsyncExitStack, *programs: Program) -> None:
    for program in programs:
        await stack.enter_async_context(program.bridge)


async def create_group(server: Server, prefix: str) -> None:
    """Create the group "billing", which receives what is published from now on."""
    async with make_billing(server, prefix).bridge:
        pass


# Consumers that fail


async def test_two_groups_share_their_events_among_their_programs(
    shared_server: Server, prefix: str, rounds: Rounds, figures: Figures
):
    web = make_program(shared_server, prefix)
    groups: dict[str, list[Program]] = {"billing": [], "shipping": []}
    for group, programs in groups.items():
        for number in range(3):
            program = make_program(shared_server, prefix, f"{group}-{number}")
            program.bridge.receive(ORDERS, group=group, concurrency=4)
            program.listen(OrderPlaced, react=lambda event: anyio.sleep(0.002))
            programs.append(program)
    figures.sent = rounds(600, 150)

    async with AsyncExitStack() as stack:
        await enter(stack, web, *groups["billing"], *groups["shipping"])
        for number in range(figures.sent):
            await place_surely(web, str(number), figures.acknowledged)
        for programs in groups.values():
            await figures.until_settled(programs[0])

    for programs in groups.values():
        log = [order_id for program in programs for order_id in program.log]
        assert sorted(log, key=int) == [str(number) for number in range(figures.sent)]
        assert all(program.log for program in programs)
    figures.add(*groups["billing"])
    figures.check()


async def test_killed_consumers_lose_nothing(
    shared_server: Server, prefix: str, rounds: Rounds, figures: Figures, start_worker: StartWorker
):
    await create_group(shared_server, prefix)
    web, workers = make_program(shared_server, prefix), [start_worker(claim_after=1.5, seconds=0.03) for _ in range(2)]
    kills = rounds(6, 2)

    async def publish() -> None:
        while kills_made < kills:
            figures.sent += 1
            await place_surely(web, str(figures.sent), figures.acknowledged)
            await anyio.sleep(0.005)

    def read() -> list[str]:
        return [order_id for worker in workers for order_id, _ in worker.handled]

    kills_made = 0
    async with web.bridge:
        await until(lambda: all(worker.is_ready for worker in workers), _START_SECONDS)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(publish)
            for number in range(kills):
                await anyio.sleep(0.4)
                await anyio.to_thread.run_sync(workers[number].end)
                kills_made += 1
                workers.append(await anyio.to_thread.run_sync(lambda: start_worker(claim_after=1.5, seconds=0.03)))
                await until(lambda: workers[-1].is_ready, _START_SECONDS)
        await figures.until_handled(read)
        watcher = make_billing(shared_server, prefix, claim_after=1.5)
        async with watcher.bridge:
            await figures.until_settled(watcher)
    figures.add(watcher)
    figures.handled += [each for worker in workers for each in worker.handled]

    figures.note(f"kills {kills_made}")
    figures.check()
    # A killed process had at most 16 events.
    assert 0 < figures.duplicates <= 16 * kills


async def test_a_stopped_consumer_loses_its_events_to_another_and_goes_on(
    shared_server: Server, prefix: str, figures: Figures, start_worker: StartWorker
):
    await create_group(shared_server, prefix)
    web = make_program(shared_server, prefix)
    stopped = start_worker(claim_after=1, seconds=0.3, concurrency=4)
    async with web.bridge:
        await until(lambda: stopped.is_ready, _START_SECONDS)
        for number in range(12):
            await place_surely(web, str(number), figures.acknowledged)
        await until(lambda: stopped.handled)
        stopped.send(signal.SIGSTOP)
        other = make_billing(shared_server, prefix, "other", claim_after=1)
        async with other.bridge:
            await figures.until_settled(other)
            held = {order_id for order_id, _ in stopped.handled}
            assert set(figures.acknowledged) - held <= set(other.log)
            assert held & set(other.log)
            stopped.send(signal.SIGCONT)
            await place_surely(web, "last", figures.acknowledged)
            await until(lambda: "last" in other.log or any(order_id == "last" for order_id, _ in stopped.handled))
            await figures.until_settled(other)
    figures.sent = 13
    figures.add(other)
    figures.handled += stopped.handled
    figures.check()


async def test_a_poison_that_ends_processes_takes_no_innocents_along(
    shared_server: Server, prefix: str, rounds: Rounds, figures: Figures, start_worker: StartWorker
):
    """The events that were in flight with it are delivered again, and are not buried with it."""
    await create_group(shared_server, prefix)
    web, workers = make_program(shared_server, prefix), []
    options: dict[str, Any] = {
        "claim_after": 1, "concurrency": 8, "seconds": 0.05, "exits_for": "poison", "retry": {"attempts": 3},
    }  # fmt: skip
    figures.sent = rounds(40, 20)

    async with web.bridge:
        for number in range(figures.sent):
            await place_surely(web, "poison" if number == 10 else str(number), figures.acknowledged)
        with anyio.fail_after(2 * _START_SECONDS):
            while not (dead := await web.dead()):
                if not workers or workers[-1].process.poll() is not None:
                    workers.append(await anyio.to_thread.run_sync(lambda: start_worker(**options)))
                await anyio.sleep(0.05)
        await figures.until_handled(lambda: [order_id for worker in workers for order_id, _ in worker.handled])
        await anyio.to_thread.run_sync(lambda: workers[-1].end(signal.SIGTERM))
        last = make_billing(shared_server, prefix, claim_after=1)
        async with last.bridge:
            await figures.until_settled(last)
    figures.add(last)
    figures.handled += [each for worker in workers for each in worker.handled]

    assert [letter.attempts for letter in dead] == [3]
    assert b'"poison"' in dead[0].data
    figures.note(f"processes {len(workers)}, dead 1")
    figures.check()


async def test_poisons_of_all_kinds_are_buried_and_the_others_handled(
    shared_server: Server, prefix: str, rounds: Rounds, figures: Figures
):
    web = make_program(shared_server, prefix)
    billing = make_billing(shared_server, prefix, retry=Retry(3, first=0.05, factor=1), claim_after=2)
    billing.react = lambda event: fail(event) if event.order_id.startswith("bad") else None
    figures.sent = rounds(200, 60)

    async with web.bridge, billing.bridge:
        for number in range(figures.sent):
            if number % 20 == 7:
                await web.bridge._broker.publish(ORDERS, 0, Message("orders", f"raw-{number}", b"\xff\x00" * number))
            await place_surely(web, f"bad-{number}" if number % 10 == 3 else str(number), figures.acknowledged)
        await figures.until_settled(billing)
        dead = await billing.dead()
    figures.add(billing)

    assert len(dead) == figures.sent // 10 + figures.sent // 20
    assert all(letter.attempts == 3 for letter in dead if letter.type is not None)
    figures.note(f"dead {len(dead)}")
    figures.check()


async def test_a_listener_of_five_claim_times_is_started_once(shared_server: Server, prefix: str, figures: Figures):
    web = make_program(shared_server, prefix)
    programs = [make_billing(shared_server, prefix, name, claim_after=0.6) for name in ("one", "two")]
    for program in programs:
        program.react = lambda event: anyio.sleep(3)

    async with web.bridge, programs[0].bridge, programs[1].bridge:
        await place_surely(web, "7", figures.acknowledged)
        await anyio.sleep(3.2)
        await figures.until_settled(programs[0])
    figures.sent = 1
    figures.add(*programs)
    figures.check()
    assert figures.duplicates == 0


async def test_hard_cancellations_leave_nothing_stuck(
    shared_server: Server, prefix: str, rounds: Rounds, figures: Figures
):
    """Also while it enters: a cancelled read would keep what it was sent."""
    await create_group(shared_server, prefix)
    web = make_program(shared_server, prefix)
    cancellations = rounds(120, 30)

    async with web.bridge:
        for number in range(cancellations):
            for extra in range(5):
                await place_surely(web, f"{number}-{extra}", figures.acknowledged)
            billing = make_billing(shared_server, prefix, concurrency=4)
            billing.react = lambda event: anyio.sleep(0.001)
            with anyio.move_on_after(0.001 * (number % 40)):
                async with billing.bridge:
                    await anyio.sleep_forever()
            figures.add(billing)
        before = {order_id for order_id, _ in figures.handled}
        last = make_billing(shared_server, prefix, concurrency=64)
        async with last.bridge:
            await figures.until_handled(lambda: before | set(last.log))
            handled = anyio.current_time()
            await figures.until_settled(last, 2)
            settled = anyio.current_time() - handled
    figures.sent = 5 * cancellations
    figures.add(last)
    figures.note(f"cancellations {cancellations}, settled after {settled:.2f} s")
    figures.check()


async def test_a_drain_ends_in_its_grace_and_hands_over_within_a_second(
    shared_server: Server, prefix: str, figures: Figures
):
    web = make_program(shared_server, prefix)
    one = Program(RedisStreams(shared_server.url, prefix=prefix), "one", make_registry(), grace=0.5)
    one.bridge.receive(ORDERS, group="billing", concurrency=4)
    one.listen(OrderPlaced, react=lambda event: anyio.sleep(0.2 if event.order_id == "0" else 30))
    two = make_billing(shared_server, prefix, "two")

    async with web.bridge:
        async with two.bridge:
            async with one.bridge:
                pass
        async with one.bridge:
            for number in range(8):
                await place_surely(web, str(number), figures.acknowledged)
            await until(lambda: len(one.log) == 4)
            started = anyio.current_time()
        ended = anyio.current_time()
        async with two.bridge:
            await until(lambda: len(two.log) == 7)
            handed_over = anyio.current_time()
            await figures.until_settled(two)
    figures.sent = 8
    figures.add(one, two)

    figures.note(f"drained in {ended - started:.2f} s, handed over in {handed_over - ended:.2f} s")
    figures.check()
    assert "0" not in two.log
    assert ended - started < 1.5
    assert handed_over - ended < 1
    # A handover is not an attempt.
    assert {made.attempt for made in two.deliveries if made is not None} == {1}


# Servers and connections that fail


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
async def test_a_server_that_is_ended_under_eight_publishers_loses_nothing(
    own_server: Server, prefix: str, rounds: Rounds, figures: Figures, how: signal.Signals
):
    """The fsync policy is everysec. A kill of the server alone loses what the server has not written yet."""
    web, billing = make_program(own_server, prefix), make_billing(own_server, prefix, claim_after=2)
    ends = rounds(3, 1)
    over = False
    times: dict[str, float] = {}
    kills: list[float] = []

    async def publish(number: int) -> None:
        count = 0
        while not over:
            count += 1
            figures.sent += 1
            await place_surely(web, f"{number}-{count}", figures.acknowledged)
            times[f"{number}-{count}"] = anyio.current_time()
            await anyio.sleep(0.002)

    async with web.bridge, billing.bridge:
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(publish, number)
            for _ in range(ends):
                await anyio.sleep(1.2)
                kills.append(anyio.current_time())
                await anyio.to_thread.run_sync(own_server.end, how)
                await anyio.to_thread.run_sync(own_server.start)
            await anyio.sleep(0.5)
            over = True
        await figures.until_handled(lambda: billing.log, 20)
        await figures.until_settled(billing)
        (state,) = (await billing.bridge.health()).receives
    figures.add(billing)

    figures.note(f"ends {ends}, reconnects {state.reconnects}")
    assert figures.stuck == 0
    assert state.reconnects >= ends
    if how is signal.SIGTERM:
        figures.check()
    # What everysec allows: the last two seconds before a kill.
    assert all(any(0 <= kill - times[order_id] <= 2 for kill in kills) for order_id in figures.lost)


async def test_a_lost_reply_of_a_publish_is_uncertain_and_stored_once(
    shared_server: Server, prefix: str, rounds: Rounds, figures: Figures
):
    """A client that repeats commands would send the event again, and not say so."""
    billing = make_billing(shared_server, prefix)
    async with Proxy.running(shared_server.port) as proxy, billing.bridge:
        web = Program(RedisStreams(proxy.url, prefix=prefix), "web", make_registry())
        async with web.bridge:
            await place_surely(web, "first", figures.acknowledged)
            for number in range(rounds(20, 5)):
                proxy.lose_reply_to = b"EVALSHA"
                with pytest.raises(PublishUncertain) as caught:
                    await web.bridge.publish(OrderPlaced(str(number)), to=ORDERS)
                assert proxy.seen == number + 1
                receipt = None
                while receipt is None:
                    with suppress(PublishFailed, PublishUncertain):  # until the bridge has connected again
                        receipt = await web.bridge.publish(OrderPlaced(str(number)), to=ORDERS, id=caught.value.id)
                    await anyio.sleep(0.02)
                assert receipt.duplicate
                figures.acknowledged.append(str(number))
            await figures.until_settled(billing)
    figures.sent = len(figures.acknowledged)
    figures.add(billing)
    figures.check()
    assert figures.duplicates == 0


async def test_killed_connections_lose_nothing_and_repeat_nothing(
    shared_server: Server, prefix: str, rounds: Rounds, figures: Figures
):
    web, billing = make_program(shared_server, prefix), make_billing(shared_server, prefix, claim_after=2)
    kills = rounds(100, 15)

    async with web.bridge, billing.bridge:
        for number in range(2 * kills):
            if number % 2 == 1:
                shared_server.command("CLIENT", "KILL", "TYPE", "normal")
                # The reader connects again after a tenth of a second, so that most kills meet it.
                await anyio.sleep(0.15)
            await place_surely(web, str(number), figures.acknowledged)
        await figures.until_handled(lambda: billing.log)
        await figures.until_settled(billing, 30)
        (state,) = (await billing.bridge.health()).receives
    figures.sent = 2 * kills
    figures.add(billing)
    figures.note(f"kills {kills}, reconnects {state.reconnects}")
    figures.check()
    assert state.reconnects > 0


async def test_an_owner_that_connects_again_goes_on_at_once(own_server: Server, prefix: str, figures: Figures):
    """It still has its lease, and does not wait until it ends. What has finished meanwhile is not started again."""
    web = make_program(own_server, prefix)
    billing = make_billing(own_server, prefix, ordered=True, claim_after=30)
    billing.react = lambda event: anyio.sleep(0.5 if event.order_id == "before" else 0)

    async with web.bridge, billing.bridge:
        await place_surely(web, "before", figures.acknowledged)
        await until(lambda: billing.log)
        await anyio.to_thread.run_sync(own_server.restart)
        restarted = anyio.current_time()
        await place_surely(web, "after", figures.acknowledged)
        await figures.until_handled(lambda: billing.log, 60)
        seconds = billing.times[-1] - restarted
        await figures.until_settled(billing)
    figures.sent = 2
    figures.add(billing)
    figures.note(f"handled the next event {seconds:.2f} s after the restart")
    figures.check()
    assert figures.duplicates == 0
    assert seconds < 5


async def test_a_server_that_stops_answering_is_used_again(own_server: Server, prefix: str, figures: Figures):
    web, billing = make_program(own_server, prefix), make_billing(own_server, prefix, claim_after=2)

    async with web.bridge, billing.bridge:
        await place_surely(web, "before", figures.acknowledged)
        await until(lambda: billing.log)
        own_server.send(signal.SIGSTOP)
        with pytest.raises(PublishUncertain):
            await web.bridge.publish(OrderPlaced("during"), to=ORDERS, id="id-during")
        own_server.send(signal.SIGCONT)
        for order_id in ("during", "after"):
            await place_surely(web, order_id, figures.acknowledged)
        await figures.until_handled(lambda: billing.log)
        await figures.until_settled(billing)
    figures.sent = 3
    figures.add(billing)
    figures.check()
    assert figures.duplicates == 0


async def test_a_fan_out_misses_nothing_over_restarts(
    own_server: Server, prefix: str, rounds: Rounds, figures: Figures
):
    web, listeners = make_program(own_server, prefix), [make_program(own_server, prefix, name) for name in ("a", "b")]
    for listener in listeners:
        listener.bridge.receive(ORDERS)
        listener.listen(OrderPlaced)

    async with AsyncExitStack() as stack:
        await enter(stack, web, *listeners)
        for number in range(rounds(3, 1)):
            await place_surely(web, f"before-{number}", figures.acknowledged)
            await anyio.to_thread.run_sync(own_server.end, signal.SIGTERM)
            await anyio.to_thread.run_sync(own_server.start)
            # The connection that is back first publishes, while the readers still pause.
            await place_surely(web, f"after-{number}", figures.acknowledged)
        for listener in listeners:
            await figures.until_handled(lambda: listener.log)
    figures.sent = len(figures.acknowledged)
    assert [sorted(listener.log) for listener in listeners] == [sorted(figures.acknowledged)] * 2
    figures.add(listeners[0])
    figures.check()


# Order


async def test_keys_keep_their_order_with_failures_and_two_owners(
    shared_server: Server, prefix: str, rounds: Rounds, figures: Figures, start_worker: StartWorker
):
    """The first owner is killed in the middle, and 5 % of the events fail at the second one."""
    await create_group(shared_server, prefix)
    events = EventRegistry()
    events.register("shop.order-placed", version=2, key=lambda event: event.order_id.partition("-")[0])(OrderPlaced)
    web = Program(RedisStreams(shared_server.url, prefix=prefix), "web", events)
    first = start_worker(claim_after=1, seconds=0.01, ordered=True)
    second = make_billing(shared_server, prefix, "second", ordered=True, claim_after=1, retry=Retry(9, first=0.02))
    figures.sent = rounds(300, 120)
    attempts: dict[str, int] = {}

    def react(event: OrderPlaced) -> None:
        attempts[event.order_id] = attempts.get(event.order_id, 0) + 1
        if int(event.order_id.partition("-")[2]) % 20 == 7 and attempts[event.order_id] == 1:
            fail(event)

    second.react = react
    async with web.bridge:
        await until(lambda: first.is_ready, _START_SECONDS)
        async with second.bridge:

            async def publish(numbers: range) -> None:
                for number in numbers:
                    order_id = f"{number % 6}-{number // 6}"
                    await web.bridge.publish(OrderPlaced(order_id), to=ORDERS)
                    figures.acknowledged.append(order_id)

            await publish(range(figures.sent // 2))
            await until(lambda: len(first.handled) > figures.sent // 6)
            await anyio.to_thread.run_sync(first.end)
            await publish(range(figures.sent // 2, figures.sent))
            await figures.until_handled(lambda: [*(order_id for order_id, _ in first.handled), *second.log])
            await figures.until_settled(second)
    figures.add(second)
    figures.handled += first.handled

    inversions = 0
    for key in range(6):
        numbers: list[int] = []
        for order_id, _ in sorted(figures.handled, key=lambda each: each[1]):
            if order_id.startswith(f"{key}-"):
                numbers.append(int(order_id.partition("-")[2]))
        seen: list[int] = list(dict.fromkeys(numbers))
        inversions += sum(later < earlier for earlier, later in pairwise(seen))
    figures.note(f"inversions {inversions}")
    figures.check()
    assert inversions == 0
    assert second.log
    assert figures.duplicates <= 16 + figures.sent // 20


# Several programs


async def test_asyncio_and_trio_share_a_group_in_one_process(
    shared_server: Server, prefix: str, rounds: Rounds, figures: Figures, anyio_backend_name: str
):
    await create_group(shared_server, prefix)
    other_backend = {"asyncio": "trio", "trio": "asyncio"}[anyio_backend_name]
    web, one = make_program(shared_server, prefix), make_billing(shared_server, prefix, "one", concurrency=2)
    other = make_billing(shared_server, prefix, "other", concurrency=2)
    for program in (one, other):
        program.react = lambda event: anyio.sleep(0.002)
    ready, over = threading.Event(), threading.Event()
    figures.sent = rounds(400, 100)

    async def run_other() -> None:
        async with other.bridge:
            ready.set()
            while not over.is_set():
                await anyio.sleep(0.01)

    thread = threading.Thread(target=anyio.run, args=(run_other,), kwargs={"backend": other_backend})
    thread.start()
    try:
        await anyio.to_thread.run_sync(ready.wait, 10)
        async with web.bridge, one.bridge:
            for number in range(figures.sent):
                await place_surely(web, str(number), figures.acknowledged)
            await figures.until_settled(one)
    finally:
        over.set()
        await anyio.to_thread.run_sync(thread.join, 20)
    # Each loop has its own clock.
    figures.handled += [(order_id, 0.0) for order_id in (*one.log, *other.log)]
    figures.check()
    assert figures.duplicates == 0
    assert one.log
    assert other.log


async def test_a_large_backlog_is_read_within_the_concurrency(
    shared_server: Server, prefix: str, rounds: Rounds, figures: Figures
):
    await create_group(shared_server, prefix)
    web, billing = make_program(shared_server, prefix), make_billing(shared_server, prefix, concurrency=32)
    running = most = 0

    async def work(event: OrderPlaced) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0)
        running -= 1

    billing.react = work
    figures.sent = rounds(30_000, 3_000)
    most_pending = 0
    async with web.bridge:
        async with anyio.create_task_group() as tasks:

            async def publish(first: int) -> None:
                for number in range(first, figures.sent, 250):
                    await place_surely(web, str(number), figures.acknowledged)

            for first in range(250):
                tasks.start_soon(publish, first)
        started = time.monotonic()
        async with billing.bridge:
            with anyio.fail_after(150):
                while len(billing.log) < figures.sent:
                    (state,) = (await billing.bridge.health()).receives
                    most_pending = max(most_pending, state.in_flight)
                    await anyio.sleep(0.05)
            seconds = time.monotonic() - started
            await figures.until_settled(billing)
    figures.add(billing)
    figures.note(f"in flight at most {max(most, most_pending)} of 32, {figures.sent / seconds:,.0f} events/s")
    figures.check()
    assert figures.duplicates == 0
    assert 1 < max(most, most_pending) <= 32


async def test_an_entry_that_is_cancelled_while_the_server_hangs_ends_soon(
    own_server: Server, prefix: str, figures: Figures
):
    """A task that was started with `TaskGroup.start` would not end before the server answers."""
    billing = make_billing(own_server, prefix)
    own_server.send(signal.SIGSTOP)
    started = anyio.current_time()
    with anyio.move_on_after(0.2):
        await billing.bridge.__aenter__()
    seconds = anyio.current_time() - started
    own_server.send(signal.SIGCONT)

    figures.note(f"ended after {seconds:.2f} s")
    assert seconds < 6
