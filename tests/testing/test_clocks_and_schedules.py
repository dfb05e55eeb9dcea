"""Virtual time and seeded schedules, and waiting for all other tasks."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import trio
from anyio import from_thread, to_thread

from antiphon.testing import Backend, backends, settle

PLAIN = backends()
ALL = backends(seeds=[None, 1])

every_backend = pytest.mark.parametrize("backend", ALL, ids=str)
plain_backends = pytest.mark.parametrize("backend", PLAIN, ids=str)
names = pytest.mark.parametrize("name", ["asyncio", "trio"])


@pytest.fixture(autouse=True)
def takes_no_real_time() -> Iterator[None]:
    before = time.monotonic()
    yield
    assert time.monotonic() - before < 10


@every_backend
def test_time_starts_at_zero_and_jumps_to_each_timer_in_turn(backend: Backend) -> None:
    async def main() -> list[tuple[str, float]]:
        woken = []

        async def sleeper(name: str, seconds: float) -> None:
            await anyio.sleep(seconds)
            woken.append((name, anyio.current_time()))

        assert anyio.current_time() == 0
        async with anyio.create_task_group() as group:
            group.start_soon(sleeper, "day", 86400)
            group.start_soon(sleeper, "second", 1)
            group.start_soon(sleeper, "hour", 3600)
        return woken

    assert backend.run(main) == [("second", 1), ("hour", 3600), ("day", 86400)]


@every_backend
def test_a_deadline_expires_exactly_when_it_is_due(backend: Backend) -> None:
    async def main() -> float:
        with anyio.move_on_after(30) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        return anyio.current_time()

    assert backend.run(main) == 30


@every_backend
def test_time_stands_still_while_a_task_can_run(backend: Backend) -> None:
    async def main() -> float:
        with anyio.CancelScope() as scope:
            scope.deadline = 1
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
        return anyio.current_time()

    assert backend.run(main) == 0


@every_backend
def test_time_does_not_jump_while_a_worker_thread_runs(backend: Backend) -> None:
    async def main() -> None:
        go_on = threading.Event()

        async def wait_for_thread() -> None:
            with anyio.fail_after(50):
                await to_thread.run_sync(go_on.wait, 10)
            done.cancel()

        async with anyio.create_task_group() as group:
            done = group.cancel_scope
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


def test_time_does_not_jump_while_asyncio_runs_something_in_its_executor() -> None:
    async def main() -> float:
        go_on = threading.Event()
        threading.Timer(0.01, go_on.set).start()
        async with asyncio.timeout(50):
            await asyncio.to_thread(go_on.wait, 10)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(**Backend("asyncio").options()) as runner:
        assert runner.run(main()) < 10


def test_time_jumps_in_a_program_that_knows_asyncio_alone() -> None:
    async def main() -> float:
        await asyncio.sleep(86400)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(**Backend("asyncio", 1).options()) as runner:
        assert runner.run(main()) == 86400


@every_backend
def test_what_waits_on_a_socket_is_seen_before_time_jumps(backend: Backend) -> None:
    async def main() -> float:
        left, right = socket.socketpair()
        right.sendall(b"here")
        async with await anyio.abc.SocketStream.from_socket(left) as stream:
            with right, anyio.fail_after(1):
                assert await stream.receive() == b"here"
        return anyio.current_time()

    assert backend.run(main) == 0


def schedule_of(backend: Backend) -> tuple[int, ...]:
    """The order in which three tasks take three turns each."""

    async def main() -> tuple[int, ...]:
        turns = []

        async def take_turns(number: int) -> None:
            for _ in range(3):
                turns.append(number)
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(take_turns, number)
        return tuple(turns)

    return backend.run(main)


@names
def test_a_seed_gives_the_same_schedule_each_time(name: Any) -> None:
    for seed in range(5):
        assert schedule_of(Backend(name, seed)) == schedule_of(Backend(name, seed))


@names
def test_a_seed_orders_cancelled_tasks_the_same_way_each_time(name: Any) -> None:
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

    # Things in between, so that the tasks do not come to lie at the same addresses.
    kept = []
    orders = set()
    for _ in range(20):
        orders.add(Backend(name, 1).run(main))
        kept.append([object() for _ in range(random.randrange(100))])
    assert len(orders) == 1


@names
def test_seeds_give_many_schedules(name: Any) -> None:
    assert len({schedule_of(Backend(name, seed)) for seed in range(50)}) > 20


def test_without_a_seed_asyncio_keeps_its_first_in_first_out() -> None:
    assert schedule_of(Backend("asyncio")) == (0, 1, 2) * 3


@names
def test_tasks_that_wake_up_at_the_same_time_are_shuffled_too(name: Any) -> None:
    async def main() -> tuple[int, ...]:
        woken = []

        async def sleeper(number: int) -> None:
            await anyio.sleep(1)
            woken.append(number)

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(sleeper, number)
        return tuple(woken)

    assert len({Backend(name, seed).run(main) for seed in range(50)}) == 6


def test_a_seeded_asyncio_loop_leaves_callbacks_that_are_no_tasks_in_order() -> None:
    async def main() -> list[int]:
        called: list[int] = []
        for number in range(20):
            asyncio.get_running_loop().call_soon(called.append, number)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return called

    for seed in range(5):
        assert Backend("asyncio", seed).run(main) == list(range(20))


def test_a_seeded_trio_run_leaves_trios_own_generator_as_it_was() -> None:
    from trio._core import _run

    before = _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()
    schedule_of(Backend("trio", 7))
    assert (_run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()) == before


def test_random_numbers_of_the_program_do_not_depend_on_the_schedule() -> None:
    async def main() -> None:
        await anyio.lowlevel.checkpoint()

    state = random.getstate()
    for backend in backends(seeds=[None, 1, 2]):
        backend.run(main)
    assert random.getstate() == state


@plain_backends
def test_waiting_until_all_tasks_are_blocked_works_in_virtual_time(backend: Backend) -> None:
    async def main() -> list[str]:
        log = []

        async def worker() -> None:
            for turn in range(3):
                log.append(f"turn {turn}")
                await anyio.lowlevel.checkpoint()
            await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(worker)
            await anyio.wait_all_tasks_blocked()
            log.append("blocked")
            group.cancel_scope.cancel()
        return log

    assert backend.run(main) == ["turn 0", "turn 1", "turn 2", "blocked"]


class TestInAnyiosPytestPlugin:
    @pytest.fixture
    def anyio_backend(self, virtual_backend: Backend) -> object:
        return virtual_backend.as_anyio()

    async def test_an_async_test_runs_in_virtual_time(self) -> None:
        assert anyio.current_time() == 0
        await anyio.sleep(86400)
        assert anyio.current_time() == 86400

    async def test_a_worker_thread_holds_the_time_of_an_async_test(self) -> None:
        with anyio.fail_after(50):
            await to_thread.run_sync(time.sleep, 0.01)


class TestUnderSeedsInAnyiosPytestPlugin:
    @pytest.fixture
    def anyio_backend(self, seeded_backend: Backend) -> object:
        return seeded_backend.as_anyio()

    async def test_an_async_test_runs_in_virtual_time(self) -> None:
        assert anyio.current_time() == 0
        await anyio.sleep(86400)
        assert anyio.current_time() == 86400

    @pytest.mark.seeds([None, 1])
    async def test_a_worker_thread_holds_the_time_of_an_async_test(self) -> None:
        with anyio.fail_after(50):
            await to_thread.run_sync(time.sleep, 0.01)


# Backends


def test_backends_are_listed_each_under_each_seed() -> None:
    assert [str(backend) for backend in backends(seeds=[None, 5])] == ["asyncio", "asyncio-seed5", "trio", "trio-seed5"]


def test_all_backends_are_listed_without_a_seed_if_nothing_is_asked_for() -> None:
    assert backends() == [Backend("asyncio"), Backend("trio")]


def test_backends_can_be_named() -> None:
    assert backends("trio", seeds=iter(range(2))) == [Backend("trio", 0), Backend("trio", 1)]


@pytest.mark.parametrize("name", ["uvloop", range(20)])
def test_what_is_no_backend_is_not_listed(name: Any) -> None:
    with pytest.raises(ValueError, match=r"one of 'asyncio', 'trio' .*got .* backends\(seeds=range\(20\)\)"):
        backends(name)


def test_only_backends_that_are_installed_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyio.get_available_backends", lambda: ("asyncio",))

    assert backends() == [Backend("asyncio")]


def test_the_options_of_a_backend_are_those_of_its_own_run() -> None:
    async def sleep_for_a_day() -> float:
        await trio.sleep(86400)
        return trio.current_time()

    assert trio.run(sleep_for_a_day, **Backend("trio", 3).options()) == 86400


@names
def test_a_run_gives_what_its_function_returns_and_raises_what_it_raises(name: Any) -> None:
    async def divide(one: int, other: int) -> float:
        await anyio.lowlevel.checkpoint()
        return one / other

    assert Backend(name).run(divide, 1, 2) == 0.5
    with pytest.raises(ZeroDivisionError):
        Backend(name).run(divide, 1, 0)


@names
def test_options_that_are_used_for_several_runs_work_in_each(name: Any) -> None:
    """A fixture ``anyio_backend`` of module scope does that."""
    backend, options = Backend(name, 1).as_anyio()

    async def main() -> None:
        with anyio.move_on_after(30):
            await anyio.sleep_forever()
        with anyio.move_on_after(30):
            await to_thread.run_sync(time.sleep, 0.001, abandon_on_cancel=True)

    for _ in range(3):
        anyio.run(main, backend=backend, backend_options=options)


# Waiting for the other tasks


@every_backend
def test_settling_waits_until_all_other_tasks_are_blocked(backend: Backend) -> None:
    async def main() -> list[str]:
        log = []

        async def worker(turns: int) -> None:
            for turn in range(turns):
                log.append(f"turn {turn} of {turns}")
                await anyio.lowlevel.checkpoint()
            await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(worker, 1)
            group.start_soon(worker, 20)
            await settle()
            log.append("settled")
            group.cancel_scope.cancel()
        return log

    log = backend.run(main)
    assert (len(log), log[-1]) == (22, "settled")


@every_backend
def test_settling_follows_a_task_that_wakes_another(backend: Backend) -> None:
    async def main() -> list[int]:
        woken = []
        bells = [anyio.Event() for _ in range(10)]

        async def ring(number: int) -> None:
            await bells[number].wait()
            woken.append(number)
            if number + 1 < len(bells):
                bells[number + 1].set()

        async with anyio.create_task_group() as group:
            for number in reversed(range(len(bells))):
                group.start_soon(ring, number)
            await settle()
            assert woken == []
            bells[0].set()
            await settle()
        return woken

    assert backend.run(main) == list(range(10))


def test_settling_on_asyncio_follows_callbacks_that_lead_to_a_task() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        bell = loop.create_future()
        woken = []

        async def worker() -> None:
            await bell
            woken.append("worker")

        async with anyio.create_task_group() as group:
            group.start_soon(worker)
            await settle()
            assert woken == []
            loop.call_soon(loop.call_soon, loop.call_soon, bell.set_result, None)
            await settle()
            return list(woken)

    assert Backend("asyncio").run(main) == ["worker"]


@every_backend
def test_settling_lets_no_time_pass(backend: Backend) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0.05)
            await settle()
            assert anyio.current_time() == 0

    backend.run(main)


@every_backend
def test_several_tasks_may_settle_at_a_time(backend: Backend) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(settle)

    backend.run(main)


async def test_settling_works_in_real_time() -> None:
    seen = []

    async def look() -> None:
        await anyio.lowlevel.checkpoint()
        seen.append("looked")

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        await settle()
        assert seen == ["looked"]


# Imports


def test_the_tools_can_be_imported_without_trio_and_without_pytest() -> None:
    code = (
        "import sys\n"
        "sys.modules.update(trio=None, pytest=None)\n"
        "import anyio, antiphon.testing\n"
        "assert antiphon.testing.backends() == [('asyncio', None)]\n"
        "antiphon.testing.Backend('asyncio', 3).run(anyio.sleep, 86400)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)


@pytest.mark.parametrize("module", ["asyncio", "trio", "pytest"])
def test_importing_the_tools_starts_no_backend(module: str) -> None:
    code = f"import sys, antiphon.testing\nassert {module!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)


def test_importing_antiphon_does_not_import_the_tools() -> None:
    code = "import sys, antiphon\nassert 'antiphon.testing' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)
