"""Strategies: how a dispatch runs its listeners."""

from __future__ import annotations

from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, Final, Protocol, cast

import anyio

from antiphon._backend import (
    checkpoint,
    checkpoint_if_cancelled,
    get_asyncio_task,
    is_cancellation,
    is_cancelled_by_scope,
    is_scope_message,
)
from antiphon._listeners.subscription import Subscription, check_limit, is_async_callable, safe_repr
from antiphon._registry.plan import Plan, Whole
from antiphon._strategies.cancellation import CancellationWatch, current_watch
from antiphon._strategies.driver import reset_context_variable, run_first_step, run_first_step_in
from antiphon._strategies.errors import ErrorPolicy, Failures, annotate_exception, check_policy, handle_exception
from antiphon._strategies.tiers import RacingTier, Tier

__all__ = (
    "SEQUENTIAL",
    "Concurrent",
    "Race",
    "Sequential",
    "Strategy",
    "as_step",
    "check_strategy",
    "does_nothing_for_nobody",
    "drives_listeners",
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
        if self._errors == "raise":
            await _run_in_turn(plan, event)
        else:
            await _run_in_turn_under_policy(plan, event, Failures(self._errors, plan, event))


async def _run_in_turn(plan: Plan, event: Any) -> None:
    for subscription in plan.listeners:
        try:
            await subscription.call(event)
        except BaseException as exc:
            annotate_exception(exc, subscription, plan, event)
            raise
        if plan.stoppable and event.propagation_stopped:
            break


async def _run_in_turn_under_policy(plan: Plan, event: Any, failures: Failures) -> None:
    watch = CancellationWatch(get_asyncio_task(), current_watch.get())
    # Nothing else runs in this context until the dispatch has finished.
    token = current_watch.set(watch)
    try:
        for subscription in plan.listeners:
            try:
                remainder = run_first_step(subscription.call, event, watch)
                if remainder is not None:
                    await remainder
                    # As in a loop: a listener may keep a request, and leave others behind.
                    watch.restart()
            except BaseException as exc:  # noqa: ASYNC103  handle_exception raises what is not an error
                handle_exception(exc, subscription, failures, watch)
                # The dispatch goes on, unless it was cancelled and the listener raised an error instead.
                await _raise_if_cancelled(watch)  # noqa: ASYNC102  it raises the cancellation
                watch.restart()
            if failures.ended or (plan.stoppable and event.propagation_stopped):
                break
        if failures.in_hand:
            await _raise_if_cancelled(watch)
    except BaseException as exc:  # noqa: ASYNC103  leave_with always raises
        failures.leave_with(await _get_requested(exc, watch))  # noqa: ASYNC102  it fetches the cancellation
    finally:
        watch.finish()
        reset_context_variable(current_watch, token)
    if failures.ended:
        raise failures.pop_error()
    failures.leave()


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
        raised, task = checkpoint_if_cancelled()
        await raised
        watch = CancellationWatch(task, current_watch.get())
        failures = Failures(self._errors, plan, event)
        try:
            for number, listeners in enumerate(plan):
                if number:
                    if failures.ended or (plan.stoppable and event.propagation_stopped):
                        break
                    await _raise_if_cancelled(watch)
                if len(listeners) == 1:
                    await _run_alone(listeners[0], event, failures, watch)
                else:
                    tier = self._tier(plan, event, failures, watch)
                    await tier.run(listeners)
                    if tier.has_waited:
                        await _raise_if_cancelled(watch)
            if watch.is_cancelled or failures.in_hand:
                await _raise_if_cancelled(watch)
        except BaseException as exc:  # noqa: ASYNC103  leave_with always raises
            failures.leave_with(await _get_requested(exc, watch))  # noqa: ASYNC102  it fetches the cancellation
        finally:
            watch.finish()
        failures.leave()

    def _tier(self, plan: Plan, event: Any, failures: Failures, watch: CancellationWatch) -> Tier:
        return Tier(event, failures, watch)


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

    def _tier(self, plan: Plan, event: Any, failures: Failures, watch: CancellationWatch) -> Tier:
        return Tier(event, failures, watch, self._limit)


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

    def _tier(self, plan: Plan, event: Any, failures: Failures, watch: CancellationWatch) -> Tier:
        if not plan.stoppable:
            return super()._tier(plan, event, failures, watch)
        return RacingTier(event, failures, watch, plan.service)


async def _run_alone(subscription: Subscription, event: Any, failures: Failures, watch: CancellationWatch) -> None:
    try:
        remainder = run_first_step_in(copy_context(), subscription.call, event, watch)
        if remainder is None:
            return
        await remainder
        watch.settle()
    except BaseException as exc:  # noqa: ASYNC103  _handle raises what is not an error
        _handle(exc, subscription, failures, watch)
    await _raise_if_cancelled(watch)


async def _run_one(errors: ErrorPolicy, subscription: Subscription, plan: Plan, event: Any) -> None:
    """Do what `Concurrent` and `Race` do with a plan of one listener, as nearly all are.

    Raises:
        Exception: As theirs.
        BaseExceptionGroup: As theirs.
    """
    raised, task = checkpoint_if_cancelled()
    await raised
    watch = CancellationWatch(task, current_watch.get())
    try:
        remainder = run_first_step_in(copy_context(), subscription.call, event, watch)
        if remainder is None:
            return
        await remainder
        watch.settle()
        if watch.is_cancelled or watch.is_pending() or is_cancelled_by_scope():
            await _raise_if_cancelled(watch)
        return
    except BaseException as exc:  # noqa: ASYNC103  leave_with always raises
        failures = Failures(errors, plan, event)
        try:
            _handle(exc, subscription, failures, watch)
            await _raise_if_cancelled(watch)  # noqa: ASYNC102  it raises the cancellation
        except BaseException as left:  # noqa: ASYNC103  leave_with always raises
            failures.leave_with(await _get_requested(left, watch))  # noqa: ASYNC102  it fetches the cancellation
    finally:
        watch.finish()
    failures.leave()


def _handle(exc: BaseException, subscription: Subscription, failures: Failures, watch: CancellationWatch) -> None:
    try:
        handle_exception(exc, subscription, failures, watch)
    finally:
        watch.settle()
        # A frame that refers to an exception makes a cycle.
        del exc


async def _raise_if_cancelled(watch: CancellationWatch) -> None:
    raised, _ = checkpoint_if_cancelled()
    await raised
    if watch.is_pending():
        try:
            await checkpoint()
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103  raised if it was requested
            # A failed `asyncio.TaskGroup` takes a request back that is not its own, and makes it once more. A listener
            # that had a task of its own would take that one along.
            if watch.has_own_request():
                raise
    if watch.is_cancelled:
        raise watch.make_cancellation()


async def _get_requested(exc: BaseException, watch: CancellationWatch) -> BaseException:
    """Return what leaves for a cancellation, so that it reaches whoever requested it."""
    if not is_cancellation(exc):
        return exc
    is_of_scope = is_scope_message(next(iter(exc.args), None))
    if watch.is_cancelled:
        if watch.is_pending() and not watch.has_own_request():
            # The same request once more, see `CancellationWatch.look_at_pending`.
            with suppress(anyio.get_cancelled_exc_class()):
                await checkpoint()
        # It must not pass for one of a scope, which would keep it.
        return watch.make_cancellation() if is_of_scope else exc
    if not is_of_scope and is_cancelled_by_scope():
        # A scope keeps its own cancellations only. One that is pending in the task comes first.
        for _ in range(2):
            raised, _ = checkpoint_if_cancelled()
            try:
                await raised
            except BaseException as requested:  # noqa: ASYNC103  the caller raises it
                exc = requested
            if is_scope_message(next(iter(exc.args), None)):
                break
    return exc


#: The default.
SEQUENTIAL: Final = Sequential()

#: The classes of which it is known what they do; a subclass may do something else.
_OURS: Final = frozenset((Sequential, Concurrent, Race))


def is_plain(strategy: Strategy) -> bool:
    """Tell whether a strategy does no more than the loop that a dispatcher runs itself."""
    return type(strategy) is Sequential and strategy.errors == "raise"


def drives_listeners(strategy: Strategy) -> bool:
    """Return whether a strategy runs the steps of its listeners, so that it knows what was thrown into them."""
    return type(strategy) in _OURS and not is_plain(strategy)


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
