"""Pure functions on the exceptions of a queue: how they are combined, split and replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, cast

from antiphon._backend import is_cancellation
from antiphon._exceptions import ListenerCancelled

__all__ = (
    "combine_exceptions",
    "is_interrupt",
    "mark_refusal",
    "remove_refusals",
    "split_exception",
    "to_leak_error",
)

#: The attribute of an error that has the queue which raised it, because the queue had been stopped.
_REFUSED_BY: Final = "_antiphon_refused_by"


def combine_exceptions(
    message: str, failures: Sequence[Exception], exceptions: Sequence[BaseException]
) -> BaseException | None:
    """Combine everything that went wrong into the exception that leaves the block of a queue.

    Args:
        message: The message of the group.
        failures: The errors of dispatches. They always leave in a group.
        exceptions: The exceptions that ended the block, in order. Only the first of several cancellations is used, and
            none if there is an interrupt. A single exception leaves without a group if there are no failures.

    Returns:
        The exception, or None if there is none.
    """
    has_interrupt = any(map(is_interrupt, exceptions))
    selected: list[BaseException] = []
    for exc in exceptions:
        if not is_cancellation(exc) or not (has_interrupt or any(map(is_cancellation, selected))):
            selected.append(exc)
    if not failures and len(selected) <= 1:
        return selected[0] if selected else None
    group = BaseExceptionGroup(message, [*failures, *selected])
    # The exception of the body is a member of the group, so do not show it as the context, too.
    group.__suppress_context__ = True
    return group


def is_interrupt(exc: BaseException) -> bool:
    """Return whether an exception is neither an error nor a cancellation, or is a group with such an exception."""
    return split_exception(exc, lambda leaf: isinstance(leaf, Exception) or is_cancellation(leaf))[1] is not None


def to_leak_error(queue: object, cancellation: BaseException) -> ListenerCancelled:
    """Return the error that replaces a cancellation that left a dispatch, although the queue did not cancel it."""
    leak = ListenerCancelled(queue)
    leak.__cause__ = cancellation
    # The notes name the listener.
    for note in getattr(cancellation, "__notes__", ()):
        leak.add_note(note)
    return leak


def split_exception(
    exc: BaseException | None, condition: Callable[[BaseException], bool]
) -> tuple[BaseException | None, BaseException | None]:
    """Split an exception into the part that matches a condition and the rest.

    Returns:
        Both parts, each of which may be None. If one part is None, the other is the same object as the argument.
    """
    if isinstance(exc, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", exc)
        matching, rest = group.split(condition)
        if matching is not None and rest is not None:
            return matching, rest
        return (None, group) if matching is None else (group, None)
    return (exc, None) if exc is not None and condition(exc) else (None, exc)


def mark_refusal(error: Exception, queue: object) -> Exception:
    """Mark an error as raised by a queue that had been stopped, and return it."""
    setattr(error, _REFUSED_BY, queue)
    return error


def remove_refusals(exc: BaseException | None, queue: object) -> BaseException | None:
    """Remove the errors that `mark_refusal` has marked from an exception. They are consequences of the queue's end."""
    return split_exception(exc, lambda leaf: getattr(leaf, _REFUSED_BY, None) is queue)[1]
