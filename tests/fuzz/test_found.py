"""Programs that once showed a fault, and that the rules 15, 20 and 21 are about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fuzz import loops
from tests.fuzz.comparing import check
from tests.fuzz.programs import Again, Cancel, Dispatch, Fail, Group, Guarded, Leak, Program, Sleep, Within

# The debug mode is slow. `python -m tests.fuzz` uses it.
AVAILABLE = [loop for loop in loops.LOOPS if loops.is_available(loop) and loop != "debug"]
any_loop = pytest.mark.parametrize("loop", AVAILABLE)
native_loop = pytest.mark.parametrize("loop", [loop for loop in AVAILABLE if loop != "trio"])
any_policy = pytest.mark.parametrize("errors", ["raise", "collect", "record", "record_and_raise"])
together = pytest.mark.parametrize("strategy", ["concurrent", "race"])
any_strategy = pytest.mark.parametrize("strategy", ["sequential", "concurrent", "race"])
ended_natively = pytest.mark.parametrize(
    "ending",
    [
        Program(Dispatch(), "timeout", 10),
        Program(Dispatch(), "wait_for", 10),
        Program(Dispatch(), cancels=(Cancel(10),)),
    ],
    ids=["timeout", "wait_for", "cancel"],
)

CHARGE = (Sleep(100),)
QUICK = (Sleep(0),)
CLEANUP_FAILS = (Guarded((Sleep(1000),), (Fail("cannot release"),)),)
CLEANUP_WAITS = (Guarded((Sleep(1000),), (Sleep(10),)),)
SWALLOWS = (Guarded((Sleep(1000),), (), "swallow"),)
FAILED_GROUP = (Group(((Fail("declined"),),), native=True, handled=True),)
NESTED_GROUPS = (Group(((Group((CHARGE,), CHARGE),),), CHARGE),)


@native_loop
@any_strategy
@any_policy
@ended_natively
def test_nested_groups_keep_a_cancellation(strategy, errors, ending, loop):
    check(replace(ending, dispatch=Dispatch(((NESTED_GROUPS,),), strategy, errors)), loop)


@native_loop
@any_policy
@ended_natively
def test_nested_dispatches_keep_a_cancellation(errors, ending, loop):
    inner = Dispatch(((CHARGE, CHARGE),), "concurrent", errors)
    middle = Dispatch(((QUICK, (inner,)),), "concurrent", errors)
    check(replace(ending, dispatch=Dispatch((((middle,),),))), loop)
    check(replace(ending, dispatch=middle), loop)


@native_loop
@together
@any_policy
def test_a_second_cancellation_during_clean_ups_is_kept(strategy, errors, loop):
    dispatch = Dispatch(((CLEANUP_WAITS, CLEANUP_WAITS),), strategy, errors)
    check(Program(dispatch, "timeout", 5, (Cancel(2),)), loop)


@any_loop
@together
@any_policy
@pytest.mark.parametrize("last", [CLEANUP_FAILS, SWALLOWS], ids=["fails", "swallows"])
@pytest.mark.parametrize("others", [(), (QUICK,), (CHARGE,)], ids=["alone", "quick", "waiting"])
def test_a_cleanup_does_not_hide_a_cancellation(strategy, errors, last, others, loop):
    dispatch = Dispatch(((*others, last),), strategy, errors)
    check(Program(dispatch, "move_on_after", 10), loop)
    check(Program(dispatch, cancels=(Cancel(10, "scope"),)), loop)
    if loop != "trio":
        check(Program(dispatch, cancels=(Cancel(10),)), loop)
        check(Program(dispatch, "timeout", 10), loop)


@native_loop
@any_strategy
@any_policy
@pytest.mark.parametrize("survived", [False, True])
@pytest.mark.parametrize(
    "first",
    [
        FAILED_GROUP,
        (Within("old_timeout", CHARGE, 10),),
        (Within("wait_for", CHARGE, 10),),
        (Within("timeout", CHARGE, 10, handled=True),),
    ],
    ids=["group", "old_timeout", "wait_for", "timeout"],
)
def test_a_request_that_a_listener_handles_is_its_own(strategy, errors, survived, first, loop):
    check(Program(Dispatch(((first,), ((Fail("late"),),)), strategy, errors), survived=survived), loop)
    check(Program(Dispatch(((first, CHARGE), (CHARGE, QUICK)), strategy, errors), survived=survived), loop)


@native_loop
@together
@any_policy
def test_failures_in_one_turn_leave_no_cancellation(strategy, errors, loop):
    failing = (Group(((Sleep(5), Fail("declined")),), CHARGE, native=True),)
    check(Program(Dispatch(((failing, (Sleep(5), Fail("sold out"))),), strategy, errors)), loop)


@any_loop
@any_policy
@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("first", [CLEANUP_FAILS, SWALLOWS], ids=["fails", "swallows"])
def test_a_cancelled_dispatch_starts_no_listener(errors, limit, first, loop):
    later = ((), (Within("shield", (Sleep(50),)),))
    check(Program(Dispatch(((first,) * limit + later,), "concurrent", errors, limit), "move_on_after", 10), loop)


@native_loop
@any_strategy
@any_policy
def test_an_inner_timeout_is_an_error_for_the_outer_policy(strategy, errors, loop):
    inner = Dispatch((((Fail("declined"),), CHARGE),), "sequential", "collect")
    listener = (Within("timeout", (inner,), 10),)
    check(Program(Dispatch(((listener, QUICK), (QUICK,)), strategy, errors)), loop)


@native_loop
@any_strategy
@any_policy
@pytest.mark.parametrize("survived", [False, True])
def test_a_leak_is_an_error_except_in_the_loop(strategy, errors, survived, loop):
    check(Program(Dispatch((((Leak(),), QUICK), (QUICK,)), strategy, errors), survived=survived), loop)


@any_loop
@any_strategy
def test_a_dispatch_that_repeats_itself_ends(strategy, loop):
    waits = QUICK if strategy == "sequential" else (Sleep(1),)
    check(Program(Dispatch(((waits, (Again(),)),), strategy), "move_on_after", 3), loop)
