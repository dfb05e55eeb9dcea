"""Registering plain functions: without the options that only an event loop could follow."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

from antiphon._dispatchers.registering import RegisteringMixin, own_add_listeners
from antiphon._listeners.subscription import Options, Subscription
from antiphon._types import SyncListener
from antiphon._util.arguments import documented_as

__all__ = ("SyncRegisteringMixin",)

L = TypeVar("L", bound=SyncListener)


class _Documentation:
    """What ``help`` shows for the methods of an `EventDispatcher`. Those that are called take all options."""

    def add_listener(
        self,
        key: Hashable,
        listener: SyncListener,
        /,
        *,
        priority: int = 0,
        once: bool = False,
        where: Callable[[Any], object] | None = None,
    ) -> Subscription:
        """Register a listener. It runs from the next dispatch on.

        Args:
            key: What to listen to. A string is the name of a dispatch, or a pattern of names: ``*`` matches one segment
                between dots, ``**`` any number of segments, and ``"*"`` alone matches every event. A class matches the
                events of that class and its subclasses, under any name. A union, ``A | B``, matches the events of
                several classes. Any other hashable object is a name.
            listener: A plain function that is called with the event. A listener that is added twice runs twice.
            priority: Lower priorities run first. Listeners of equal priority run in the order of registration.
            once: Whether the first call removes the listener, so that it is the only call.
            where: A plain function that receives the event and returns whether to call the listener. An exception that
                it raises is an error of the listener.

        Returns:
            The handle of this registration. ``unsubscribe()`` removes the listener, and so does the end of a ``with``
            block.

        Raises:
            TypeError: If the key is None or unhashable, if the listener is async or cannot be called with one event,
                or if an option has a wrong type or is for async listeners. Nothing is registered then.
            ValueError: If the key contains a ``*`` but is not a pattern.
            RuntimeError: If this dispatcher is a scope that has ended.
        """
        raise NotImplementedError

    def listen(
        self,
        *keys: Hashable,
        priority: int = 0,
        once: bool = False,
        where: Callable[[Any], object] | None = None,
    ) -> Callable[[L], L]:
        """Register the decorated function. The options are those of `add_listener`.

        Args:
            *keys: What to listen to, as for `add_listener`. With several keys, an event that several of them match
                calls the function once. The options hold for all keys together.
            priority: As for `add_listener`.
            once: As for `add_listener`.
            where: As for `add_listener`.

        Returns:
            A decorator that returns its function unchanged.

        Raises:
            TypeError: As for `add_listener`, or if it is used without a key.
            ValueError: As for `add_listener`.
        """
        raise NotImplementedError


class SyncRegisteringMixin(RegisteringMixin):
    """The methods of an `EventDispatcher` that add listeners."""

    # For type checkers, `EventDispatcher` declares them.
    if not TYPE_CHECKING:
        add_listener = documented_as(
            _Documentation.add_listener, RegisteringMixin.add_listener, "SyncRegisteringMixin.add_listener"
        )
        listen = documented_as(_Documentation.listen, RegisteringMixin.listen, "SyncRegisteringMixin.listen")

    def _check_options(self, options: Options, /) -> None:
        super()._check_options(options)
        for option in ("timeout", "limit"):
            if getattr(options, option) is not None:
                raise TypeError(
                    f"an EventDispatcher has no event loop that could end or hold back a listener: {option}= is for "
                    f"listeners of an AsyncEventDispatcher"
                )


own_add_listeners.append(SyncRegisteringMixin.add_listener)
