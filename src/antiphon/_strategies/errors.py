"""Error policies: what an error that leaves a listener does to the dispatch."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final, Literal, NoReturn, TypeAlias, cast

from antiphon._backend import get_asyncio_task, get_first_leaf, is_cancellation, is_cancelled_by_scope
from antiphon._exceptions import ListenerCancelled
from antiphon._listeners.subscription import Subscription
from antiphon._registry.plan import Plan, StrategyStep
from antiphon._strategies.cancellation import CancellationWatch
from antiphon._util.callables import find_unrun_kind, is_async_callable, is_generator_callable
from antiphon._util.naming import listener_name, safe_repr

__all__ = (
    "ErrorCollector",
    "ErrorPolicy",
    "add_note",
    "annotate_exception",
    "check_error_policy",
    "check_not_awaitable",
    "handle_exception",
    "log_error",
    "to_listener_error",
)

#: "raise", "collect", "log", or a plain function that is given the exception, the event and the listener.
ErrorPolicy: TypeAlias = Literal["raise", "collect", "log"] | Callable[[Exception, Any, Any], object]

#: More notes than this on one exception (from dispatch within dispatch) would bury its message.
MAX_NOTES: Final = 8
NOTE_PREFIX: Final = "antiphon: "


def check_error_policy(errors: object) -> ErrorPolicy:
    """Refuse what is no error policy.

    Returns:
        The policy.

    Raises:
        TypeError: It is neither a string nor callable, or it is async.
        ValueError: It is another string than "raise", "collect" and "log".
    """
    expected = 'errors= is "raise", "collect", "log" or a plain function of exception, event and listener'
    if isinstance(errors, str):
        if errors not in ("raise", "collect", "log"):
            raise ValueError(f"{expected}; got {errors!r}")
    elif not callable(errors):
        raise TypeError(f"{expected}; got {safe_repr(errors)} ({type(errors).__name__})")
    elif is_async_callable(errors):
        raise TypeError(
            f"{expected}; {safe_repr(errors)} is async, and nobody would await it: let a plain function note the "
            f"error, and do what must be awaited after the dispatch"
        )
    elif is_generator_callable(errors):
        raise TypeError(f"{expected}; {safe_repr(errors)} is a generator function, and calling it runs nothing of it")
    return cast(ErrorPolicy, errors)


def to_listener_error(
    exc: BaseException, subscription: Subscription, watch: CancellationWatch | None
) -> Exception | None:
    """Return what the error policy gets for an exception that left a listener.

    Args:
        exc: The exception.
        subscription: The registration of the listener.
        watch: The watch of the running task; None if nothing is known of the requests to cancel it.

    Returns:
        The exception itself; a `ListenerCancelled` for a cancellation that was not requested, and within
        a group in the place of each; None for what no policy gets: a requested cancellation, an interrupt.
    """
    if isinstance(exc, Exception):
        return exc
    if watch is None or watch.is_requested(exc):
        return None
    known: tuple[BaseException, Exception] | None = getattr(subscription, "reported", None)
    if known is not None and known[0] is exc:
        # The instruments have received this one.
        return known[1]
    return _without_cancellations(exc, subscription.listener)


def _without_cancellations(exc: BaseException, listener: object) -> Exception | None:
    if isinstance(exc, Exception):
        return exc
    if is_cancellation(exc):
        error = ListenerCancelled(listener)
        error.__cause__ = exc
        return error
    if not isinstance(exc, BaseExceptionGroup):
        return None
    group = cast("BaseExceptionGroup[BaseException]", exc)
    members = [_without_cancellations(member, listener) for member in group.exceptions]
    errors = [member for member in members if member is not None]
    if len(errors) < len(members):
        return None
    without = ExceptionGroup(group.message, errors).with_traceback(group.__traceback__)
    without.__cause__, without.__context__ = group.__cause__, group.__context__
    without.__suppress_context__ = group.__suppress_context__
    return without


def annotate_exception(exc: BaseException, step: Subscription | StrategyStep, plan: Plan, event: object) -> None:
    """Add a note to an exception that leaves a dispatch, which says where it was raised.

    An error gets it, and a cancellation for which no request can be seen. A requested one is no matter of a listener.
    """
    if isinstance(step, StrategyStep):
        # The strategy has done it.
        return
    if isinstance(exc, Exception):
        add_note(exc, step, plan, event)
    elif is_cancellation(exc) and not is_cancelled_by_scope():
        task = get_asyncio_task()
        if task is None or not task.cancelling():
            add_note(exc, step, plan, event, what="a cancellation that no scope or task around it requested left")


def add_note(
    error: BaseException,
    subscription: Subscription,
    plan: Plan,
    event: object,
    *,
    what: str = "raised in",
    policy: object = None,
) -> None:
    """Add a note to an exception, which says where it was raised; in a group, to each of its leaves.

    Args:
        error: The exception.
        subscription: The registration of the listener.
        plan: The plan of the dispatch.
        event: The event.
        what: What the exception has to do with the listener.
        policy: The function that raised the exception while it handled an error of the listener; None if the
            listener raised it.
    """
    if isinstance(error, BaseExceptionGroup):
        for member in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            add_note(member, subscription, plan, event, what=what, policy=policy)
        return
    try:
        under = "" if plan.name is None else f"{safe_repr(plan.name)} "
        if policy is not None:
            what = f"raised by the error policy {listener_name(policy)}, which handled an error raised in"
        note = (
            f"{NOTE_PREFIX}{what} listener {listener_name(subscription.listener)}, while "
            f"{safe_repr(plan.dispatcher)} dispatched {under}({type(event).__qualname__})"
        )
        notes: Any = getattr(error, "__notes__", ())
        if note not in notes and sum(str(earlier).startswith(NOTE_PREFIX) for earlier in notes) < MAX_NOTES:
            error.add_note(note)
    except Exception:  # noqa: S110  no note is better than an error that does not leave
        pass


def log_error(error: Exception, message: str) -> None:
    """Do what the policy "log" does with an error.

    Args:
        error: Logged with its traceback.
        message: What failed.
    """
    # Imported here, because only a program that logs needs it. The message is complete already: a record that keeps
    # the event or the listener would keep it alive.
    import logging

    logging.getLogger("antiphon").error("%s", message, exc_info=error)


def check_not_awaitable(result: object, policy: object) -> None:
    """Refuse what an error policy returned if nobody would await it.

    Raises:
        TypeError: It can be awaited.
    """
    if result is None:
        return
    kind = find_unrun_kind(result)
    if kind:
        raise TypeError(
            f"errors= is a plain function; {safe_repr(policy)} returned {kind}, and nobody would await it: let it note "
            f"the error, and do what must be awaited after the dispatch"
        )


def handle_exception(
    exc: BaseException, subscription: Subscription, collector: ErrorCollector, watch: CancellationWatch
) -> bool:
    """Give an exception that left a listener to the error policy.

    Returns:
        Whether it ends the dispatch.

    Raises:
        BaseException: If it is a requested cancellation or an interrupt.
    """
    try:
        error = to_listener_error(exc, subscription, watch)
        if error is None:
            raise collector.keep_errors_of(exc, subscription)
        watch.find_hidden_request(error)
        return collector.handle(error, subscription) is not None
    finally:
        # A frame that refers to an exception makes a cycle.
        del exc


class ErrorCollector:
    """What went wrong in one dispatch, under its error policy."""

    __slots__ = ("_event", "_known", "_plan", "_policy", "errors", "is_finished")

    #: Whether an error ended the dispatch, or a listener won it.
    is_finished: bool
    #: The errors that will leave with the dispatch, each after the place of its listener in the order.
    errors: list[tuple[tuple[int, int], Exception]]

    def __init__(self, policy: ErrorPolicy, plan: Plan, event: Any) -> None:
        self._policy = policy
        self._plan = plan
        self._event = event
        self._known: set[int] = set()
        self.errors = []
        self.is_finished = False

    def handle(self, error: Exception, subscription: Subscription) -> Exception | None:
        """Give an error of a listener to the policy.

        Returns:
            The error that ends the dispatch, None if it goes on.
        """
        policy = self._policy
        raised_by: object = None
        if policy == "log":
            policy = self._log
        if not isinstance(policy, str):
            try:
                check_not_awaitable(policy(error, self._event, subscription.listener), policy)
            except Exception as raised:
                if raised is not error:
                    # The traceback of the policy's error shows both: say on each where it was raised.
                    add_note(error, subscription, self._plan, self._event)
                    raised_by = policy
                error = raised
            else:
                return None
        if id(error) not in self._known:
            # In hand they stay alive, so that no other error has the same id.
            self._known.add(id(error))
            add_note(error, subscription, self._plan, self._event, policy=raised_by)
        self.errors.append(((subscription.priority, subscription.order), error))
        if policy == "collect":
            return None
        self.is_finished = True
        return error

    def _log(self, error: Exception, event: Any, listener: Any) -> None:
        under = "" if self._plan.name is None else f"{safe_repr(self._plan.name)}, "
        log_error(
            error,
            f"listener {listener_name(listener)} failed, {safe_repr(self._plan.dispatcher)} goes on with the dispatch "
            f"of {under}{safe_repr(event)}",
        )

    def keep_errors_of(self, exc: BaseException, subscription: Subscription) -> BaseException:
        """Keep the errors that left a listener with a cancellation (of a dispatch within it, say).

        Returns:
            The cancellation alone, for a task group that may strip it from a group, and leave errors alone.
        """
        if not isinstance(exc, BaseExceptionGroup):
            return exc
        group = cast("BaseExceptionGroup[BaseException]", exc)
        cancellations, errors = group.split(is_cancellation)
        if cancellations is None or not (errors is None or isinstance(errors, ExceptionGroup)):
            return group
        if errors is not None:
            self.errors.append(((subscription.priority, subscription.order), cast("Exception", errors)))
        return get_first_leaf(cancellations)

    def pop_error(self) -> Exception:
        """Return the only error, which leaves as it is."""
        return self._errors()[0]

    def raise_errors(self) -> None:
        """End a dispatch that ran its course.

        Raises:
            ExceptionGroup: Errors are in hand; they stand in the order of the dispatch.
        """
        if self.errors:
            raise ExceptionGroup(self._message(), self._errors())

    def raise_with(self, exc: BaseException) -> NoReturn:
        """End a dispatch that was ended from outside, by a cancellation or an interrupt.

        Raises:
            BaseException: The one given, if no errors are in hand.
            BaseExceptionGroup: The errors in hand and the one given: errors alone would let an ``except Exception``
                lose the cancellation.
        """
        if not self.errors:
            raise exc
        raise BaseExceptionGroup(f"{self._message()}, and the dispatch was ended", [*self._errors(), exc]) from None

    def _errors(self) -> list[Exception]:
        # Given away, since an error remembers the frames that remember us: a cycle that only the collector would find.
        errors, self.errors = self.errors, []
        return [error for _, error in sorted(errors, key=itemgetter(0))]

    def _message(self) -> str:
        under = type(self._event).__qualname__ if self._plan.name is None else safe_repr(self._plan.name)
        return f"errors in listeners of {under}"
