"""The oracle itself: it flags a dispatcher with a fault, it does not flag one without, and it prints what it found."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from tests.fuzz import loops, programs
from tests.fuzz.__main__ import main
from tests.fuzz.comparing import compare
from tests.fuzz.generating import generate
from tests.fuzz.performing import Antiphon, describe
from tests.fuzz.programs import Cancel, Dispatch, Fail, Group, Guarded, Program, Sleep, Stop, Within, is_native, walk
from tests.fuzz.reference import Reference
from tests.fuzz.shrinking import as_test, shrink

# The debug mode is slow, and the oracle does not depend on it.
AVAILABLE = [loop for loop in loops.LOOPS if loops.is_available(loop) and loop != "debug"]
NATIVE = [loop for loop in AVAILABLE if loop != "trio"]

any_loop = pytest.mark.parametrize("loop", AVAILABLE)
native_loop = pytest.mark.parametrize("loop", NATIVE)

CHARGE = (Sleep(30),)
SHIP = (Sleep(50),)
DECLINED = (Sleep(20), Fail("declined"))


class SwallowsCancellations(Reference):
    async def dispatch(self, performance, spec, path):
        try:
            await super().dispatch(performance, spec, path)
        except anyio.get_cancelled_exc_class():
            pass


class InventsCancellations(Reference):
    async def dispatch(self, performance, spec, path):
        try:
            await super().dispatch(performance, spec, path)
        except Exception:
            raise asyncio.CancelledError from None


class TurnsCancellationsIntoErrors(Reference):
    async def dispatch(self, performance, spec, path):
        try:
            await super().dispatch(performance, spec, path)
        except anyio.get_cancelled_exc_class():
            raise RuntimeError("cancelled") from None


class LosesErrors(Reference):
    async def dispatch(self, performance, spec, path):
        try:
            await super().dispatch(performance, spec, path)
        except Exception:
            pass


class LosesErrorsBesideACancellation(Reference):
    async def dispatch(self, performance, spec, path):
        try:
            await super().dispatch(performance, spec, path)
        except BaseExceptionGroup as group:
            _, errors = group.split(anyio.get_cancelled_exc_class())
            if errors is group:
                raise
            await anyio.sleep(0)


class LeavesATask(Reference):
    async def dispatch(self, performance, spec, path):
        await super().dispatch(performance, spec, path)
        self.kept = asyncio.get_running_loop().create_task(asyncio.sleep(1))


class LeavesTheCountHigher(Reference):
    async def dispatch(self, performance, spec, path):
        await super().dispatch(performance, spec, path)
        task = asyncio.current_task()
        task.cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            pass


class LeavesTheCountLower(Reference):
    async def dispatch(self, performance, spec, path):
        try:
            await super().dispatch(performance, spec, path)
        finally:
            asyncio.current_task().uncancel()


class LetsALaterAwaitBeCancelled(Reference):
    async def dispatch(self, performance, spec, path):
        await super().dispatch(performance, spec, path)
        asyncio.current_task().cancel()
        asyncio.current_task().uncancel()


class TakesTime(Reference):
    async def dispatch(self, performance, spec, path):
        await super().dispatch(performance, spec, path)
        await anyio.sleep(1)


class SkipsTheLastTier(Reference):
    async def dispatch(self, performance, spec, path):
        await super().dispatch(performance, Dispatch(spec.tiers[:-1], spec.strategy, spec.errors, spec.limit), path)


class RunsInTheOtherOrder(Reference):
    async def dispatch(self, performance, spec, path):
        await super().dispatch(performance, Dispatch(spec.tiers[::-1], spec.strategy, spec.errors, spec.limit), path)


class DoesNotStopTheOthers(Reference):
    """A race without a winner."""

    async def dispatch(self, performance, spec, path):
        await super().dispatch(performance, Dispatch(spec.tiers, "concurrent", spec.errors), path)


class NeverEnds(Reference):
    async def dispatch(self, performance, spec, path):
        await anyio.sleep_forever()


def flagged(subject, program, loop):
    _, difference = compare(program, loop, subject)
    return () if difference is None else difference.kinds


CONCURRENT = Dispatch(((CHARGE, SHIP),), "concurrent")
COLLECTED = Dispatch(((DECLINED, SHIP),), "concurrent", "collect")


@any_loop
@pytest.mark.parametrize(
    ("subject", "program", "kind"),
    [
        (SwallowsCancellations, Program(CONCURRENT, cancels=(Cancel(10, "scope"),)), "left"),
        (SwallowsCancellations, Program(CONCURRENT, "fail_after", 10), "left"),
        (TurnsCancellationsIntoErrors, Program(CONCURRENT, "move_on_after", 10), "around"),
        (LosesErrors, Program(COLLECTED), "left"),
        (LosesErrorsBesideACancellation, Program(COLLECTED, "move_on_after", 40), "around"),
        (TakesTime, Program(CONCURRENT), "at"),
        (SkipsTheLastTier, Program(Dispatch(((CHARGE,), ((),)))), "listeners"),
        (RunsInTheOtherOrder, Program(Dispatch(((CHARGE,), (SHIP,)))), "listeners"),
        (DoesNotStopTheOthers, Program(Dispatch((((Stop(),), SHIP),), "race")), "at"),
        (NeverEnds, Program(CONCURRENT), "broken"),
    ],
)
def test_a_dispatcher_with_a_fault_is_flagged(subject, program, kind, loop):
    assert kind in flagged(subject, program, loop)
    assert flagged(Reference, program, loop) == ()


@native_loop
@pytest.mark.parametrize(
    ("subject", "program", "kind"),
    [
        (SwallowsCancellations, Program(CONCURRENT, cancels=(Cancel(10),)), "task_cancelled"),
        (SwallowsCancellations, Program(CONCURRENT, "timeout", 10), "around"),
        (TurnsCancellationsIntoErrors, Program(CONCURRENT, "timeout", 10), "around"),
        (InventsCancellations, Program(COLLECTED), "task_cancelled"),
        (LeavesATask, Program(CONCURRENT), "tasks"),
        (LeavesTheCountHigher, Program(CONCURRENT), "cancelling_after"),
        (LeavesTheCountLower, Program(CONCURRENT, cancels=(Cancel(10),)), "cancelling"),
        (LetsALaterAwaitBeCancelled, Program(CONCURRENT, survived=True), "later"),
    ],
)
def test_a_fault_on_asyncio_is_flagged(subject, program, kind, loop):
    assert kind in flagged(subject, program, loop)
    assert flagged(Reference, program, loop) == ()


@any_loop
def test_every_order_of_a_tier_is_right(loop):
    first_fails = Program(Dispatch((((Fail("a"),), (Fail("b"),)),), "concurrent"))

    class Reversed(Reference):
        async def dispatch(self, performance, spec, path):
            self.choices.order = lambda members: list(members)[::-1]
            await super().dispatch(performance, spec, path)

    assert flagged(Reversed, first_fails, loop) == ()


@any_loop
def test_a_run_is_repeatable(loop):
    for seed in range(40):
        assert flagged(Reference, generate(seed, native=loop != "trio"), loop) == (), seed


@any_loop
def test_time_is_virtual(loop):
    trace, difference = compare(Program(Dispatch((((Sleep(10**6),),),)), "move_on_after", 86_400), loop)
    assert difference is None
    assert trace.at == 86_400


@native_loop
def test_a_busy_scope_does_not_stop_the_clock(loop):
    # anyio cancels the task of an asyncio.TaskGroup in every turn, as long as its child cleans up.
    child = (Guarded((Sleep(100),), (Sleep(30),)),)
    program = Program(Dispatch((((Group((child,), native=True),),),)), "move_on_after", 10)
    trace, difference = compare(program, loop, Reference)
    assert difference is None
    assert (trace.at, trace.broken) == (40, "")


def test_a_program_is_printed_as_python():
    for seed in range(50):
        program = generate(seed, native=True)
        assert eval(repr(program), vars(programs)) == program


def test_a_failing_program_is_printed_as_a_test():
    namespace = {}
    exec(as_test(Program(CONCURRENT), "asyncio", "seed_1"), namespace)
    namespace["test_seed_1"]()


def test_a_failing_program_is_made_smaller():
    noise = (Within("shield", (Sleep(3), Group((CHARGE,), SHIP))), Sleep(0))
    program = Program(Dispatch(((noise, (*noise, Guarded((Fail(),), noise))), (noise,)), "race"), "move_on_after", 9)

    small = shrink(program, lambda smaller: any(isinstance(part, Fail) for part in walk(smaller)))

    assert small == Program(Dispatch((((Fail(),),),), "race"))


def test_exceptions_are_described_without_order_and_nesting():
    group = BaseExceptionGroup("", [ExceptionGroup("", [ValueError("b")]), asyncio.CancelledError(), ValueError("a")])
    assert describe(group) == "group of ValueError('a'), ValueError('b'), cancelled"
    assert describe(asyncio.CancelledError()) == "cancelled"
    assert describe(None) == "nothing"


def test_programs_for_trio_have_nothing_of_asyncio():
    assert not any(is_native(generate(seed, native=False)) for seed in range(300))


def test_the_command_counts_and_reports(capsys):
    options = "--programs 3 --waiting 2 --loop trio --processes 1 --seed 1 --show 0"
    code = main(options.split())
    printed = capsys.readouterr().out
    assert printed.startswith("trio: 3 programs, ")
    assert "\ntrio, queues and the like: 2 programs, " in printed
    assert "\nleft out: nothing\n" in printed
    assert code == (0 if "\n0 differences, 0 faults in" in printed else 1)
    assert Antiphon.counting is False
