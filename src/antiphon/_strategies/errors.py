"""Error policies: what an exception that leaves a listener does to the dispatch.

`handle_exception` gives each exception that leaves a listener to the `ErrorCollector` of the dispatch. An error goes to
the policy. A cancellation that was not requested becomes a `ListenerCancelled`, which is an error too. A requested
cancellation and an interrupt are raised again. The collector raises the errors when the listeners have finished.

Each error gets a note that names the listener, the event and the dispatcher.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias, cast

from antiphon._backend import get_asyncio_task, get_first_leaf, is_cancellation, is_cancelled_by_scope
from antiphon._events.attributes import INFO
from antiphon._exceptions import ListenerCancelled
from antiphon._listeners.subscription import Subscription
from antiphon._registry.plan import Plan, StrategyStep
from antiphon._util.callables import find_unrun_kind, is_async_callable, is_generator_callable
from antiphon._util.naming import listener_name, safe_repr
from antiphon._util.validation import check_parameters

if TYPE_CHECKING:
    from antiphon._strategies.cancellation import CancellationWatch

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

#: "raise", "collect", "log", or a plain function that is called with the exception, the event and the listener.
ErrorPolicy: TypeAlias = Literal["raise", "collect", "log"] | Callable[[Exception, Any, Any], object]

#: More notes than this on one exception (from nested dispatches) would bury its message.
MAX_NOTES: Final = 8
NOTE_PREFIX: Final = "antiphon: "


def check_error_policy(errors: object, third: str = "listener") -> ErrorPolicy:
    """Check that an object is an error policy.

    Args:
        errors: The object.
        third: What a function receives after the exception and the event.

    Returns:
        The policy.

    Raises:
        TypeError: If it is neither a string nor callable, if it is async or a generator function, or if it cannot be
            called with three arguments.
        ValueError: If it is a string other than "raise", "collect" and "log".
    """
    expected = f'errors= is "raise", "collect", "log" or a plain function of exception, event and {third}'
    if isinstance(errors, str):
        if errors not in ("raise", "collect", "log"):
            raise ValueError(f"{expected}; got {errors!r}")
    elif not callable(errors):
        raise TypeError(f"{expected}; got {safe_repr(errors)} ({type(errors).__name__})")
    elif is_async_callable(errors):
        raise TypeError(
            f"{expected}; {safe_repr(errors)} is async, and a dispatch does not await it: record the error in a plain "
            f"function, and await after the dispatch"
        )
    elif is_generator_callable(errors):
        raise TypeError(f"{expected}; {safe_repr(errors)} is a generator function, whose call runs no code")
    elif isinstance(errors, type) and issubclass(cast("type[Any]", errors), BaseException):
        raise TypeError(
            f"{expected}; got the class {cast('type[Any]', errors).__name__}, whose call only makes an object, so each "
            f"error would be lost: pass a function that raises what it does not handle"
        )
    else:
        check_parameters(errors, ("exception", "event", third), expected)
    return cast(ErrorPolicy, errors)


def to_listener_error(
    exc: BaseException, subscription: Subscription, watch: CancellationWatch | None
) -> Exception | None:
    """Return the error that the policy receives for an exception that left a listener.

    Args:
        exc: The exception.
        subscription: The registration of the listener.
        watch: The watch of the running task, or None if the requests to cancel it are not known.

    Returns:
        The exception itself if it is an error. A `ListenerCancelled` if it is a cancellation that was not requested;
        in a group, each such cancellation is replaced by one. None for a requested cancellation and an interrupt,
        which no policy receives.
    """
    if isinstance(exc, Exception):
        return exc
    if watch is None or watch.is_requested(exc):
        return None
    reported: tuple[BaseException, Exception] | None = getattr(subscription, "reported", None)
    if reported is not None and reported[0] is exc:
        # The instruments have already received this exception.
        return reported[1]
    return _replace_cancellations(exc, subscription.listener)


def _replace_cancellations(exc: BaseException, listener: object) -> Exception | None:
    """Replace each cancellation by a `ListenerCancelled`. Return None if there is an interrupt."""
    if isinstance(exc, Exception):
        return exc
    if is_cancellation(exc):
        error = ListenerCancelled(listener)
        error.__cause__ = exc
        return error
    if not isinstance(exc, BaseExceptionGroup):
        return None
    group = cast("BaseExceptionGroup[BaseException]", exc)
    members = [_replace_cancellations(member, listener) for member in group.exceptions]
    errors = [member for member in members if member is not None]
    if len(errors) < len(members):
        return None
    replaced = ExceptionGroup(group.message, errors).with_traceback(group.__traceback__)
    replaced.__cause__, replaced.__context__ = group.__cause__, group.__context__
    replaced.__suppress_context__ = group.__suppress_context__
    return replaced


def annotate_exception(exc: BaseException, step: Subscription | StrategyStep, plan: Plan, event: object) -> None:
    """Add a note to an exception that leaves a dispatch, which says where it was raised.

    Errors get the note, and cancellations for which no request is visible. A requested cancellation does not get it,
    because the listener did not cause it.
    """
    if isinstance(step, StrategyStep):
        for raised, subscription in step.find_raised(exc):
            annotate_exception(raised, subscription, plan, event)
    elif exc.__class__ is AttributeError and _is_missing_info(exc, event):
        # The dispatch itself has read it. Looking for it in each dispatch would cost time.
        what = (
            f"a listener cleared the __dict__ of the event, which has the state of the dispatch ({INFO}), instead of "
            f"deleting its own attributes; the dispatch ended at"
        )
        add_note(exc, step, plan, event, what=what)
    elif isinstance(exc, Exception):
        add_note(exc, step, plan, event)
    elif is_cancellation(exc) and not is_cancelled_by_scope():
        task = get_asyncio_task()
        if task is None or not task.cancelling():
            add_note(exc, step, plan, event, what="a cancellation that no scope or task around it requested left")


def _is_missing_info(exc: Any, event: object) -> bool:
    return exc.name == INFO and exc.obj is event


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
        what: The relation of the exception to the listener.
        policy: The function that raised the exception while it handled an error of the listener, or None if the
            listener raised the exception.
    """
    if isinstance(error, BaseExceptionGroup):
        for member in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            add_note(member, subscription, plan, event, what=what, policy=policy)
        return
    try:
        name = "" if plan.name is None else f"{safe_repr(plan.name)} "
        if policy is not None:
            what = f"raised by the error policy {listener_name(policy)}, which handled an error raised in"
        note = (
            f"{NOTE_PREFIX}{what} listener {listener_name(subscription.listener)}, while "
            f"{safe_repr(plan.dispatcher)} dispatched {name}({type(event).__qualname__})"
        )
        notes: Any = getattr(error, "__notes__", ())
        if not notes or (
            note not in notes and sum(str(earlier).startswith(NOTE_PREFIX) for earlier in notes) < MAX_NOTES
        ):
            error.add_note(note)
    except Exception:  # noqa: S110  a lost note is better than a lost error
        pass


def log_error(error: Exception, message: str) -> None:
    """Log an error with its traceback, as the policy "log" does.

    Args:
        error: The error.
        message: The complete message.
    """
    # Imported here, because only programs that log need it. The message has no arguments: a stored log record would
    # keep the event and the listener alive.
    import logging

    logging.getLogger("antiphon").error("%s", message, exc_info=error)


def check_not_awaitable(result: object, policy: object) -> None:
    """Check that an error policy did not return an object that must be awaited or iterated.

    Raises:
        TypeError: If it did.
    """
    if result is None:
        return
    kind = find_unrun_kind(result)
    if kind:
        raise TypeError(
            f"errors= is a plain function; {safe_repr(policy)} returned {kind}, and a dispatch does not await it: "
            f"record the error in the function, and await after the dispatch"
        )


def handle_exception(
    exc: BaseException, subscription: Subscription, collector: ErrorCollector, watch: CancellationWatch
) -> bool:
    """Give an exception that left a listener to the error policy.

    Returns:
        Whether the exception ends the dispatch.

    Raises:
        BaseException: If the exception is a requested cancellation or an interrupt.
    """
    try:
        error = to_listener_error(exc, subscription, watch)
        if error is None:
            raise collector.keep_errors_of(exc, subscription)
        watch.cancel_if_error_hides_request(error)
        return collector.handle(error, subscription) is not None
    finally:
        # A frame that references an exception creates a reference cycle.
        del exc


class ErrorCollector:
    """The errors of one dispatch, and its error policy.

    Args:
        policy: The error policy.
        plan: The plan of the dispatch.
        event: The event.
    """

    __slots__ = ("_annotated_ids", "_event", "_plan", "_policy", "errors", "is_finished")

    #: Whether the dispatch starts no further listeners, because of an error or because a listener won the race.
    is_finished: bool
    #: The errors that will leave the dispatch, each with the priority and order of its listener.
    errors: list[tuple[tuple[int, int], Exception]]

    def __init__(self, policy: ErrorPolicy, plan: Plan, event: Any) -> None:
        self._policy = policy
        self._plan = plan
        self._event = event
        self._annotated_ids: set[int] = set()
        self.errors = []
        self.is_finished = False

    def handle(self, error: Exception, subscription: Subscription) -> Exception | None:
        """Give an error of a listener to the policy.

        Returns:
            The error that ends the dispatch, or None if the dispatch continues.
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
                    # The traceback of the policy's error shows both errors, so both get a note.
                    add_note(error, subscription, self._plan, self._event)
                    raised_by = policy
                error = raised
            else:
                return None
        if id(error) not in self._annotated_ids:
            # The ids stay unique, because the errors are stored below.
            self._annotated_ids.add(id(error))
            add_note(error, subscription, self._plan, self._event, policy=raised_by)
        self.errors.append(((subscription.priority, subscription.order), error))
        if policy == "collect":
            return None
        self.is_finished = True
        return error

    def _log(self, error: Exception, event: Any, listener: Any) -> None:
        name = "" if self._plan.name is None else f"{safe_repr(self._plan.name)}, "
        log_error(
            error,
            f"listener {listener_name(listener)} failed, {safe_repr(self._plan.dispatcher)} goes on with the dispatch "
            f"of {name}{safe_repr(event)}",
        )

    def keep_errors_of(self, exc: BaseException, subscription: Subscription) -> BaseException:
        """Store the errors that left a listener in one group with a cancellation, as they leave a nested dispatch.

        Returns:
            The cancellation alone. A task group would remove it from the group and raise the errors without it.
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
        """Return the only error, to raise it without a group."""
        return self._pop_errors()[0]

    def raise_errors(self) -> None:
        """Raise the errors of a dispatch that was not cancelled or interrupted.

        Raises:
            ExceptionGroup: If there are errors. The group has them in the order of the listeners.
        """
        if self.errors:
            raise ExceptionGroup(self._format_message(), self._pop_errors())

    def raise_with(self, exc: BaseException) -> NoReturn:
        """Raise the cancellation or interrupt that ended a dispatch, together with the errors.

        Raises:
            BaseException: The given exception, if there are no errors.
            BaseExceptionGroup: The errors and the given exception. If the errors left alone, an ``except Exception``
                would lose the cancellation.
        """
        try:
            if not self.errors:
                raise exc
            message = f"{self._format_message()}, and the dispatch was ended"
            raise BaseExceptionGroup(message, [*self._pop_errors(), exc]) from None
        finally:
            # A frame that references an exception creates a reference cycle.
            del exc

    def _pop_errors(self) -> list[Exception]:
        # Detach the list: each exception references frames that reference this object, and the cycle would live until
        # the next garbage collection.
        errors, self.errors = self.errors, []
        return [error for _, error in sorted(errors, key=itemgetter(0))]

    def _format_message(self) -> str:
        label = type(self._event).__qualname__ if self._plan.name is None else safe_repr(self._plan.name)
        return f"errors in listeners of {label}"
