"""Listeners as a subclass gets them that runs them itself, as whistle let it."""

from __future__ import annotations

from typing import Any

from antiphon._listeners import Subscription
from antiphon._plan import Plan
from antiphon._policies import add_note, annotate_exception

__all__ = ("AsyncGuard", "Guard")


class _Guard:
    """Stands for a listener: it equals the listener, looks like it, and knows when it has been removed."""

    __slots__ = ("_plan", "_subscription")

    def __init__(self, subscription: Subscription, plan: Plan) -> None:
        self._subscription = subscription
        self._plan = plan

    def __eq__(self, other: object) -> bool:
        stands_for = other._subscription.listener if isinstance(other, _Guard) else other
        return bool(self._subscription.listener == stands_for)

    def __hash__(self) -> int:
        return hash(self._subscription.listener)

    def __repr__(self) -> str:
        return repr(self._subscription.listener)

    def __getattr__(self, attribute: str) -> Any:
        # For what a subclass may want to log, such as __name__ and __qualname__; a copy in the making has nothing yet.
        if attribute in _Guard.__slots__:
            raise AttributeError(attribute)
        return getattr(self._subscription.listener, attribute)


class Guard(_Guard):
    """Stands for a plain function."""

    __slots__ = ()

    def __call__(self, event: Any, /) -> Any:
        """Call the listener."""
        try:
            return self._subscription.call(event)
        except Exception as exc:
            add_note(exc, self._subscription, self._plan, event)
            raise


class AsyncGuard(_Guard):
    """Stands for an async listener."""

    __slots__ = ()

    async def __call__(self, event: Any, /) -> Any:
        """Call the listener."""
        try:
            return await self._subscription.call(event)
        except BaseException as exc:
            annotate_exception(exc, self._subscription, self._plan, event)
            raise
