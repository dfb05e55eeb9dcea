"""Rule 4: ``once``, ``where``, ``timeout`` and ``limit``, alone and together, and the order in which they are asked."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from itertools import product
from typing import Any
from unittest.mock import AsyncMock

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from antiphon.testing import Backend, backends, settle
from tests.conftest import BACKENDS
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener
from tests.naming import without_address

#: A span that passes at once in virtual time, and one that no test waits for.
SOON, NEVER = 1.0, 3600.0


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Every backend in turn, and for a test that is marked so each with virtual time."""
    backend: Any = request.param
    given: tuple[str, dict[str, Any]] = backend.as_anyio() if isinstance(backend, Backend) else backend
    return given


in_virtual_time = pytest.mark.parametrize("anyio_backend", backends(seeds=[None, 1, 2]), ids=str, indirect=True)

STRATEGIES: list[Any] = [
    Sequential(),
    Sequential(errors="collect"),
    Concurrent(),
    Concurrent(limit=1, errors="collect"),
    Race(),
]

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)


def yes(event: object) -> bool:
    return True


def no(event: object) -> bool:
    return False


class Failing(Exception):
    pass


def fail(event: object) -> bool:
    raise Failing


ALONE: dict[str, Any] = {"once": True, "where": yes, "timeout": NEVER, "limit": 1}

#: Every subset of the four.
COMBINATIONS: list[dict[str, Any]] = [
    {option: ALONE[option] for option, wanted in zip(ALONE, chosen, strict=True) if wanted}
    for chosen in product((False, True), repeat=len(ALONE))
]

every_combination = pytest.mark.parametrize("options", COMBINATIONS, ids=lambda options: "+".join(options) or "none")


async def errors_of(dispatcher: AsyncEventDispatcher, strategy: Any = None) -> list[BaseException]:
    """Dispatch, and give what left of it, taken out of its groups."""
    try:
        await dispatcher.adispatch("hymn", strategy=strategy)
    except BaseExceptionGroup as group:
        return list(group.exceptions)
    except Exception as error:
        return [error]
    return []


# Any combination


@every_strategy
async def test_a_listener_with_any_options_hears_an_event_that_they_all_allow(strategy: Any) -> None:
    for options in COMBINATIONS:
        dispatcher, log = AsyncEventDispatcher(strategy=strategy), []

        @dispatcher.listen("hymn", **options)
        async def sing(event: Event) -> None:
            log.append(event)

        events = [await dispatcher.adispatch("hymn", Event()) for _ in range(3)]

        assert log == (events[:1] if "once" in options else events), options


async def test_a_listener_with_any_options_runs_in_the_task_and_context_of_a_sequential_dispatch() -> None:
    for options in COMBINATIONS:
        dispatcher, tasks = AsyncEventDispatcher(), []

        @dispatcher.listen("hymn", **options)
        async def sing(event: Event) -> None:
            tasks.append(anyio.get_current_task().id)

        await dispatcher.adispatch("hymn")

        assert tasks == [anyio.get_current_task().id], options


@every_strategy
async def test_the_error_of_a_listener_with_any_options_leaves_as_the_same_object(strategy: Any) -> None:
    for options in COMBINATIONS:
        dispatcher, error = AsyncEventDispatcher(), Failing()

        @dispatcher.listen("hymn", **options)
        async def sing(event: Event) -> None:
            raise error

        assert (await errors_of(dispatcher, strategy))[0] is error, options


@every_strategy
async def test_a_listener_with_any_options_that_was_removed_during_the_dispatch_is_asked_nothing(strategy: Any) -> None:
    for options in COMBINATIONS:
        dispatcher, log = AsyncEventDispatcher(), []

        def asked(event: Event) -> bool:
            log.append("asked")
            return True

        @dispatcher.listen("hymn", priority=-1)
        async def remove(event: Event) -> None:
            dispatcher.remove_listener("hymn", sing)

        @dispatcher.listen("hymn", **{**options, **({"where": asked} if "where" in options else {})})
        async def sing(event: Event) -> None:
            log.append("sung")

        await dispatcher.adispatch("hymn", strategy=strategy)

        assert log == [], options


async def test_a_refusal_uses_up_none_of_the_options() -> None:
    for options in COMBINATIONS:
        dispatcher, log, willing = AsyncEventDispatcher(), [], False

        @dispatcher.listen("hymn", **{**options, "where": lambda event: willing})
        async def sing(event: Event) -> None:
            log.append("sung")

        for _ in range(3):
            await dispatcher.adispatch("hymn")
        willing = True
        await dispatcher.adispatch("hymn")

        assert log == ["sung"], options


@every_strategy
async def test_a_failing_where_uses_up_none_of_the_options(strategy: Any) -> None:
    for options in COMBINATIONS:
        dispatcher, log = AsyncEventDispatcher(strategy=strategy), []
        answers: list[Callable[[Any], bool]] = [fail, fail, yes]

        @dispatcher.listen("hymn", **{**options, "where": lambda event: answers.pop(0)(event)})
        async def sing(event: Event) -> None:
            log.append("sung")

        failures = [await errors_of(dispatcher) for _ in range(3)]

        assert ([[type(error) for error in each] for each in failures], log) == (
            [[Failing], [Failing], []],
            ["sung"],
        ), options


@every_strategy
async def test_a_listener_with_any_options_that_is_cancelled_before_its_start_keeps_its_call(strategy: Any) -> None:
    for options in COMBINATIONS:
        dispatcher, log = AsyncEventDispatcher(), []

        @dispatcher.listen("hymn", **options)
        async def sing(event: Event) -> None:
            log.append("sung")

        with anyio.CancelScope() as scope:
            scope.cancel()
            await dispatcher.adispatch("hymn", strategy=strategy)

        # A sequential dispatch has no checkpoint of its own: there the listener may well have started.
        assert bool(log) or dispatcher.has_listeners("hymn"), options


async def test_a_listener_with_any_options_leaves_no_reference_behind() -> None:
    for options in COMBINATIONS:
        dispatcher = AsyncEventDispatcher()

        async def sing(event: Event) -> None: ...

        witness = weakref.ref(sing)
        dispatcher.add_listener("hymn", sing, **options)
        await dispatcher.adispatch("hymn")
        if "once" not in options:
            dispatcher.remove_listener("hymn", sing)
        del sing
        gc.collect()

        assert witness() is None, options


# once


@every_strategy
async def test_once_is_claimed_before_the_call_so_that_the_listener_itself_is_not_called_again(strategy: Any) -> None:
    dispatcher, log = AsyncEventDispatcher(strategy=strategy), []

    @dispatcher.listen("hymn", once=True, limit=1, timeout=NEVER)
    async def sing(event: Event) -> None:
        log.append(dispatcher.has_listeners("hymn"))
        await dispatcher.adispatch("hymn")

    await dispatcher.adispatch("hymn")

    assert log == [False]


@every_strategy
async def test_where_is_asked_by_every_overlapping_dispatch_but_once_is_claimed_by_one(strategy: Any) -> None:
    dispatcher, log, go_on = AsyncEventDispatcher(strategy=strategy), [], anyio.Event()

    def asked(event: Event) -> bool:
        log.append("asked")
        return True

    @dispatcher.listen("hymn", priority=-1)
    async def wait(event: Event) -> None:
        await go_on.wait()

    @dispatcher.listen("hymn", once=True, where=asked)
    async def sing(event: Event) -> None:
        log.append("sung")

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(dispatcher.adispatch, "hymn")
        await settle()
        go_on.set()

    assert log == ["asked", "sung"]


async def test_once_is_the_claim_of_one_registration_and_not_of_the_listener(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    listener = make_recording_listener(dispatcher, log, "sung")
    dispatcher.add_listener("hymn", listener, once=True)
    dispatcher.add_listener("psalm", listener, once=True)

    for name in ("hymn", "hymn", "psalm", "psalm"):
        await dispatcher.adispatch(name, Event())

    assert log == ["sung", "sung"]


async def test_the_handle_of_a_used_up_registration_takes_nothing_back(dispatcher: AnyDispatcher) -> None:
    subscription = dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: None), once=True, where=yes)
    await dispatcher.adispatch("hymn", Event())

    assert subscription.unsubscribe() is False


@in_virtual_time
async def test_a_call_that_is_cancelled_has_used_up_its_once() -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("hymn", once=True)
    async def sing(event: Event) -> None:
        await anyio.sleep_forever()

    with anyio.move_on_after(SOON):
        await dispatcher.adispatch("hymn")

    assert not dispatcher.has_listeners()


# where


async def test_where_is_given_the_event(dispatcher: AnyDispatcher) -> None:
    seen: list[Any] = []

    def where(event: Any) -> bool:
        seen.append(event)
        return True

    dispatcher.add_listener("hymn", make_listener(dispatcher, seen.append), where=where)

    event = await dispatcher.adispatch("hymn", Event())

    assert seen == [event, event]


@pytest.mark.parametrize("answer", [1, "yes", [0], object()], ids=without_address)
async def test_what_counts_as_true_is_a_yes(dispatcher: AnyDispatcher, answer: object) -> None:
    log: list[str] = []
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "sung"), where=lambda event: answer)

    await dispatcher.adispatch("hymn", Event())

    assert log == ["sung"]


@pytest.mark.parametrize("answer", [0, "", [], None], ids=repr)
async def test_what_counts_as_false_is_a_no(dispatcher: AnyDispatcher, answer: object) -> None:
    log: list[str] = []
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "sung"), where=lambda event: answer)

    await dispatcher.adispatch("hymn", Event())

    assert log == []


async def test_where_sees_what_earlier_listeners_made_of_the_event(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    def raise_pitch(event: Any) -> None:
        event.pitch = 440

    dispatcher.add_listener("hymn", make_listener(dispatcher, raise_pitch), priority=-1)
    dispatcher.add_listener(
        "hymn", make_recording_listener(dispatcher, log, "sung"), where=lambda event: event.pitch == 440
    )

    await dispatcher.adispatch("hymn", Event())

    assert log == ["sung"]


async def test_where_is_not_asked_behind_a_stop(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    dispatcher.add_listener("hymn", make_listener(dispatcher, Event.stop_propagation), priority=-1)
    dispatcher.add_listener(
        "hymn", make_recording_listener(dispatcher, log, "sung"), where=lambda event: log.append("asked")
    )

    await dispatcher.adispatch("hymn", Event())

    assert log == []


async def test_what_where_raises_is_the_error_of_its_listener(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener("hymn", listener, where=fail)

    with pytest.raises(Failing) as caught:
        await dispatcher.adispatch("hymn", Event())

    assert any(listener.__qualname__ in note for note in caught.value.__notes__)


@pytest.mark.parametrize("strategy", [Sequential, Concurrent, Race])
async def test_a_policy_is_told_what_where_raised_and_of_whom(strategy: Any) -> None:
    told: list[Any] = []
    dispatcher = AsyncEventDispatcher(strategy=strategy(errors=lambda *what: told.append(what)))

    @dispatcher.listen("hymn", where=fail)
    async def sing(event: Event) -> None: ...

    event = await dispatcher.adispatch("hymn")

    assert [(type(error), about, listener) for error, about, listener in told] == [(Failing, event, sing)]


async def test_a_where_that_removes_its_own_listener_keeps_it_from_starting(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    listener = make_recording_listener(dispatcher, log, "sung")

    def remove(event: Event) -> bool:
        dispatcher.remove_listener("hymn", listener)
        return True

    dispatcher.add_listener("hymn", listener, where=remove)
    await dispatcher.adispatch("hymn", Event())

    assert log == []


# timeout


@in_virtual_time
@every_strategy
async def test_a_timeout_is_a_timeout_error_of_its_listener(strategy: Any) -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("hymn", timeout=SOON)
    async def sing_on(event: Event) -> None:
        await anyio.sleep_forever()

    (error,) = await errors_of(dispatcher, strategy)

    assert isinstance(error, TimeoutError)
    assert any("sing_on" in note for note in error.__notes__)


@in_virtual_time
@pytest.mark.parametrize("strategy", [Sequential, Concurrent, Race])
async def test_a_policy_is_told_of_a_timeout_and_the_dispatch_goes_on(strategy: Any) -> None:
    log: list[Any] = []
    dispatcher = AsyncEventDispatcher(
        strategy=strategy(errors=lambda error, event, who: log.append((type(error), who)))
    )

    @dispatcher.listen("hymn", timeout=SOON)
    async def sing_on(event: Event) -> None:
        await anyio.sleep_forever()

    @dispatcher.listen("hymn", priority=1)
    async def close(event: Event) -> None:
        log.append("closed")

    await dispatcher.adispatch("hymn")

    assert log == [(TimeoutError, sing_on), "closed"]


@in_virtual_time
@pytest.mark.parametrize("strategy", [Sequential(errors="collect"), Concurrent(errors="collect")], ids=repr)
async def test_a_timeout_ends_its_listener_alone(strategy: Any) -> None:
    dispatcher, log = AsyncEventDispatcher(strategy=strategy), []

    @dispatcher.listen("hymn", timeout=SOON)
    async def sing_on(event: Event) -> None:
        await anyio.sleep_forever()

    @dispatcher.listen("hymn")
    async def sing(event: Event) -> None:
        await anyio.lowlevel.checkpoint()
        log.append("sung")

    errors = await errors_of(dispatcher)

    assert ([type(error) for error in errors], log) == ([TimeoutError], ["sung"])


@in_virtual_time
async def test_a_timeout_uses_up_the_once() -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("hymn", once=True, timeout=SOON)
    async def sing_on(event: Event) -> None:
        await anyio.sleep_forever()

    with pytest.raises(TimeoutError):
        await dispatcher.adispatch("hymn")

    assert not dispatcher.has_listeners("hymn")


@in_virtual_time
async def test_a_timeout_gives_the_place_under_the_limit_back() -> None:
    dispatcher, log = AsyncEventDispatcher(), list[Any]()

    @dispatcher.listen("hymn", timeout=SOON, limit=1)
    async def sing(event: Any) -> None:
        if log:
            log.append("sung")
        else:
            log.append("too long")
            await anyio.sleep_forever()

    with pytest.raises(TimeoutError):
        await dispatcher.adispatch("hymn")
    await dispatcher.adispatch("hymn")

    assert log == ["too long", "sung"]


@in_virtual_time
@every_strategy
async def test_what_a_listener_raises_at_its_timeout_is_its_error(strategy: Any) -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("hymn", timeout=SOON)
    async def sing_on(event: Event) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise Failing

    assert [type(error) for error in await errors_of(dispatcher, strategy)] == [Failing]


@in_virtual_time
async def test_a_cancellation_from_outside_is_no_timeout() -> None:
    dispatcher = AsyncEventDispatcher(strategy=Sequential(errors="collect"))

    @dispatcher.listen("hymn", timeout=NEVER)
    async def sing_on(event: Event) -> None:
        await anyio.sleep_forever()

    with anyio.move_on_after(SOON) as scope:
        await dispatcher.adispatch("hymn")

    assert scope.cancelled_caught


async def test_an_infinite_timeout_is_none() -> None:
    dispatcher, log = AsyncEventDispatcher(), []

    @dispatcher.listen("hymn", timeout=math.inf)
    async def sing(event: Event) -> None:
        log.append("sung")

    await dispatcher.adispatch("hymn")

    assert log == ["sung"]


@pytest.mark.parametrize("backend", backends(seeds=[None, 1, 2]), ids=str)
def test_a_timeout_ends_a_listener_at_its_time(backend: Backend) -> None:
    async def main() -> float:
        dispatcher = AsyncEventDispatcher()

        @dispatcher.listen("hymn", timeout=7)
        async def sing_on(event: Event) -> None:
            await anyio.sleep(8)

        before = anyio.current_time()
        with pytest.raises(TimeoutError):
            await dispatcher.adispatch("hymn")
        return anyio.current_time() - before

    assert backend.run(main) == pytest.approx(7)


@pytest.mark.parametrize("backend", backends(seeds=[None, 1, 2]), ids=str)
def test_a_timeout_starts_to_count_when_the_wait_for_the_limit_is_over(backend: Backend) -> None:
    async def main() -> list[float]:
        dispatcher, sung = AsyncEventDispatcher(), []

        @dispatcher.listen("hymn", timeout=7, limit=1)
        async def sing(event: Event) -> None:
            await anyio.sleep(5)
            sung.append(anyio.current_time() - before)

        before = anyio.current_time()
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(dispatcher.adispatch, "hymn")
        return sung

    assert backend.run(main) == pytest.approx([5, 10, 15])


@pytest.mark.parametrize("backend", backends(seeds=[None, 1, 2]), ids=str)
def test_each_call_has_its_own_timeout(backend: Backend) -> None:
    async def main() -> list[int]:
        dispatcher, sung = AsyncEventDispatcher(), []

        @dispatcher.listen("hymn", timeout=7)
        async def sing(event: Event) -> None:
            await anyio.sleep(5)
            sung.append(1)

        for _ in range(3):
            await dispatcher.adispatch("hymn")
        return sung

    assert backend.run(main) == [1, 1, 1]


# limit


class Choir:
    """A limited listener that counts how many of its calls run, until it is told to go on."""

    def __init__(self) -> None:
        self.running = self.most = self.sung = 0
        self.go_on = anyio.Event()

    async def sing(self, event: Event) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.go_on.wait()
            self.sung += 1
        finally:
            self.running -= 1


@every_strategy
@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_no_more_calls_than_the_limit_run_at_a_time_and_none_is_lost(strategy: Any, limit: int) -> None:
    dispatcher, choir = AsyncEventDispatcher(strategy=strategy), Choir()
    dispatcher.add_listener("hymn", choir.sing, limit=limit)

    async with anyio.create_task_group() as group:
        for _ in range(7):
            group.start_soon(dispatcher.adispatch, "hymn")
        await settle()
        choir.go_on.set()

    assert (choir.most, choir.sung, choir.running) == (limit, 7, 0)


async def test_the_limit_belongs_to_the_registration() -> None:
    dispatcher, choir = AsyncEventDispatcher(strategy=Concurrent()), Choir()
    dispatcher.add_listener("hymn", choir.sing, limit=1)
    dispatcher.add_listener("hymn", choir.sing, limit=1)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(dispatcher.adispatch, "hymn")
        await settle()
        choir.go_on.set()

    assert (choir.most, choir.sung) == (2, 6)


async def test_the_limit_holds_for_all_names_and_through_scopes() -> None:
    dispatcher, choir = AsyncEventDispatcher(), Choir()
    dispatcher.add_listener("**", choir.sing, limit=1)

    with dispatcher.scope() as scoped:
        async with anyio.create_task_group() as group:
            group.start_soon(dispatcher.adispatch, "hymn")
            group.start_soon(scoped.adispatch, "psalm")
            await settle()
            choir.go_on.set()

    assert (choir.most, choir.sung) == (1, 2)


async def test_calls_wait_for_the_limit_in_the_order_they_came() -> None:
    dispatcher, log, go_on = AsyncEventDispatcher(), [], anyio.Event()

    @dispatcher.listen("hymn", limit=1)
    async def sing(event: Any) -> None:
        await go_on.wait()
        log.append(event)

    async with anyio.create_task_group() as group:
        events = [Event() for _ in range(4)]
        for event in events:
            group.start_soon(dispatcher.adispatch, "hymn", event)
            await settle()
        go_on.set()

    assert log == events


async def test_a_listener_that_is_removed_while_it_waits_for_the_limit_does_not_start() -> None:
    dispatcher, choir = AsyncEventDispatcher(), Choir()
    subscription = dispatcher.add_listener("hymn", choir.sing, limit=1)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(dispatcher.adispatch, "hymn")
        await settle()
        subscription.unsubscribe()
        choir.go_on.set()

    assert choir.sung == 1


async def test_a_call_that_is_cancelled_while_it_waits_takes_no_place() -> None:
    dispatcher, choir = AsyncEventDispatcher(), Choir()
    dispatcher.add_listener("hymn", choir.sing, limit=1)

    async with anyio.create_task_group() as group:
        group.start_soon(dispatcher.adispatch, "hymn")
        await settle()
        async with anyio.create_task_group() as impatient:
            impatient.start_soon(dispatcher.adispatch, "hymn")
            await settle()
            impatient.cancel_scope.cancel()
        group.start_soon(dispatcher.adispatch, "hymn")
        await settle()
        choir.go_on.set()

    assert (choir.most, choir.sung) == (1, 2)


@in_virtual_time
@pytest.mark.parametrize("ending", [Failing, None], ids=["an error", "a cancellation"])
async def test_a_call_that_ends_badly_gives_its_place_back(ending: type[Exception] | None) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[Any]()

    @dispatcher.listen("hymn", limit=1)
    async def sing(event: Event) -> None:
        if not log:
            log.append("failed")
            if ending is not None:
                raise ending
            await anyio.sleep_forever()
        log.append("sung")

    with anyio.move_on_after(SOON):
        await errors_of(dispatcher)
    await dispatcher.adispatch("hymn")

    assert log == ["failed", "sung"]


async def test_the_limit_is_counted_for_each_event_loop() -> None:
    dispatcher, calls = AsyncEventDispatcher(), []

    @dispatcher.listen("hymn", limit=1)
    async def sing(event: Event) -> None:
        calls.append(event)
        if len(calls) == 1:
            await anyio.to_thread.run_sync(in_another_loop)

    def in_another_loop() -> None:
        # The other loop is one of another thread, which this call waits for: what runs there has a count of its own.
        anyio.run(partial(dispatcher.adispatch, "hymn"))

    await dispatcher.adispatch("hymn")

    assert len(calls) == 2


def test_a_limited_listener_works_in_one_loop_after_the_other() -> None:
    dispatcher, choirs = AsyncEventDispatcher(), []

    @dispatcher.listen("hymn", limit=1)
    async def sing(event: Event) -> None:
        await anyio.lowlevel.checkpoint()
        choirs.append("sung")

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(dispatcher.adispatch, "hymn")

    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(main, backend=backend)

    assert choirs == ["sung"] * 6


def test_a_limited_listener_keeps_no_loop_alive() -> None:
    dispatcher = AsyncEventDispatcher()
    loops: list[weakref.ref[Any]] = []

    @dispatcher.listen("hymn", limit=1)
    async def sing(event: Event) -> None:
        loops.append(weakref.ref(anyio.lowlevel.current_token().native_token))
        await anyio.lowlevel.checkpoint()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(dispatcher.adispatch, "hymn")

    for backend in ("asyncio", "trio"):
        anyio.run(main, backend=backend)
    gc.collect()

    assert [loop() for loop in loops] == [None] * 6


# A limited listener that dispatches what it hears itself


@every_strategy
@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_a_listener_that_re_enters_itself_beyond_its_limit_is_an_error_and_no_deadlock(
    strategy: Any, limit: int
) -> None:
    dispatcher, depth = AsyncEventDispatcher(), 0

    @dispatcher.listen("hymn", limit=limit)
    async def sing(event: Event) -> None:
        nonlocal depth
        depth += 1
        await dispatcher.adispatch("hymn", strategy=strategy)

    with pytest.raises((RuntimeError, ExceptionGroup)) as caught:
        await dispatcher.adispatch("hymn", strategy=strategy)

    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, RuntimeError)
    assert f"may run {limit} at a time" in str(error)
    assert depth == limit


async def test_a_listener_may_re_enter_itself_up_to_its_limit() -> None:
    dispatcher, depth = AsyncEventDispatcher(), 0

    @dispatcher.listen("hymn", limit=3)
    async def sing(event: Event) -> None:
        nonlocal depth
        depth += 1
        if depth < 3:
            await dispatcher.adispatch("hymn")

    await dispatcher.adispatch("hymn")

    assert depth == 3


async def test_re_entering_by_way_of_another_dispatcher_is_seen_too() -> None:
    here, there = AsyncEventDispatcher(), AsyncEventDispatcher()

    @here.listen("hymn", limit=1)
    async def sing(event: Event) -> None:
        await there.adispatch("psalm")

    @there.listen("psalm", limit=1)
    async def answer(event: Event) -> None:
        await here.adispatch("hymn")

    with pytest.raises(RuntimeError, match=r"sing.* may run 1 at a time"):
        await here.adispatch("hymn")


async def test_re_entering_by_way_of_a_worker_thread_is_seen_too() -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("hymn", limit=1)
    async def sing(event: Event) -> None:
        await anyio.to_thread.run_sync(partial(anyio.from_thread.run, dispatcher.adispatch, "hymn"))

    with pytest.raises(RuntimeError, match="may run 1 at a time"):
        await dispatcher.adispatch("hymn")


async def test_re_entering_by_way_of_a_task_that_the_listener_waits_for_is_seen_too() -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("hymn", limit=1)
    async def sing(event: Event) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(dispatcher.adispatch, "hymn")

    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("hymn")

    assert caught.group_contains(RuntimeError, match="may run 1 at a time")


@in_virtual_time
@pytest.mark.parametrize("limit", [2, 3])
async def test_calls_that_all_re_enter_themselves_do_not_wait_for_each_other(limit: int) -> None:
    dispatcher, running, together = AsyncEventDispatcher(), 0, anyio.Event()
    errors: list[BaseException] = []

    @dispatcher.listen("hymn", limit=limit)
    async def sing(event: Event) -> None:
        nonlocal running
        running += 1
        if running == limit:
            together.set()
        await together.wait()
        if running <= limit:
            await dispatcher.adispatch("hymn")

    async def dispatch() -> None:
        errors.extend(await errors_of(dispatcher))

    with anyio.move_on_after(SOON) as deadlock:
        async with anyio.create_task_group() as group:
            for _ in range(limit):
                group.start_soon(dispatch)

    assert not deadlock.cancelled_caught
    assert {type(error) for error in errors} <= {RuntimeError}


async def test_a_call_that_re_enters_itself_waits_for_another_that_works() -> None:
    dispatcher, log, go_on = AsyncEventDispatcher(), [], anyio.Event()

    class OrderPlaced(Event):
        def __init__(self, what: str) -> None:
            self.what = what

    @dispatcher.listen("order.placed", limit=2)
    async def book(event: OrderPlaced) -> None:
        if event.what == "works":
            await go_on.wait()
        elif event.what == "re-enters":
            await dispatcher.adispatch("order.placed", OrderPlaced("inner"))
        log.append(event.what)

    async with anyio.create_task_group() as group:
        group.start_soon(dispatcher.adispatch, "order.placed", OrderPlaced("works"))
        await settle()
        group.start_soon(dispatcher.adispatch, "order.placed", OrderPlaced("re-enters"))
        await settle()
        assert log == []
        go_on.set()

    assert log == ["works", "inner", "re-enters"]


async def test_a_where_that_says_no_keeps_a_limited_listener_from_re_entering_itself() -> None:
    dispatcher, log = AsyncEventDispatcher(), []

    @dispatcher.listen("hymn", limit=1, where=lambda event: not log)
    async def sing(event: Event) -> None:
        log.append("sung")
        await dispatcher.adispatch("hymn")

    await dispatcher.adispatch("hymn")

    assert log == ["sung"]


async def test_a_task_that_a_call_left_behind_is_not_taken_for_the_call() -> None:
    dispatcher, log, over = AsyncEventDispatcher(), [], anyio.Event()

    async def follow() -> None:
        await over.wait()
        await dispatcher.adispatch("hymn")

    async with anyio.create_task_group() as group:

        @dispatcher.listen("hymn", limit=1)
        async def sing(event: Event) -> None:
            log.append("sung")
            if len(log) == 1:
                group.start_soon(follow)

        await dispatcher.adispatch("hymn")
        over.set()

    assert log == ["sung", "sung"]


async def test_a_task_that_a_call_left_behind_waits_for_other_calls() -> None:
    dispatcher, log, over, go_on = AsyncEventDispatcher(), [], anyio.Event(), anyio.Event()

    async def follow() -> None:
        await over.wait()
        await dispatcher.adispatch("hymn")

    async with anyio.create_task_group() as group:

        @dispatcher.listen("hymn", limit=1)
        async def sing(event: Event) -> None:
            log.append("begun")
            if len(log) == 1:
                group.start_soon(follow)
            elif len(log) == 2:
                await go_on.wait()

        await dispatcher.adispatch("hymn")
        group.start_soon(dispatcher.adispatch, "hymn")
        await settle()
        over.set()
        await settle()
        waiting = list(log)
        go_on.set()

    assert (waiting, log) == (["begun"] * 2, ["begun"] * 3)


async def test_a_limited_listener_may_post_to_a_queue_what_it_hears_itself() -> None:
    dispatcher, log = AsyncEventDispatcher(), []

    async with dispatcher.queue(max_buffer_size=4) as queue:

        @dispatcher.listen("hymn", limit=1)
        async def sing(event: Event) -> None:
            log.append("begun")
            if len(log) == 1:
                await queue.post("hymn", Event())
                # Until the queue has taken it, and waits for us to end.
                await settle()
            log.append("ended")

        await dispatcher.adispatch("hymn")

    assert log == ["begun", "ended"] * 2


async def test_a_task_that_a_call_left_behind_keeps_no_listener_alive() -> None:
    dispatcher, over = AsyncEventDispatcher(), anyio.Event()

    async with anyio.create_task_group() as group:

        async def sing(event: Event) -> None:
            group.start_soon(over.wait)

        witness = weakref.ref(sing)
        with dispatcher.add_listener("hymn", sing, limit=1):
            await dispatcher.adispatch("hymn")
        del sing
        await settle()
        gc.collect()
        kept = witness()
        over.set()

    assert kept is None


async def test_calls_that_each_leave_the_next_one_behind_carry_nothing_along() -> None:
    dispatcher, carried = AsyncEventDispatcher(), []

    async def follow() -> None:
        await settle()
        await dispatcher.adispatch("hymn")

    async with anyio.create_task_group() as group:

        @dispatcher.listen("hymn", limit=1)
        async def sing(event: Event) -> None:
            carried.append(sum(len(value) for value in copy_context().values() if isinstance(value, tuple)))
            if len(carried) < 5:
                group.start_soon(follow)

        await dispatcher.adispatch("hymn")

    assert len(carried) == 5
    assert carried[-1] == carried[1]


# What the options refuse


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"where": 3}, TypeError),
        ({"where": "sunday"}, TypeError),
        ({"where": AsyncMock()}, TypeError),
        ({"timeout": "1"}, TypeError),
        ({"once": 0}, TypeError),
        ({"timeout": True}, TypeError),
        ({"timeout": 0}, ValueError),
        ({"timeout": -1}, ValueError),
        ({"timeout": math.nan}, ValueError),
        ({"limit": 1.0}, TypeError),
        ({"limit": True}, TypeError),
        ({"limit": 0}, ValueError),
        ({"limit": -2}, ValueError),
    ],
    ids=without_address,
)
def test_an_option_that_makes_no_sense_is_refused_and_nothing_is_registered(
    options: dict[str, Any], error: type[Exception]
) -> None:
    dispatcher, (option,) = AsyncEventDispatcher(), options

    async def sing(event: Event) -> None: ...

    for register in (
        lambda: dispatcher.add_listener("hymn", sing, **options),
        lambda: dispatcher.listen("hymn", **options),
        lambda: dispatcher.temporarily().add_listener("hymn", sing, **options),
        lambda: dispatcher.temporarily().listen("hymn", **options)(sing),
    ):
        with pytest.raises(error, match=f"{option}="):
            register()

    assert not dispatcher.has_listeners()


@pytest.mark.parametrize(
    ("option", "number"),
    [("timeout", 10**400), ("timeout", 10**5000), ("timeout", -(10**5000)), ("limit", -(10**5000))],
    ids=["more than a float", "more than has digits", "less than has digits", "limit"],
)
def test_a_number_out_of_range_is_refused_when_it_is_registered(option: str, number: int) -> None:
    dispatcher, options = AsyncEventDispatcher(), {option: number}

    async def sing(event: Event) -> None: ...

    with pytest.raises(ValueError, match=f"{option}= is how"):
        dispatcher.add_listener("hymn", sing, **options)  # type: ignore[arg-type]
    assert not dispatcher.has_listeners()


def test_options_are_keywords_only(dispatcher: AnyDispatcher) -> None:
    with pytest.raises(TypeError):
        dispatcher.add_listener("hymn", make_listener(dispatcher, print), 0, True)  # type: ignore[call-arg]  # the slip under test

    assert not dispatcher.has_listeners()


@pytest.mark.parametrize("option", ["timeout", "limit"])
def test_what_needs_an_event_loop_is_refused_by_a_dispatcher_without_one(option: str) -> None:
    dispatcher, options = EventDispatcher(), {option: 1}

    for register in (
        lambda: dispatcher.add_listener("hymn", print, **options),  # type: ignore[arg-type]  # the slip under test
        lambda: dispatcher.listen("hymn", **options),  # type: ignore[arg-type]  # the slip under test
        lambda: dispatcher.scope().add_listener("hymn", print, **options),  # type: ignore[arg-type]  # the slip under test
    ):
        with pytest.raises(TypeError, match=f"{option}= is for listeners of an AsyncEventDispatcher"):
            register()

    assert not dispatcher.has_listeners()


# The handle of a listener with options


@every_combination
def test_a_handle_tells_what_it_was_registered_with(options: dict[str, Any]) -> None:
    dispatcher = AsyncEventDispatcher()

    async def sing(event: Event) -> None: ...

    subscription = dispatcher.add_listener("hymn", sing, priority=3, **options)

    assert (subscription.listener, subscription.priority) == (sing, 3)
    assert {option: value for option, value in subscription.options._asdict().items() if value} == options


@every_combination
def test_options_change_nothing_in_who_is_looked_up_and_removed(options: dict[str, Any]) -> None:
    dispatcher = AsyncEventDispatcher()

    async def sing(event: Event) -> None: ...

    dispatcher.add_listener("hymn", sing, **options)
    heard = dispatcher.get_listeners("hymn")
    dispatcher.remove_listener("hymn", sing)

    assert (heard, dispatcher.has_listeners()) == ((sing,), False)


def test_without_options_the_listener_itself_is_called() -> None:
    dispatcher = AsyncEventDispatcher()

    async def sing(event: Event) -> None: ...

    assert dispatcher.add_listener("hymn", sing, once=False, where=None, timeout=None, limit=None).call is sing
