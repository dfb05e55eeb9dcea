"""Strategies: how a dispatch runs its listeners."""

from __future__ import annotations

import sys
from typing import Any, Final, Protocol, cast

from antiphon._backend import native_requests, pass_on_cancellation, swallowed_cancellation
from antiphon._concurrency import RacingTier, Tier, run_alone
from antiphon._listeners import check_limit, is_async_callable, safe_repr
from antiphon._plan import Plan
from antiphon._policies import ErrorPolicy, Failures, as_error, check_policy

__all__ = (
    "SEQUENTIAL",
    "Concurrent",
    "Race",
    "Sequential",
    "Strategy",
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
        if failures:
            await _pass_on(failures)
            failures.leave()


class Concurrent(_Strategy):
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

    async def run(self, plan: Plan, event: Any, /) -> None:
        """Run the tiers of a plan one after another, each in a task group.

        Raises:
            Exception: What a listener raised, as the error policy has it.
            BaseExceptionGroup: Errors in hand, together with the cancellation or interrupt that ended the dispatch.
        """
        if not plan:
            return
        failures = Failures(self._errors, plan, event)
        requests = native_requests()
        try:
            for number, listeners in enumerate(plan):
                await pass_on_cancellation(requests if number else None)
                if len(listeners) == 1:
                    await run_alone(listeners[0], event, failures)
                else:
                    await Tier(event, failures, self._limit).run(listeners)
                if failures.ended or (plan.stoppable and event.propagation_stopped):
                    break
            if failures:
                await pass_on_cancellation(requests)
        except BaseException as exc:  # noqa: ASYNC103  leave_with always raises
            failures.leave_with(exc)
        failures.leave()


class Race(_Strategy):
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

    async def run(self, plan: Plan, event: Any, /) -> None:
        """Run the tiers of a plan one after another, each until it is won or done.

        Raises:
            Exception: What a listener raised, as the error policy has it.
            BaseExceptionGroup: Errors in hand, together with the cancellation or interrupt that ended the dispatch.
        """
        if not plan:
            return
        if not plan.stoppable:
            await Concurrent(errors=self._errors).run(plan, event)
            return
        failures = Failures(self._errors, plan, event)
        requests = native_requests()
        try:
            for number, listeners in enumerate(plan):
                await pass_on_cancellation(requests if number else None)
                tier = RacingTier(event, failures, plan.service)
                await tier.run(listeners)
                if failures.ended or tier.winner is not None or event.propagation_stopped:
                    break
            if failures:
                await pass_on_cancellation(requests)
        except BaseException as exc:  # noqa: ASYNC103  leave_with always raises
            failures.leave_with(exc)
        failures.leave()


async def _pass_on(failures: Failures) -> None:
    try:
        await pass_on_cancellation()
    except BaseException as exc:  # noqa: ASYNC103  leave_with always raises
        failures.leave_with(exc)


#: The default.
SEQUENTIAL: Final = Sequential()


def is_plain(strategy: Strategy) -> bool:
    """Tell whether a strategy does no more than the loop that a dispatcher runs itself."""
    return type(strategy) is Sequential and strategy.errors == "raise"


def does_nothing_for_nobody(strategy: Strategy) -> bool:
    """Tell whether a strategy need not be asked when nobody listens; one of the user's own may want to be."""
    return type(strategy) in (Sequential, Concurrent, Race)


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
