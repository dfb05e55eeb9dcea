"""Running code in a listener as if it did not belong to the dispatch."""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final

from antiphon._events.stop_observer import stop_observer
from antiphon._instrumentation.records import current_call
from antiphon._listeners.limits import enclosing_calls
from antiphon._strategies.cancellation import current_watch
from antiphon._strategies.driver import reset_context_variable
from antiphon._util.contexts import PlainContext
from antiphon._util.naming import publish
from antiphon._waiting.queue_item import running_dispatch

__all__ = ("outside_dispatch",)

#: The context variables of running dispatches, with their values outside of one.
_VARIABLES: Final[tuple[tuple[ContextVar[Any], object], ...]] = (
    (stop_observer, None),
    (current_watch, None),
    (current_call, None),
    (enclosing_calls, ()),
    (running_dispatch, None),
)


class outside_dispatch(PlainContext):  # noqa: N801  used like a function
    """In the block of this context manager, start work that outlives the dispatch, such as a background task.

    Code in the block does not belong to the dispatch that runs the listener, and neither do the tasks that it starts::

        with outside_dispatch():
            task_group.start_soon(update_index, event.order)

    Without the block, antiphon's context variables tie the task to the dispatch. Instruments show its dispatches as
    part of the listener, a ``limit`` takes them for nested calls, and ``join`` refuses to wait for the queue that runs
    the listener. The block changes no other context variables, and the cancellation of the listener still reaches it.
    """

    __slots__ = ("_tokens",)

    _usage = "with outside_dispatch():"

    def __init__(self) -> None:
        self._tokens: list[tuple[ContextVar[Any], Token[Any]]] = []

    def __repr__(self) -> str:
        return "outside_dispatch()"

    def __enter__(self) -> None:
        # A second block with the same object must not reset what the first block resets.
        if self._tokens:
            raise RuntimeError("this block is running already; write a new `with outside_dispatch()`")
        self._tokens = [(variable, variable.set(value)) for variable, value in _VARIABLES]

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        tokens, self._tokens = self._tokens, []
        for variable, token in tokens:
            reset_context_variable(variable, token)


publish("antiphon", outside_dispatch)
