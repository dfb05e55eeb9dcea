"""Strategies: how a dispatch runs its listeners."""

from __future__ import annotations

import sys
from contextvars import copy_context
from functools import partial
from typing import Any, Final, Protocol, cast

from antiphon._backend import check_in, pass_on_cancellation, swallowed_cancellation
from antiphon._concurrency import RacingTier, Tier, begin, take
from antiphon._listeners import Subscription, check_limit, is_async_callable, safe_repr
from antiphon._plan import Plan, Whole
from antiphon._policies import ErrorPolicy, Failures, as_error, check_policy

__all__ = (
    "SEQUENTIAL",
    "Concurrent",
    "Race",
    "Sequential",
    "Strategy",
    "as_step",
    "check_strategy",
    "does_nothing_for_nobody",
    "is_plain",
)


class Strategy(Protocol):
    """How a dispatch runs its listeners.

    To write one of your own, run what is in the plan: each element of a tier has a ``call``, to be read at the
    moment when the listener is started, and awaited with the event.
    """

    async def run(self, plan: Plan, event: Any, /) -> None:
        """Run the listeners of a plan.

        Args:
            plan: The tiers in the order they run, each a tuple of registrations.
            event: What each listener is called with.
        """
        ...


class _Strategy:
    __slots__ = ("_errors",)

    def __init__(self, *, errors: ErrorPolicy = "raise") -> None:
        self._errors: ErrorPolicy = check_policy(errors)

    @property
    def errors(self) -> ErrorPolicy:
        """The error policy."""
        return self._errors

    def _options(self) -> dict[str, Any]:
        return {} if self._errors == "raise" else {"errors": self._errors}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Strategy) or type(other) is not type(self):
            return NotImplemented
        return self._options() == other._options()

    def __hash__(self) -> int:
        return hash((type(self), *self._options().items()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._options().items())})"


class Sequential(_Strategy):
    """One listener after another, in the caller's task and context. This is the default.

    It adds no checkpoint of its own. The stop is looked at after each listener.

    Args:
        errors: ``"raise"``: the first error leaves unchanged, and later listeners are not run. ``"collect"``: all run,
            and the errors leave in one ``ExceptionGroup`` in the order of the listeners, even a single one. A plain
            function: it is called with the exception, the event and the listener, and the dispatch
            goes on; what it raises leaves as an error under ``"raise"`` does.

    Raises:
        TypeError: ``errors`` is neither a string nor a plain function.
        ValueError: ``errors`` is another string.
    """

    __slots__ = ()

    async def run(self, plan: Plan, event: Any, /) -> None:
        """Run the listeners of a plan one after another.

        Raises:
            Exception: What a listener raised, as the error policy has it.
            BaseExceptionGroup: Errors in hand, together with the cancellation or interrupt that ended the dispatch.
        """
        failures = Failures(self._errors, plan, event)
        # What was being handled before the dispatch is the context of every error in it.
        handled = sys.exception()
        for subscription in plan.listeners:
            try:
                await subscription.call(event)
            except BaseException as exc:  # noqa: ASYNC103  leave_with always raises
                error = as_error(exc, subscription)
                if error is None:
                    failures.leave_with(exc)
                ending = failures.take(error, subscription)
                if ending is exc:
                    raise
                if ending is not None:
                    raise ending from exc  # noqa: ASYNC104  only a leaked cancellation is replaced
                # The dispatch goes on, unless somebody asked it to end and the listener's error covers that.
                cancellation = swallowed_cancellation(exc, handled)
                if cancellation is not None:
                    failures.leave_with(cancellation)
                await _pass_on(failures)  # noqa: ASYNC102  it fetches the cancellation
            if plan.stoppable and event.propagation_stopped:
                break
        await _leave(failures)


class _Together(_Strategy):
    """Tier by tier, the listeners of one at the same time."""

    __slots__ = ()

    async def run(self, plan: Plan, event: Any, /) -> None:
        """Run the tiers of a plan one after another, the listeners of each together.

        Raises:
            Exception: What a listener raised, as the error policy has it.
            BaseExceptionGroup: Errors in hand, together with the cancellation or interrupt that ended the dispatch.
        """
        if not plan:
            return
        checkpoint, requests = check_in()
        await checkpoint
        failures = Failures(self._errors, plan, event)
        try:
            for number, listeners in enumerate(plan):
                if number:
                    if failures.ended or (plan.stoppable and event.propagation_stopped):
                        break
                    await pass_on_cancellation(requests)
                if len(listeners) == 1:
                    try:
                        rest = begin(listeners[0], event, copy_context())
                        if rest is not None:
                            await rest
                    except BaseException as exc:  # noqa: ASYNC103  take raises what is no error
                        take(exc, listeners[0], failures)
                else:
                    await self._tier(plan, event, failures, requests).run(listeners)
        except BaseException as exc:  # noqa: ASYNC103  leave_with always raises
            failures.leave_with(exc)
        await _leave(failures, requests)

    def _tier(self, plan: Plan, event: Any, failures: Failures, requests: int) -> Tier:
        return Tier(event, failures, requests)


class Concurrent(_Together):
    """The listeners of one priority together, one priority after the other.

    Each listener runs in a task from start to end, in its own copy of the caller's context. Within a
    priority nothing is promised on order. The stop is looked at before each priority; what has started finishes.

    Args:
        limit: How many listeners of one dispatch may run at a time; None for all of a priority.
        errors: ``"raise"``: the first error cancels the other listeners, later priorities are not run, and an
            ``ExceptionGroup`` leaves, also for a single error. ``"collect"`` and a function: as for `Sequential`.

    Raises:
        TypeError: ``limit`` is no int, or ``errors`` neither a string nor a plain function.
        ValueError: ``limit`` is less than 1, or ``errors`` is another string.
    """

    __slots__ = ("_limit",)

    def __init__(self, limit: int | None = None, *, errors: ErrorPolicy = "raise") -> None:
        super().__init__(errors=errors)
        self._limit = None if limit is None else check_limit(limit, "limit= is how many listeners may run at a time")

    @property
    def limit(self) -> int | None:
        """How many listeners of one dispatch may run at a time; None for all of a priority."""
        return self._limit

    def _options(self) -> dict[str, Any]:
        return {**({} if self._limit is None else {"limit": self._limit}), **super()._options()}

    def _tier(self, plan: Plan, event: Any, failures: Failures, requests: int) -> Tier:
        return Tier(event, failures, requests, self._limit)


class Race(_Together):
    """As `Concurrent`, until a listener stops the event: it wins, and is the only one that finishes.

    At its call of ``stop_propagation()`` the other listeners of its priority are cancelled, those
    that have not started are skipped, and later priorities do not run. If nobody stops the event, all finish.

    Args:
        errors: As for `Concurrent`. An error of a cancelled listener counts too; it leaves when the winner has
            finished.

    Raises:
        TypeError: ``errors`` is neither a string nor a plain function.
        ValueError: ``errors`` is another string.
    """

    __slots__ = ()

    def _tier(self, plan: Plan, event: Any, failures: Failures, requests: int) -> Tier:
        if not plan.stoppable:
            return super()._tier(plan, event, failures, requests)
        return RacingTier(event, failures, requests, plan.service)


async def _run_one(errors: ErrorPolicy, subscription: Subscription, plan: Plan, event: Any) -> None:
    """Do what `Concurrent` and `Race` do with a plan of one listener, as nearly all are.

    Raises:
        Exception: As theirs.
        BaseExceptionGroup: As theirs.
    """
    checkpoint, requests = check_in()
    await checkpoint
    try:
        rest = begin(subscription, event, copy_context())
        if rest is not None:
            await rest
    except BaseException as exc:  # noqa: ASYNC103  leave_with always raises
        failures = Failures(errors, plan, event)
        try:
            take(exc, subscription, failures)
        except BaseException as left:  # noqa: ASYNC103  leave_with always raises
            failures.leave_with(left)
    else:
        return
    await _leave(failures, requests)


async def _leave(failures: Failures, requests: int | None = None) -> None:
    if failures.in_hand:
        await _pass_on(failures, requests)
        failures.leave()


async def _pass_on(failures: Failures, requests: int | None = None) -> None:
    try:
        await pass_on_cancellation(requests)
    except BaseException as exc:  # noqa: ASYNC103  leave_with always raises
        failures.leave_with(exc)


#: The default.
SEQUENTIAL: Final = Sequential()

#: The classes of which it is known what they do; a subclass may do something else.
_OURS: Final = frozenset((Sequential, Concurrent, Race))


def is_plain(strategy: Strategy) -> bool:
    """Tell whether a strategy does no more than the loop that a dispatcher runs itself."""
    return type(strategy) is Sequential and strategy.errors == "raise"


def does_nothing_for_nobody(strategy: Strategy) -> bool:
    """Tell whether a strategy need not be asked when nobody listens; one of the user's own may want to be."""
    return type(strategy) in _OURS


def as_step(strategy: Strategy, plan: Plan) -> Whole:
    """Make the run of a plan one step of a dispatch; what is known of the plan is decided here, once."""
    if type(strategy) not in _OURS:
        # One of the user's own may change what its `run` is.
        return Whole(lambda event: strategy.run(plan, event))
    if len(plan.listeners) == 1 and isinstance(strategy, _Together):
        return Whole(partial(_run_one, strategy.errors, plan.listeners[0], plan))
    return Whole(partial(strategy.run, plan))


def check_strategy(strategy: object) -> Strategy:
    """Refuse what is no strategy.

    Returns:
        The strategy.

    Raises:
        TypeError: It has no async ``run`` method, or is a class.
    """
    if isinstance(strategy, type):
        raise TypeError(f"strategy= is an instance; write {strategy.__name__}() instead of {strategy.__name__}")
    if not is_async_callable(getattr(strategy, "run", None)):
        raise TypeError(
            f"strategy= is Sequential(), Concurrent(), Race() or an object with `async def run(plan, event)`; "
            f"got {safe_repr(strategy)} ({type(strategy).__name__})"
        )
    return cast(Strategy, strategy)
