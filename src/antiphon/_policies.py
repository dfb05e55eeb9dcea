"""Error policies: what an error that leaves a listener does to the dispatch."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable
from operator import itemgetter
from types import CoroutineType
from typing import Any, Final, Literal, NoReturn, TypeAlias, cast

from antiphon._backend import first_leaf, is_cancellation, is_leaked_cancellation
from antiphon._exceptions import ListenerCancelled
from antiphon._listeners import Subscription, is_async_callable, qualified_name, safe_repr
from antiphon._plan import Plan, Whole

__all__ = (
    "ErrorPolicy",
    "Failures",
    "add_note",
    "as_error",
    "check_policy",
    "explain",
    "log_error",
    "refuse_awaitable",
)

#: "raise", "collect", "log", or a plain function that is given the exception, the event and the listener.
ErrorPolicy: TypeAlias = Literal["raise", "collect", "log"] | Callable[[Exception, Any, Any], object]

#: More notes than this on one exception (from dispatch within dispatch) would bury its message.
MAX_NOTES: Final = 8
NOTE_PREFIX: Final = "antiphon: "


def check_policy(errors: object) -> ErrorPolicy:
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
    return cast(ErrorPolicy, errors)


def as_error(exc: BaseException, subscription: Subscription) -> Exception | None:
    """Tell what the policies see of an exception that left a listener.

    Returns:
        The exception itself, a `ListenerCancelled` in the place of a leaked cancellation, or None for what
        no policy may see: a cancellation that was asked for, ``KeyboardInterrupt`` and the like.
    """
    if isinstance(exc, Exception):
        return exc
    if not is_leaked_cancellation(exc):
        return None
    known: ListenerCancelled | None = getattr(subscription, "leaked", None)
    if known is not None and known.__cause__ is exc:
        # Instruments were told of it already.
        return known
    error = ListenerCancelled(subscription.listener)
    error.__cause__ = exc
    return error


def explain(exc: BaseException, step: Subscription | Whole, plan: Plan, event: object) -> Exception | None:
    """Say on an exception that leaves a dispatch where it was raised.

    Returns:
        What is to leave in its place: a `ListenerCancelled` if it is a leaked cancellation, else None. (Not the
        exception itself: a frame that keeps what leaves it makes a cycle.)
    """
    if isinstance(step, Whole):
        # Whoever ran the listeners has said it.
        return None
    error = as_error(exc, step)
    if error is None:
        return None
    add_note(error, step, plan, event)
    return None if error is exc else error


def add_note(error: BaseException, subscription: Subscription, plan: Plan, event: object) -> None:
    """Say on an exception where it was raised; in a group, on each of its leaves."""
    if isinstance(error, BaseExceptionGroup):
        for member in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            add_note(member, subscription, plan, event)
        return
    try:
        under = "" if plan.name is None else f"{safe_repr(plan.name)} "
        note = (
            f"{NOTE_PREFIX}raised in listener {qualified_name(subscription.listener)}, while "
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


def refuse_awaitable(result: object, policy: object) -> None:
    """Refuse what an error policy returned if nobody would await it.

    Raises:
        TypeError: It can be awaited.
    """
    if isawaitable(result):
        if isinstance(result, CoroutineType):
            result.close()
        raise TypeError(
            f"errors= is a plain function; {safe_repr(policy)} returned something to await, and nobody would await it: "
            f"let it note the error, and do what must be awaited after the dispatch"
        )


class Failures:
    """What went wrong in one dispatch, under its error policy."""

    __slots__ = ("_event", "_plan", "_policy", "ended", "in_hand")

    #: Whether an error ended the dispatch, or a listener won it.
    ended: bool
    #: The errors that will leave with the dispatch, each after the place of its listener in the order.
    in_hand: list[tuple[tuple[int, int], Exception]]

    def __init__(self, policy: ErrorPolicy, plan: Plan, event: Any) -> None:
        self._policy = policy
        self._plan = plan
        self._event = event
        self.in_hand = []
        self.ended = False

    def take(self, error: Exception, subscription: Subscription) -> Exception | None:
        """Give an error of a listener to the policy.

        Returns:
            The error that ends the dispatch, None if it goes on.
        """
        policy = self._policy
        if policy == "log":
            policy = self._log
        if not isinstance(policy, str):
            try:
                refuse_awaitable(policy(error, self._event, subscription.listener), policy)
            except Exception as raised:
                error = raised
            else:
                return None
        if all(error is not earlier for _, earlier in self.in_hand):
            add_note(error, subscription, self._plan, self._event)
        self.in_hand.append(((subscription.priority, subscription.order), error))
        if policy == "collect":
            return None
        self.ended = True
        return error

    def _log(self, error: Exception, event: Any, listener: Any) -> None:
        under = "" if self._plan.name is None else f"{safe_repr(self._plan.name)}, "
        log_error(
            error,
            f"listener {qualified_name(listener)} failed, {safe_repr(self._plan.dispatcher)} goes on with the dispatch "
            f"of {under}{safe_repr(event)}",
        )

    def held_back(self, exc: BaseException, subscription: Subscription) -> BaseException:
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
            self.in_hand.append(((subscription.priority, subscription.order), cast("Exception", errors)))
        return first_leaf(cancellations)

    def leave(self) -> None:
        """End a dispatch that ran its course.

        Raises:
            ExceptionGroup: Errors are in hand; they stand in the order of the dispatch.
        """
        if self.in_hand:
            raise ExceptionGroup(self._message(), self._errors())

    def leave_with(self, exc: BaseException) -> NoReturn:
        """End a dispatch that was ended from outside, by a cancellation or an interrupt.

        Raises:
            BaseException: The one given, if no errors are in hand.
            BaseExceptionGroup: The errors in hand and the one given: errors alone would let an ``except Exception``
                lose the cancellation.
        """
        if not self.in_hand:
            raise exc
        raise BaseExceptionGroup(f"{self._message()}, and the dispatch was ended", [*self._errors(), exc]) from None

    def _errors(self) -> list[Exception]:
        # Given away, since an error remembers the frames that remember us: a cycle that only the collector would find.
        in_hand, self.in_hand = self.in_hand, []
        return [error for _, error in sorted(in_hand, key=itemgetter(0))]

    def _message(self) -> str:
        under = type(self._event).__qualname__ if self._plan.name is None else safe_repr(self._plan.name)
        return f"errors in listeners of {under}"
