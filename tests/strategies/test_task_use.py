"""How few tasks a concurrent dispatch takes, and that nobody can tell."""

from __future__ import annotations

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


class Ran:
    """Listeners of which some wait once, and what is known of the tasks they ran in."""

    def __init__(self, waiting: Iterable[bool], strategy: Strategy) -> None:
        self.dispatcher = AsyncEventDispatcher(strategy=strategy)
        self.tasks: list[int] = []
        self.most_tasks = 0
        for waits in waiting:
            self.dispatcher.add_listener("order.placed", self._voice(waits))

    def _voice(self, waits: bool) -> Callable[[Event], Awaitable[None]]:
        async def voice(event: Event) -> None:
            self.tasks.append(anyio.get_current_task().id)
            self.most_tasks = max(self.most_tasks, len(anyio.get_running_tasks()))
            if waits:
                await cancel_shielded_checkpoint()

        return voice

    async def sing(self) -> int:
        """Dispatch. Returns how many more tasks there were at a time than before."""
        before = len(anyio.get_running_tasks())
        await self.dispatcher.adispatch("order.placed")
        return self.most_tasks - before


@together
async def test_listeners_that_return_at_once_run_in_the_callers_task(strategy: Strategy) -> None:
    ran = Ran([False] * 100, strategy)

    assert await ran.sing() == 0
    assert ran.tasks == [anyio.get_current_task().id] * 100


@together
async def test_a_listener_that_is_alone_in_its_priority_runs_in_the_callers_task(strategy: Strategy) -> None:
    ran = Ran([True], strategy)

    assert await ran.sing() == 0
    assert ran.tasks == [anyio.get_current_task().id]


@together
@pytest.mark.parametrize("size", [2, 3, 10, 100])
async def test_of_listeners_that_all_wait_each_has_a_task_one_of_them_the_callers(
    strategy: Strategy, size: int
) -> None:
    ran = Ran([True] * size, strategy)

    assert await ran.sing() <= size - 1
    assert anyio.get_current_task().id in ran.tasks
    assert len(ran.tasks) == size


@together
async def test_when_one_in_ten_waits_there_are_about_two_tasks_for_each_that_does(strategy: Strategy) -> None:
    ran = Ran([place % 10 == 9 for place in range(100)], strategy)

    assert await ran.sing() <= 21
    assert len(ran.tasks) == 100


@together
async def test_the_last_of_a_hundred_that_wait_starts_after_a_few_turns_of_the_loop(strategy: Strategy) -> None:
    dispatcher, started, turns = AsyncEventDispatcher(strategy=strategy), list[int](), count()
    turn, all_started = 0, anyio.Event()

    async def tick() -> None:
        nonlocal turn
        for turn in turns:
            await cancel_shielded_checkpoint()
            if all_started.is_set():
                return

    async def voice(event: Event) -> None:
        started.append(turn)
        if len(started) == 100:
            all_started.set()
        await all_started.wait()

    for _ in range(100):
        dispatcher.add_listener("order.placed", voice)
    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        await cancel_shielded_checkpoint()
        begun = turn
        await dispatcher.adispatch("order.placed")
    # 1 + 2 + 4 + ... + 64 > 100; trio may run the metronome before or after the others of a turn.
    assert max(started) - begun <= 9


@together
async def test_a_listener_sees_no_context_of_another_that_ran_in_the_same_task(strategy: Strategy) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    seen: list[tuple[str, int]] = []
    dispatcher = AsyncEventDispatcher(strategy=strategy)

    def voice(number: int, *, waits: bool) -> Callable[[Event], Awaitable[None]]:
        async def voice(event: Event) -> None:
            seen.append((variable.get(), anyio.get_current_task().id))
            variable.set(f"set by {number}")
            if waits:
                await settle()
            assert variable.get() == f"set by {number}"

        return voice

    for number in range(40):
        dispatcher.add_listener("order.placed", voice(number, waits=number % 4 == 0))
    variable.set("the caller's")
    await dispatcher.adispatch("order.placed")

    assert variable.get() == "the caller's"
    assert {value for value, _ in seen} == {"the caller's"}
    assert len({task for _, task in seen}) < 40, "nobody shared a task"


async def test_under_a_limit_no_more_tasks_are_started_than_may_run() -> None:
    ran = Ran([True] * 30, Concurrent(limit=4))

    assert await ran.sing() <= 3
    assert len(ran.tasks) == 30


@pytest.mark.parametrize("strategy", [Concurrent(), Race(), Concurrent(errors="collect")], ids=repr)
@pytest.mark.parametrize("backend", backends(seeds=range(5)), ids=str)
def test_listeners_that_wait_for_all_the_others_are_all_started_whatever_those_do(
    strategy: Strategy, backend: Backend
) -> None:
    for seed in range(20):
        backend.run(_sing_mixed, strategy, seed)


@pytest.mark.parametrize("limit", [1, 2, 5])
@pytest.mark.parametrize("backend", backends(seeds=range(5)), ids=str)
def test_under_a_limit_all_listeners_are_started_whatever_the_others_do(limit: int, backend: Backend) -> None:
    for seed in range(20):
        backend.run(_sing_mixed, Concurrent(limit, errors="collect"), seed, False)


async def _sing_mixed(strategy: Concurrent | Race, seed: int, may_depend: bool = True) -> None:
    chance = Random(seed)
    dispatcher, all_started = AsyncEventDispatcher(strategy=strategy), anyio.Event()
    size = chance.randint(2, 25)
    started: list[int] = []
    ended: list[int] = []
    may_fail = ["fails", "waits and fails"] if strategy.errors == "collect" else []

    def voice(number: int, does: str) -> Callable[[Event], Awaitable[None]]:
        async def voice(event: Event) -> None:
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

        return voice

    expected: list[int] = []
    for number in range(size):
        kinds = ["returns", "waits", "waits in a cancelled scope", "waits in a task group", *may_fail]
        does = chance.choice(kinds + ["waits for all", "for all"] * may_depend)
        dispatcher.add_listener("order.placed", voice(number, does))
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
