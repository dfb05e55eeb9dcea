"""Rule 4: ``once``, ``where`` and ``timeout``, alone and together, and the order in which they apply.

The limit has tests of its own, in ``test_limit.py``.
"""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
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

PLACED = "order.placed"
#: A span that passes at once in virtual time, and one that no test waits for.
SOON, NEVER = 1.0, 3600.0


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Every backend in turn; for a test marked with ``in_virtual_time``, each with virtual time."""
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
every_kind = pytest.mark.parametrize("kind", [Sequential, Concurrent, Race])


class Failing(Exception): ...


def yes(event: object) -> bool:
    return True


def fail(event: object) -> bool:
    raise Failing


ALONE: dict[str, Any] = {"once": True, "where": yes, "timeout": NEVER, "limit": 1}

#: Every subset of the four.
COMBINATIONS: list[dict[str, Any]] = [
    {option: ALONE[option] for option, wanted in zip(ALONE, chosen, strict=True) if wanted}
    for chosen in product((False, True), repeat=len(ALONE))
]

every_combination = pytest.mark.parametrize("options", COMBINATIONS, ids=lambda options: "+".join(options) or "none")


async def get_errors(dispatcher: AsyncEventDispatcher, strategy: Any = None) -> list[BaseException]:
    """Dispatch, and return what left, without its group."""
    try:
        await dispatcher.adispatch(PLACED, strategy=strategy)
    except BaseExceptionGroup as group:
        return list(group.exceptions)
    except Exception as error:
        return [error]
    return []


async def wait_forever(event: Event) -> None:
    await anyio.sleep_forever()


# Any combination


@every_strategy
async def test_any_options_let_an_accepted_event_through(strategy: Any) -> None:
    for options in COMBINATIONS:
        dispatcher, log, tasks = AsyncEventDispatcher(strategy=strategy), [], set()

        @dispatcher.listen(PLACED, **options)
        async def charge(event: Event) -> None:
            log.append(event)
            tasks.add(anyio.get_current_task().id)

        events = [await dispatcher.adispatch(PLACED, Event()) for _ in range(3)]

        assert log == (events[:1] if "once" in options else events), options
        assert tasks == {anyio.get_current_task().id} or not isinstance(strategy, Sequential), options


@every_strategy
async def test_an_error_leaves_any_options_as_the_same_object(strategy: Any) -> None:
    for options in COMBINATIONS:
        dispatcher, error = AsyncEventDispatcher(), Failing()

        @dispatcher.listen(PLACED, **options)
        async def charge(event: Event) -> None:
            raise error

        assert (await get_errors(dispatcher, strategy))[0] is error, options


@every_strategy
async def test_the_options_of_a_removed_listener_are_not_asked(strategy: Any) -> None:
    for options in COMBINATIONS:
        dispatcher, log = AsyncEventDispatcher(), []

        @dispatcher.listen(PLACED, priority=-1)
        async def remove(event: Event) -> None:
            dispatcher.remove_listener(PLACED, charge)

        where = {"where": lambda event: log.append("asked") or True} if "where" in options else {}

        @dispatcher.listen(PLACED, **{**options, **where})
        async def charge(event: Event) -> None:
            log.append("called")

        await dispatcher.adispatch(PLACED, strategy=strategy)

        assert log == [], options


@every_strategy
@pytest.mark.parametrize("refuse", [lambda event: False, fail], ids=["no", "error"])
async def test_a_false_or_failing_where_uses_up_no_option(strategy: Any, refuse: Any) -> None:
    for options in COMBINATIONS:
        dispatcher, log = AsyncEventDispatcher(strategy=strategy), []
        answers: list[Callable[[Any], bool]] = [refuse, refuse, yes]

        @dispatcher.listen(PLACED, **{**options, "where": lambda event: answers.pop(0)(event)})
        async def charge(event: Event) -> None:
            log.append("called")

        failures = [[type(error) for error in await get_errors(dispatcher)] for _ in range(3)]

        assert (failures, log) == ([[Failing] * (refuse is fail)] * 2 + [[]], ["called"]), options


@every_strategy
async def test_a_listener_cancelled_before_its_start_keeps_its_call(strategy: Any) -> None:
    for options in COMBINATIONS:
        dispatcher, log = AsyncEventDispatcher(), []

        @dispatcher.listen(PLACED, **options)
        async def charge(event: Event) -> None:
            log.append("called")

        with anyio.CancelScope() as scope:
            scope.cancel()
            await dispatcher.adispatch(PLACED, strategy=strategy)

        # A sequential dispatch has no checkpoint of its own: there the listener may well have started.
        assert bool(log) or dispatcher.has_listeners(PLACED), options


@every_combination
async def test_options_change_neither_handle_nor_removal(options: dict[str, Any]) -> None:
    dispatcher = AsyncEventDispatcher()

    async def charge(event: Event) -> None: ...

    reference = weakref.ref(charge)
    subscription = dispatcher.add_listener(PLACED, charge, priority=3, **options)
    assert (subscription.listener, subscription.priority) == (charge, 3)
    assert {option: value for option, value in subscription.options._asdict().items() if value} == options
    assert dispatcher.get_listeners(PLACED) == (charge,)
    dispatcher.remove_listener(PLACED, charge)
    assert not dispatcher.has_listeners()

    dispatcher.add_listener(PLACED, charge, **options)
    await dispatcher.adispatch(PLACED)
    if "once" not in options:
        dispatcher.remove_listener(PLACED, charge)
    del charge, subscription
    gc.collect()

    assert reference() is None


def test_without_options_the_listener_itself_is_called() -> None:
    async def charge(event: Event) -> None: ...

    options: dict[str, Any] = {"once": False, "where": None, "timeout": None, "limit": None}
    assert AsyncEventDispatcher().add_listener(PLACED, charge, **options).call is charge


# once


@every_strategy
async def test_once_is_claimed_before_the_call(strategy: Any) -> None:
    dispatcher, log = AsyncEventDispatcher(strategy=strategy), []

    @dispatcher.listen(PLACED, once=True, limit=1, timeout=NEVER)
    async def charge(event: Event) -> None:
        log.append(dispatcher.has_listeners(PLACED))
        await dispatcher.adispatch(PLACED)

    await dispatcher.adispatch(PLACED)

    assert log == [False]


@every_strategy
async def test_once_is_claimed_by_one_of_overlapping_dispatches(strategy: Any) -> None:
    dispatcher, log, go_on = AsyncEventDispatcher(strategy=strategy), [], anyio.Event()

    @dispatcher.listen(PLACED, priority=-1)
    async def wait(event: Event) -> None:
        await go_on.wait()

    @dispatcher.listen(PLACED, once=True, where=lambda event: log.append("asked") or True)
    async def charge(event: Event) -> None:
        log.append("called")

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(dispatcher.adispatch, PLACED)
        await settle()
        go_on.set()

    assert log == ["asked", "called"]


async def test_the_handle_of_a_used_registration_removes_nothing(dispatcher: AnyDispatcher) -> None:
    subscription = dispatcher.add_listener(PLACED, make_listener(dispatcher, lambda event: None), once=True, where=yes)
    await dispatcher.adispatch(PLACED, Event())

    assert subscription.unsubscribe() is False


@in_virtual_time
@pytest.mark.parametrize("timeout", [None, SOON / 2], ids=["cancelled", "timed out"])
async def test_a_cancelled_or_late_call_has_used_up_its_once(timeout: float | None) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener(PLACED, wait_forever, once=True, timeout=timeout)

    with anyio.move_on_after(SOON):
        errors = await get_errors(dispatcher)
        assert [type(error) for error in errors] == [TimeoutError] * (timeout is not None)

    assert not dispatcher.has_listeners()


# where


@pytest.mark.parametrize(
    ("answer", "runs"),
    [(answer, True) for answer in (1, "yes", [0], object())] + [(answer, False) for answer in (0, "", [], None)],
    ids=without_address,
)
async def test_where_decides_by_the_truth_of_its_answer(dispatcher: AnyDispatcher, answer: Any, runs: bool) -> None:
    seen: list[Any] = []
    dispatcher.add_listener(
        PLACED, make_listener(dispatcher, seen.append), where=lambda event: [seen.append(event), answer][1]
    )

    event = await dispatcher.adispatch(PLACED, Event())

    assert seen == [event] * (1 + runs)


async def test_where_is_asked_at_the_turn_of_its_listener(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    def set_amount(event: Any) -> None:
        event.amount = 440

    dispatcher.add_listener(PLACED, make_listener(dispatcher, set_amount), priority=-1)
    dispatcher.add_listener(
        PLACED, make_recording_listener(dispatcher, log, "called"), where=lambda event: event.amount == 440
    )
    dispatcher.add_listener(PLACED, make_listener(dispatcher, Event.stop_propagation))
    dispatcher.add_listener(PLACED, make_recording_listener(dispatcher, log, "later"), where=fail)

    await dispatcher.adispatch(PLACED, Event())

    assert log == ["called"]


async def test_what_where_raises_is_the_error_of_its_listener(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener(PLACED, listener, where=fail)

    with pytest.raises(Failing) as caught:
        await dispatcher.adispatch(PLACED, Event())

    assert any(listener.__qualname__ in note for note in caught.value.__notes__)


async def test_a_where_that_removes_its_listener_prevents_the_call(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    listener = make_recording_listener(dispatcher, log, "called")

    def remove(event: Event) -> bool:
        dispatcher.remove_listener(PLACED, listener)
        return True

    dispatcher.add_listener(PLACED, listener, where=remove)
    await dispatcher.adispatch(PLACED, Event())

    assert log == []


# timeout


@in_virtual_time
@every_kind
@pytest.mark.parametrize("options", [{"timeout": SOON}, {"where": fail}], ids=["timeout", "where"])
async def test_a_policy_handles_errors_of_options(kind: Any, options: Any) -> None:
    log: list[Any] = []
    dispatcher = AsyncEventDispatcher(strategy=kind(errors=lambda *handled: log.append(handled)))
    dispatcher.add_listener(PLACED, wait_forever, **options)
    dispatcher.add_listener(PLACED, make_recording_listener(dispatcher, log, "later"), priority=1)

    event = await dispatcher.adispatch(PLACED)

    (error, *handled), last = log
    assert (type(error), handled, last) == (
        TimeoutError if "timeout" in options else Failing,
        [event, wait_forever],
        "later",
    )


@in_virtual_time
@every_strategy
async def test_a_timeout_is_an_error_of_its_listener(strategy: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener(PLACED, wait_forever, timeout=SOON)

    (error,) = await get_errors(dispatcher, strategy)

    assert isinstance(error, TimeoutError)
    assert str(error) == "a call of the listener may take 1.0 seconds (timeout=), and has taken longer"
    assert any("wait_forever" in note for note in error.__notes__)


@every_strategy
async def test_a_timeout_error_of_the_listener_itself_is_unchanged(strategy: Any) -> None:
    raised = TimeoutError()

    async def call_the_carrier(event: Event) -> None:
        raise raised

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener(PLACED, call_the_carrier, timeout=NEVER)

    (error,) = await get_errors(dispatcher, strategy)

    assert error is raised
    assert error.args == ()


@in_virtual_time
@pytest.mark.parametrize("strategy", [Sequential(errors="collect"), Concurrent(errors="collect")], ids=repr)
async def test_a_timeout_ends_its_listener_alone(strategy: Any) -> None:
    dispatcher, log = AsyncEventDispatcher(strategy=strategy), []
    dispatcher.add_listener(PLACED, wait_forever, timeout=SOON)

    @dispatcher.listen(PLACED)
    async def charge(event: Event) -> None:
        await anyio.lowlevel.checkpoint()
        log.append("called")

    errors = await get_errors(dispatcher)

    assert ([type(error) for error in errors], log) == ([TimeoutError], ["called"])


@in_virtual_time
@every_strategy
async def test_an_error_raised_at_the_timeout_replaces_it(strategy: Any) -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen(PLACED, timeout=SOON)
    async def charge(event: Event) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise Failing

    assert [type(error) for error in await get_errors(dispatcher, strategy)] == [Failing]


@in_virtual_time
@pytest.mark.parametrize("timeout", [NEVER, math.inf])
async def test_a_cancellation_from_outside_is_not_a_timeout(timeout: float) -> None:
    dispatcher = AsyncEventDispatcher(strategy=Sequential(errors="collect"))
    dispatcher.add_listener(PLACED, wait_forever, timeout=timeout)

    with anyio.move_on_after(SOON) as scope:
        await dispatcher.adispatch(PLACED)

    assert scope.cancelled_caught


@pytest.mark.parametrize("backend", backends(seeds=[None, 1, 2]), ids=str)
@pytest.mark.parametrize(
    ("seconds", "limit", "expected"),
    [(8, None, [7, 14, 21]), (5, None, [5, 10, 15]), (5, 1, [5, 10, 15])],
    ids=["too long", "each call", "after the wait for the limit"],
)
def test_a_timeout_counts_from_the_start_of_each_call(
    backend: Backend, seconds: int, limit: int | None, expected: list[float]
) -> None:
    async def main() -> list[float]:
        dispatcher, ended = AsyncEventDispatcher(), []

        @dispatcher.listen(PLACED, timeout=7, limit=limit)
        async def charge(event: Event) -> None:
            await anyio.sleep(seconds)

        async def dispatch() -> None:
            errors = await get_errors(dispatcher)
            assert [type(error) for error in errors] == [TimeoutError] * (seconds > 7)
            ended.append(anyio.current_time() - before)

        before = anyio.current_time()
        async with anyio.create_task_group() as group:
            for _ in range(3):
                if limit is None:
                    await dispatch()
                else:
                    group.start_soon(dispatch)
        return ended

    assert backend.run(main) == pytest.approx(expected)


# What the options refuse


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"where": 3}, TypeError),
        ({"where": "paid"}, TypeError),
        ({"where": AsyncMock()}, TypeError),
        ({"timeout": "1"}, TypeError),
        ({"once": 0}, TypeError),
        ({"timeout": True}, TypeError),
        ({"timeout": 0}, ValueError),
        ({"timeout": -1}, ValueError),
        ({"timeout": math.nan}, ValueError),
        ({"timeout": 10**400}, ValueError),
        pytest.param({"timeout": 10**5000}, ValueError, id="more digits than are printed"),
        pytest.param({"timeout": -(10**5000)}, ValueError, id="fewer than none"),
        ({"limit": 1.0}, TypeError),
        ({"limit": True}, TypeError),
        ({"limit": 0}, ValueError),
        ({"limit": -2}, ValueError),
        pytest.param({"limit": -(10**5000)}, ValueError, id="limit with more digits than are printed"),
    ],
    ids=lambda value: without_address(value)[:40],
)
def test_a_wrong_option_is_refused_at_registration(options: dict[str, Any], error: type[Exception]) -> None:
    dispatcher, (option,) = AsyncEventDispatcher(), options

    for register in (
        lambda: dispatcher.add_listener(PLACED, wait_forever, **options),
        lambda: dispatcher.listen(PLACED, **options),
        lambda: dispatcher.temporarily().add_listener(PLACED, wait_forever, **options),
        lambda: dispatcher.temporarily().listen(PLACED, **options)(wait_forever),
    ):
        with pytest.raises(error, match=f"{option}= is"):
            register()

    assert not dispatcher.has_listeners()


@pytest.mark.parametrize("option", ["timeout", "limit"])
def test_a_sync_dispatcher_refuses_timeout_and_limit(option: str) -> None:
    dispatcher, options = EventDispatcher(), {option: 1}

    for register in (
        lambda: dispatcher.add_listener(PLACED, print, **options),  # type: ignore[arg-type]  # the slip under test
        lambda: dispatcher.listen(PLACED, **options),  # type: ignore[arg-type]  # the slip under test
        lambda: dispatcher.scope().add_listener(PLACED, print, **options),  # type: ignore[arg-type]  # the slip under test
    ):
        with pytest.raises(TypeError, match=f"{option}= is for listeners of an AsyncEventDispatcher"):
            register()

    assert not dispatcher.has_listeners()
