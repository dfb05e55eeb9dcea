"""How few tasks a concurrent dispatch starts, and that no listener can see it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from itertools import count
from random import Random

import anyio
import pytest
from anyio.lowlevel import cancel_shielded_checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, Event, Race, Strategy
from antiphon.testing import Backend, backends, settle

together = pytest.mark.parametrize("strategy", [Concurrent(), Race()], ids=["concurrent", "race"])


async def run(waiting: Iterable[bool], strategy: Strategy) -> tuple[int, list[int]]:
    """Dispatch to listeners of which some wait once. Returns the most tasks beside the caller's, and all task ids."""
    dispatcher, tasks, most = AsyncEventDispatcher(strategy=strategy), list[int](), 0

    def make_listener(waits: bool) -> Callable[[Event], Awaitable[None]]:
        async def listener(event: Event) -> None:
            nonlocal most
            tasks.append(anyio.get_current_task().id)
            most = max(most, len(anyio.get_running_tasks()))
            if waits:
                await cancel_shielded_checkpoint()

        return listener

    for waits in waiting:
        dispatcher.add_listener("order.placed", make_listener(waits))
    before = len(anyio.get_running_tasks())
    await dispatcher.adispatch("order.placed")
    return most - before, tasks


@together
@pytest.mark.parametrize("waiting", [[False] * 100, [True]], ids=["all return at once", "one that waits"])
async def test_the_callers_task_runs_what_needs_no_other(strategy: Strategy, waiting: list[bool]) -> None:
    assert await run(waiting, strategy) == (0, [anyio.get_current_task().id] * len(waiting))


@together
async def test_listeners_that_return_leave_the_cancel_scopes_as_they_were(strategy: Strategy) -> None:
    """The task group is left through its cancel scope, so a scope around the dispatch must be the innermost one again."""
    with anyio.CancelScope(deadline=anyio.current_time() + 100) as outer:
        await run([False] * 3, strategy)
        assert anyio.current_effective_deadline() == outer.deadline
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, [True] * 3, strategy)
            outer.cancel()
            await anyio.sleep_forever()

    assert outer.cancelled_caught
    assert anyio.current_effective_deadline() == math.inf


@together
@pytest.mark.parametrize("size", [2, 3, 10, 100])
async def test_listeners_that_wait_have_a_task_each(strategy: Strategy, size: int) -> None:
    started, tasks = await run([True] * size, strategy)

    assert started <= size - 1
    assert anyio.get_current_task().id in tasks
    assert len(tasks) == size


@together
@pytest.mark.parametrize("size", [3, 10, 30])
async def test_no_task_starts_for_nothing(strategy: Strategy, size: int) -> None:
    dispatcher, used, started = AsyncEventDispatcher(strategy=strategy), set[int](), set[int]()
    before = {task.id for task in anyio.get_running_tasks()}

    async def listener(event: Event) -> None:
        used.add(anyio.get_current_task().id)
        started.update(task.id for task in anyio.get_running_tasks())
        await cancel_shielded_checkpoint()

    for _ in range(size):
        dispatcher.add_listener("order.placed", listener)
    await dispatcher.adispatch("order.placed")

    assert started - before <= used


@together
async def test_about_two_tasks_are_started_for_each_listener_that_waits(strategy: Strategy) -> None:
    started, tasks = await run([place % 10 == 9 for place in range(100)], strategy)

    assert started <= 21
    assert len(tasks) == 100


async def test_under_a_limit_no_more_tasks_are_started_than_may_run() -> None:
    started, tasks = await run([True] * 30, Concurrent(limit=4))

    assert started <= 3
    assert len(tasks) == 30


@together
async def test_the_last_of_a_hundred_starts_after_a_few_turns(strategy: Strategy) -> None:
    dispatcher, started, turns = AsyncEventDispatcher(strategy=strategy), list[int](), count()
    turn, all_started = 0, anyio.Event()

    async def tick() -> None:
        nonlocal turn
        for turn in turns:
            await cancel_shielded_checkpoint()
            if all_started.is_set():
                return

    async def listener(event: Event) -> None:
        started.append(turn)
        if len(started) == 100:
            all_started.set()
        await all_started.wait()

    for _ in range(100):
        dispatcher.add_listener("order.placed", listener)
    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        await cancel_shielded_checkpoint()
        begun = turn
        await dispatcher.adispatch("order.placed")
    # 1 + 2 + 4 + ... + 64 > 100; Trio may run the counting task before or after the others of a turn.
    assert max(started) - begun <= 9


@together
async def test_a_listener_sees_no_context_of_another_in_the_same_task(strategy: Strategy) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    seen: list[tuple[str, int]] = []
    dispatcher = AsyncEventDispatcher(strategy=strategy)

    def make_listener(number: int, *, waits: bool) -> Callable[[Event], Awaitable[None]]:
        async def listener(event: Event) -> None:
            seen.append((variable.get(), anyio.get_current_task().id))
            variable.set(f"set by {number}")
            if waits:
                await settle()
            assert variable.get() == f"set by {number}"

        return listener

    for number in range(40):
        dispatcher.add_listener("order.placed", make_listener(number, waits=number % 4 == 0))
    variable.set("the caller's")
    await dispatcher.adispatch("order.placed")

    assert variable.get() == "the caller's"
    assert {value for value, _ in seen} == {"the caller's"}
    assert len({task for _, task in seen}) < 40, "no two listeners shared a task"


@pytest.mark.parametrize(
    ("strategy", "may_depend"),
    [
        *[(strategy, True) for strategy in (Concurrent(), Race(), Concurrent(errors="collect"))],
        *[(Concurrent(limit, errors="collect"), False) for limit in (1, 2, 5)],
    ],
    ids=repr,
)
@pytest.mark.parametrize("backend", backends(seeds=range(5)), ids=str)
def test_all_listeners_start_whatever_the_others_do(
    strategy: Concurrent | Race, may_depend: bool, backend: Backend
) -> None:
    for seed in range(20):
        backend.run(_dispatch_mixed, strategy, seed, may_depend)


async def _dispatch_mixed(strategy: Concurrent | Race, seed: int, may_depend: bool) -> None:
    chance = Random(seed)
    dispatcher, all_started = AsyncEventDispatcher(strategy=strategy), anyio.Event()
    size = chance.randint(2, 25)
    started, ended = list[int](), list[int]()
    may_fail = ["fails", "waits and fails"] if strategy.errors == "collect" else []

    def make_listener(number: int, does: str) -> Callable[[Event], Awaitable[None]]:
        async def listener(event: Event) -> None:
            started.append(number)
            if len(started) == size:
                all_started.set()
            if "waits" in does:
                await cancel_shielded_checkpoint()
            if "for all" in does:
                await all_started.wait()
            if "in a cancelled scope" in does:
                with anyio.move_on_after(0) as scope:
                    await anyio.sleep_forever()
                assert scope.cancelled_caught
            if "in a task group" in does:
                async with anyio.create_task_group() as group:
                    group.start_soon(cancel_shielded_checkpoint)
            ended.append(number)
            if "fails" in does:
                raise ValueError(number)

        return listener

    expected: list[int] = []
    for number in range(size):
        kinds = ["returns", "waits", "waits in a cancelled scope", "waits in a task group", *may_fail]
        does = chance.choice(kinds + ["waits for all", "for all"] * may_depend)
        dispatcher.add_listener("order.placed", make_listener(number, does))
        if "fails" in does:
            expected.append(number)
    errors: list[Exception] = []
    try:
        with anyio.fail_after(10):
            await dispatcher.adispatch("order.placed")
    except ExceptionGroup as group:
        errors.extend(group.exceptions)
    assert sorted(started) == sorted(ended) == list(range(size))
    assert [error.args[0] for error in errors] == expected
    assert all(error.__context__ is None for error in errors), "the error of another listener"
