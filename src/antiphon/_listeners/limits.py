"""The ``limit`` option: how many calls of a listener may run at a time in each event loop.

A semaphore for each event loop counts the calls.

A listener may dispatch an event that reaches the listener again. If all running calls wait for such a nested call, none
of them can finish. A context variable with the enclosing calls detects this, and the nested call raises `RuntimeError`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakKeyDictionary

import anyio

from antiphon._listeners.subscription import SubscriptionWithOptions, removed_async_listener
from antiphon._util.naming import safe_repr

__all__ = ("Limit", "enclosing_calls")


class _LimitState:
    """The calls of one limited listener in one event loop."""

    __slots__ = ("limit", "running", "semaphore")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.semaphore = anyio.Semaphore(limit, fast_acquire=True)
        self.running: set[_RunningCall] = set()

    def is_deadlocked(self) -> bool:
        """Return whether all running calls wait for another call of the same listener."""
        return len(self.running) >= self.limit and all(call.waiting for call in self.running)


class _RunningCall:
    """One running call of a limited listener."""

    __slots__ = ("state", "waiting")

    def __init__(self, state: _LimitState) -> None:
        #: The state that counts the call, or None after the call. A context can outlive the call, and must not keep the
        #: state alive.
        self.state: _LimitState | None = state
        #: How many nested calls of the same listener wait for the limit.
        self.waiting = 0


#: The running calls of limited listeners that enclose the current code, outermost first.
enclosing_calls: Final[ContextVar[tuple[_RunningCall, ...]]] = ContextVar("enclosing_calls", default=())


class Limit:
    """A wrapper that limits how many calls of a listener run at a time in each event loop.

    All wrappers of one registration share the limit.
    """

    def __init__(
        self, limit: int, subscription: SubscriptionWithOptions, call: Callable[[Any], Awaitable[object]]
    ) -> None:
        # Import it here: programs without limits do not need it, and loading anyio.lowlevel takes longer than loading
        # all of antiphon if anyio loads its modules lazily.
        from anyio.lowlevel import current_token

        self._current_token = current_token
        self._limit = limit
        self._subscription = subscription
        self._call = call
        if subscription.limit_states is None:
            subscription.limit_states = WeakKeyDictionary()
        self._states = subscription.limit_states

    async def call(self, event: Any, /) -> object:
        """Call the listener once fewer calls than the limit are running.

        Raises:
            RuntimeError: If all running calls wait for this call.
        """
        state = self._get_state()
        enclosing = tuple(call for call in enclosing_calls.get() if call.state is not None)
        await self._acquire(state, [call for call in enclosing if call.state is state])
        running = _RunningCall(state)
        try:
            if self._subscription.call is removed_async_listener:
                return "removed"
            state.running.add(running)
            token = enclosing_calls.set((*enclosing, running))
            try:
                return await self._call(event)
            finally:
                state.running.discard(running)
                running.state = None
                enclosing_calls.reset(token)
        finally:
            state.semaphore.release()

    async def _acquire(self, state: _LimitState, enclosing: list[_RunningCall]) -> None:
        for call in enclosing:
            call.waiting += 1
        try:
            if enclosing and state.is_deadlocked():
                raise RuntimeError(
                    f"{safe_repr(self._subscription.listener)} may run {self._limit} at a time, and all these calls "
                    f"wait for a dispatch that calls it again: it would wait for itself. Raise limit=, or dispatch "
                    f"outside the listener"
                )
            await state.semaphore.acquire()
        finally:
            for call in enclosing:
                call.waiting -= 1

    def _get_state(self) -> _LimitState:
        loop = self._current_token().native_token
        state: _LimitState | None = self._states.get(loop)
        if state is None:
            state = self._states[loop] = _LimitState(self._limit)
        return state
