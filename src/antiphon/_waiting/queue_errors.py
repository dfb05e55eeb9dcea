"""What leaves the block of a queue, and what counts as the queue's own doing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, cast

from antiphon._backend import is_cancellation
from antiphon._exceptions import ListenerCancelled

__all__ = ("as_leak", "is_interrupt", "mark_refusal", "split", "what_leaves", "without_refusals")

#: Of an error: the queue that refused a use of itself with it.
_REFUSED_BY: Final = "_antiphon_refused_by"


def what_leaves(message: str, failures: Sequence[Exception], ends: Sequence[BaseException]) -> BaseException | None:
    """Combine what went wrong into what leaves the block of a queue.

    Args:
        message: What a group of several says.
        failures: The errors of dispatches; they always leave in a group.
        ends: What ended the block, in order. The first of several cancellations stands for all of them, and an
            interrupt for all cancellations. One end alone leaves as itself.

    Returns:
        The exception that leaves, None if nothing does.
    """
    interrupted = any(map(is_interrupt, ends))
    left: list[BaseException] = []
    for end in ends:
        if not is_cancellation(end) or not (interrupted or any(map(is_cancellation, left))):
            left.append(end)
    if not failures and len(left) <= 1:
        return left[0] if left else None
    group = BaseExceptionGroup(message, [*failures, *left])
    # They are no consequence of what left the body, which is one of them.
    group.__suppress_context__ = True
    return group


def is_interrupt(exc: BaseException) -> bool:
    """Return whether an exception is, or holds, what is neither an error nor a cancellation."""
    return split(exc, lambda leaf: isinstance(leaf, Exception) or is_cancellation(leaf))[1] is not None


def as_leak(queue: object, cancellation: BaseException) -> ListenerCancelled:
    """Make the error in the place of a cancellation that left a dispatch, though the queue did not cancel it."""
    leak = ListenerCancelled(queue)
    leak.__cause__ = cancellation
    # They name the listener.
    for note in getattr(cancellation, "__notes__", ()):
        leak.add_note(note)
    return leak


def split(
    exc: BaseException | None, wanted: Callable[[BaseException], bool]
) -> tuple[BaseException | None, BaseException | None]:
    """Split an exception into what is wanted and the rest. What is all one or the other stays the same object."""
    if isinstance(exc, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", exc)
        found, rest = group.split(wanted)
        if found is not None and rest is not None:
            return found, rest
        return (None, group) if found is None else (group, None)
    return (exc, None) if exc is not None and wanted(exc) else (None, exc)


def mark_refusal(error: Exception, queue: object) -> Exception:
    """Mark the error for a use of a queue that has ended, to tell it from those of the user's code. Returns it."""
    setattr(error, _REFUSED_BY, queue)
    return error


def without_refusals(exc: BaseException | None, queue: object) -> BaseException | None:
    """Remove from an exception what the end of a queue caused itself: its own refusals."""
    return split(exc, lambda leaf: getattr(leaf, _REFUSED_BY, None) is queue)[1]
