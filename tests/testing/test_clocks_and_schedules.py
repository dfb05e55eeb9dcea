"""Virtual time, seeded schedules, and waiting for all other tasks."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import anyio
import pytest
import trio
from anyio import from_thread, lowlevel, to_thread

from antiphon.testing import Backend, backends, settle

PLAIN = backends()
every_backend = pytest.mark.parametrize("backend", backends(seeds=[None, 1]), ids=str)
names = pytest.mark.parametrize("name", ["asyncio", "trio"])


@pytest.fixture(autouse=True)
def takes_no_real_time() -> Iterator[None]:
    before = time.monotonic()
    yield
    assert time.monotonic() - before < 10


# Virtual time


@every_backend
def test_time_starts_at_zero_and_jumps_to_each_timer(backend: Backend) -> None:
    woken = []

    async def sleeper(name: str, seconds: float) -> None:
        await anyio.sleep(seconds)
        woken.append((name, anyio.current_time()))

    async def main() -> None:
        assert anyio.current_time() == 0
        async with anyio.create_task_group() as group:
            group.start_soon(sleeper, "day", 86400)
            group.start_soon(sleeper, "second", 1)
            group.start_soon(sleeper, "hour", 3600)

    backend.run(main)
    assert woken == [("second", 1), ("hour", 3600), ("day", 86400)]


@every_backend
def test_a_deadline_expires_exactly_when_it_is_due(backend: Backend) -> None:
    async def main() -> float:
        with anyio.move_on_after(30) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        return anyio.current_time()

    assert backend.run(main) == 30


@every_backend
def test_time_does_not_pass_while_a_task_can_run(backend: Backend) -> None:
    async def main() -> float:
        with anyio.CancelScope() as scope:
            scope.deadline = 1
            for _ in range(100):
                await lowlevel.checkpoint()
        return anyio.current_time()

    assert backend.run(main) == 0


@every_backend
def test_time_is_exact_after_years(backend: Backend) -> None:
    """Floats of this size differ by more than the resolution of the clocks."""

    async def main() -> float:
        for _ in range(10):
            await anyio.sleep(200 * 86400)
            await anyio.sleep(0.25)
        return anyio.current_time()

    assert backend.run(main) == 2000 * 86400 + 2.5


@pytest.mark.parametrize("backend", backends("asyncio", seeds=[None, 1]), ids=str)
@pytest.mark.parametrize(
    ("clean_up", "earliest", "latest"),
    [(lambda: asyncio.sleep(6), 7, 7), (lambda: asyncio.to_thread(time.sleep, 0.01), 1, 3)],
    ids=["sleeps", "uses a thread"],
)
def test_time_passes_while_a_cancelled_scope_waits_for_native_tasks(
    backend: Backend, clean_up: Callable[[], Awaitable[None]], earliest: float, latest: float
) -> None:
    """A native task group swallows repeated cancellations until its tasks have ended."""

    async def main() -> float:
        async def clean_up_slowly() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                await clean_up()

        loop = asyncio.get_running_loop()
        with anyio.CancelScope() as scope:
            async with asyncio.TaskGroup() as group:
                group.create_task(clean_up_slowly())
                loop.call_later(1, scope.cancel)
                loop.call_later(2, scope.cancel).cancel()
                loop.call_later(50, scope.cancel)
        assert scope.cancelled_caught
        return anyio.current_time()

    assert earliest <= backend.run(main) <= latest


@every_backend
def test_time_does_not_jump_while_a_worker_thread_runs(backend: Backend) -> None:
    async def main() -> None:
        go_on = threading.Event()

        async def wait_for_thread() -> None:
            with anyio.fail_after(50):
                await to_thread.run_sync(go_on.wait, 10)
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(wait_for_thread)
            threading.Timer(0.01, go_on.set).start()
            await anyio.sleep(3600)
        assert anyio.current_time() < 10

        await anyio.sleep(3600)
        assert anyio.current_time() >= 3600

    backend.run(main)


@every_backend
def test_a_worker_thread_may_sleep_on_the_event_loop(backend: Backend) -> None:
    async def main() -> float:
        await to_thread.run_sync(from_thread.run, anyio.sleep, 0.02)
        return anyio.current_time()

    assert 0.02 <= backend.run(main) < 5


@pytest.mark.parametrize("run_in_thread", [asyncio.to_thread, to_thread.run_sync], ids=["asyncio", "anyio"])
def test_time_does_not_jump_while_a_thread_runs_in_a_native_loop(run_in_thread: Any) -> None:
    async def main() -> float:
        go_on = threading.Event()
        threading.Timer(0.01, go_on.set).start()
        async with asyncio.timeout(50):
            await run_in_thread(go_on.wait, 10)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(**Backend("asyncio").options()) as runner:
        assert runner.run(main()) < 10


def test_time_jumps_in_a_program_without_anyio() -> None:
    async def main() -> float:
        await asyncio.sleep(86400)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(**Backend("asyncio", 1).options()) as runner:
        assert runner.run(main()) == 86400

    async def sleep_on_trio() -> float:
        await trio.sleep(86400)
        return trio.current_time()

    assert trio.run(sleep_on_trio, **Backend("trio", 3).options()) == 86400


@every_backend
def test_bytes_on_a_socket_are_seen_before_time_jumps(backend: Backend) -> None:
    async def main() -> float:
        left, right = socket.socketpair()
        right.sendall(b"here")
        async with await anyio.abc.SocketStream.from_socket(left) as stream:
            with right, anyio.fail_after(1):
                assert await stream.receive() == b"here"
        return anyio.current_time()

    assert backend.run(main) == 0


class TestInAnyiosPytestPlugin:
    @pytest.fixture
    def anyio_backend(self, virtual_backend: Backend) -> object:
        return virtual_backend.as_anyio()

    async def test_an_async_test_runs_in_virtual_time(self) -> None:
        assert anyio.current_time() == 0
        await anyio.sleep(86400)
        assert anyio.current_time() == 86400
        with anyio.fail_after(50):
            await to_thread.run_sync(time.sleep, 0.01)


class TestUnderSeedsInAnyiosPytestPlugin(TestInAnyiosPytestPlugin):
    @pytest.fixture
    def anyio_backend(self, seeded_backend: Backend) -> object:
        return seeded_backend.as_anyio()

    @pytest.mark.seeds([None, 1])
    async def test_seeds_can_be_chosen(self) -> None:
        await self.test_an_async_test_runs_in_virtual_time()


# Schedules


async def record_turns(wait: Callable[[], Awaitable[None]], count: int = 3, tasks: int = 3) -> tuple[int, ...]:
    """Return the order in which some tasks take their turns."""
    turns = []

    async def take_turns(number: int) -> None:
        for _ in range(count):
            turns.append(number)
            await wait()

    async with anyio.create_task_group() as group:
        for number in range(tasks):
            group.start_soon(take_turns, number)
    return tuple(turns)


def schedule_of(backend: Backend) -> tuple[int, ...]:
    return backend.run(record_turns, lowlevel.checkpoint)


@names
def test_a_seed_gives_the_same_schedule_each_time(name: Any) -> None:
    for seed in range(5):
        assert schedule_of(Backend(name, seed)) == schedule_of(Backend(name, seed))


@names
def test_a_seed_orders_cancelled_tasks_the_same_way(name: Any) -> None:
    async def main() -> tuple[int, ...]:
        cancelled = []

        async def sleeper(number: int) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                cancelled.append(number)

        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(sleeper, number)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        return tuple(cancelled)

    kept = []
    orders = set()
    for _ in range(20):
        orders.add(Backend(name, 1).run(main))
        # The tasks of the next run get other addresses.
        kept.append([object() for _ in range(random.randrange(100))])
    assert len(orders) == 1


@names
def test_seeds_give_many_schedules(name: Any) -> None:
    assert len({schedule_of(Backend(name, seed)) for seed in range(50)}) > 20


def test_asyncio_without_a_seed_is_first_in_first_out() -> None:
    assert schedule_of(Backend("asyncio")) == (0, 1, 2) * 3


@names
def test_tasks_that_wake_up_at_one_time_are_shuffled(name: Any) -> None:
    async def main() -> tuple[int, ...]:
        async def sleep_once() -> None:
            if anyio.current_time() == 0:
                await anyio.sleep(1)

        return (await record_turns(sleep_once, count=2))[3:]

    assert len({Backend(name, seed).run(main) for seed in range(50)}) == 6


def test_a_seeded_asyncio_loop_keeps_other_callbacks_in_order() -> None:
    async def main() -> list[int]:
        called: list[int] = []
        for number in range(20):
            asyncio.get_running_loop().call_soon(called.append, number)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return called

    for seed in range(5):
        assert Backend("asyncio", seed).run(main) == list(range(20))


def test_runs_leave_the_generators_of_trio_and_random_alone() -> None:
    from trio._core import _run

    def states() -> tuple[Any, ...]:
        return _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()

    before = states()
    schedule_of(Backend("trio", 7))
    assert states() == before

    state = random.getstate()
    for backend in backends(seeds=[None, 1, 2]):
        schedule_of(backend)
    assert random.getstate() == state


# Backends


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (backends(), [Backend("asyncio"), Backend("trio")]),
        (backends("trio", seeds=iter(range(2))), [Backend("trio", 0), Backend("trio", 1)]),
        (list(map(str, backends(seeds=iter([None, 5])))), ["asyncio", "asyncio-seed5", "trio", "trio-seed5"]),
    ],
    ids=["all", "named", "strings"],
)
def test_backends_are_listed_under_each_seed(found: list[Any], expected: list[Any]) -> None:
    assert found == expected


@pytest.mark.parametrize("name", ["uvloop", range(20)])
def test_an_unknown_backend_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match=r"one of 'asyncio', 'trio' .*got .* backends\(seeds=range\(20\)\)"):
        backends(name)


def test_only_installed_backends_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyio.get_available_backends", lambda: ("asyncio",))

    assert backends() == [Backend("asyncio")]


@names
def test_a_run_returns_and_raises_what_its_function_does(name: Any) -> None:
    async def divide(dividend: int, divisor: int) -> float:
        await lowlevel.checkpoint()
        return dividend / divisor

    assert Backend(name).run(divide, 1, 2) == 0.5
    with pytest.raises(ZeroDivisionError):
        Backend(name).run(divide, 1, 0)


@names
def test_options_work_in_several_runs(name: Any) -> None:
    """A fixture ``anyio_backend`` of module scope uses them so."""
    backend, options = Backend(name, 1).as_anyio()

    async def main() -> None:
        with anyio.move_on_after(30):
            await anyio.sleep_forever()
        with anyio.move_on_after(30):
            await to_thread.run_sync(time.sleep, 0.001, abandon_on_cancel=True)

    for _ in range(3):
        anyio.run(main, backend=backend, backend_options=options)


# Waiting for the other tasks


async def check_wait(wait: Callable[[], Awaitable[None]]) -> None:
    log: list[str] = []

    async def worker(turns: int) -> None:
        for _ in range(turns):
            log.append("turn")
            await lowlevel.checkpoint()
        await anyio.sleep(0.05)

    async with anyio.create_task_group() as group:
        group.start_soon(worker, 1)
        group.start_soon(worker, 20)
        await wait()
        assert log == ["turn"] * 21


@every_backend
def test_settle_waits_until_all_other_tasks_are_blocked(backend: Backend) -> None:
    async def main() -> None:
        async def wait() -> None:
            await settle()
            assert anyio.current_time() == 0

        await check_wait(wait)

    backend.run(main)


@pytest.mark.parametrize("backend", PLAIN, ids=str)
def test_anyio_can_wait_for_blocked_tasks_in_virtual_time(backend: Backend) -> None:
    backend.run(check_wait, anyio.wait_all_tasks_blocked)


async def test_settle_works_in_real_time() -> None:
    await check_wait(settle)


@every_backend
def test_settle_follows_a_task_that_wakes_another(backend: Backend) -> None:
    async def main() -> list[int]:
        woken = []
        events = [anyio.Event() for _ in range(10)]

        async def pass_on(number: int) -> None:
            await events[number].wait()
            woken.append(number)
            if number + 1 < len(events):
                events[number + 1].set()

        async with anyio.create_task_group() as group:
            for number in reversed(range(len(events))):
                group.start_soon(pass_on, number)
            await settle()
            assert woken == []
            events[0].set()
            await settle()
        return woken

    assert backend.run(main) == list(range(10))


def test_settle_follows_callbacks_of_asyncio() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        task = asyncio.ensure_future(asyncio.wait_for(future, None))
        await settle()
        assert not task.done()
        loop.call_soon(loop.call_soon, loop.call_soon, future.set_result, None)
        await settle()
        assert task.done()

    Backend("asyncio").run(main)


@every_backend
def test_several_tasks_may_settle_at_a_time(backend: Backend) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(settle)

    backend.run(main)


# Imports


@pytest.mark.parametrize(
    "code",
    [
        """\
sys.modules.update(trio=None, pytest=None)
import anyio, antiphon.testing
assert antiphon.testing.backends() == [('asyncio', None)]
antiphon.testing.Backend('asyncio', 3).run(anyio.sleep, 86400)
""",
        "import antiphon.testing\nassert not {'asyncio', 'trio', 'pytest'} & set(sys.modules)",
        "import antiphon\nassert 'antiphon.testing' not in sys.modules",
    ],
    ids=["without trio and pytest", "no backend is started", "antiphon alone"],
)
def test_imports_are_lazy(code: str) -> None:
    subprocess.run([sys.executable, "-c", f"import sys\n{code}"], check=True, timeout=50)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Backend(cast("Any", "x")).options(), LookupError, "got Backend"),
        (lambda: Backend("asyncio", cast("Any", "3")).options(), TypeError, "a seed is an int or None"),
        (lambda: Backend("asyncio").run(cast("Any", 3)), TypeError, r"without a call: run\(main\); got 3"),
        (lambda: backends(seeds=cast("Any", 3)), TypeError, r"such as range\(20\); got 3"),
        (lambda: backends(cast("Any", ["asyncio"])), ValueError, "Pass each name on its own"),
    ],
    ids=["backend", "seed", "function", "seeds", "names"],
)
def test_a_wrong_backend_shows_the_right_one(make: Callable[[], object], error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        make()
