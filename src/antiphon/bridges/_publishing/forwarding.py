"""Forwarding: the listener that publishes what is dispatched locally."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from antiphon import AsyncEventDispatcher, Event, Registrar, named
from antiphon.bridges._channel import Channel
from antiphon.bridges._errors import ConfigurationError
from antiphon.bridges._received import ReceivedEvents

__all__ = ("Forward", "check_where", "register_forward")

#: Forwarding is the last listener, so that a dispatch that fails or is stopped is not published.
_LAST: Final = sys.maxsize


class Forward(NamedTuple):
    """The checked options of a forward."""

    cls: type[Any]
    channel: Channel
    where: Callable[[Any], object] | None


def check_where(where: Any) -> None:
    """Check the predicate of a forward, as a dispatcher does.

    Raises:
        ConfigurationError: If it is neither a plain function of the event nor None.
    """

    async def listener(event: object) -> None: ...

    try:
        AsyncEventDispatcher().add_listener(Event, listener, where=where)
    except TypeError as exc:
        raise ConfigurationError(str(exc)) from exc


def register_forward(
    registrar: Registrar,
    forward: Forward,
    received: ReceivedEvents,
    publish: Callable[[Any, Channel, Any], Awaitable[object]],
) -> None:
    """Register the listener of a forward.

    Args:
        registrar: Where to register it.
        forward: The options.
        received: The events that came from the broker, which are not published again.
        publish: Publishes an event to a channel, under a name.
    """

    async def publish_to_channel(event: Any, name: Any) -> None:
        if event not in received:
            await publish(event, forward.channel, name)

    publish_to_channel.__qualname__ = f"forward to {forward.channel.name!r}"
    registrar.add_listener(forward.cls, named(publish_to_channel), priority=_LAST, where=forward.where)
