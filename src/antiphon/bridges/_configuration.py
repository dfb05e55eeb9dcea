"""What a bridge forwards and receives, and the combinations that would lose or repeat events."""

from __future__ import annotations

from typing import Any

from antiphon import AsyncEventDispatcher
from antiphon.bridges._brokers.protocol import Message
from antiphon.bridges._channel import Channel
from antiphon.bridges._checks import describe, show
from antiphon.bridges._codec.registry import EventRegistry
from antiphon.bridges._errors import ConfigurationError
from antiphon.bridges._publishing.forwarding import Forward, check_where
from antiphon.bridges._receiving.options import Receive

__all__ = ("Configuration", "check_parts")


class Configuration:
    """The channels, forwards and receives of a bridge.

    Args:
        events: The registry of the events that may cross.
    """

    def __init__(self, events: EventRegistry) -> None:
        self._events = events
        self.channels: dict[str, Channel] = {}
        self.forwards: list[Forward] = []
        self.receives: list[Receive] = []

    def add_channel(self, channel: object) -> None:
        """Add a channel, unless it is known.

        Raises:
            ConfigurationError: If it is not a channel, or if another one has its name.
        """
        if not isinstance(channel, Channel):
            raise ConfigurationError(f'expected a Channel, such as Channel("orders"); got {show(channel)}')
        if self.channels.setdefault(channel.name, channel) != channel:
            raise ConfigurationError(f"the channel {channel.name!r} is declared as {self.channels[channel.name]!r}")

    def add_forward(self, added: Forward) -> None:
        """Add a forward.

        Raises:
            ConfigurationError: If its class is not registered, its predicate is invalid, or its events would be
                published or handled twice.
        """
        cls, channel = added.cls, added.channel
        if self._events.find(cls) is None:
            raise ConfigurationError(f"{show(cls)} is not registered; decorate it with @events.register(...)")
        check_where(added.where)
        self.add_channel(channel)
        for forward in self.forwards:
            if forward.channel == channel and (issubclass(cls, forward.cls) or issubclass(forward.cls, cls)):
                raise ConfigurationError(
                    f"{forward.cls!r} is forwarded to {channel.name!r} already, so events of {show(cls)} would be "
                    f"published twice"
                )
        for receive in self.receives:
            self._check_not_both(added, receive)
        self.forwards.append(added)

    def add_receive(self, added: Receive, dispatcher: AsyncEventDispatcher) -> None:
        """Add a receive.

        Raises:
            ConfigurationError: If it exists already, if a class is not registered, if its events would be handled
                twice, or if the dispatcher handles the errors of its listeners.
        """
        for cls in added.only or ():
            if self._events.find(cls) is None:
                raise ConfigurationError(f"only= contains {show(cls)}, which is not registered")
        self.add_channel(added.channel)
        if any((receive.channel, receive.group) == (added.channel, added.group) for receive in self.receives):
            raise ConfigurationError(
                f"the channel {added.channel.name!r} is received with group={added.group!r} already"
            )
        for forward in self.forwards:
            self._check_not_both(forward, added)
        if added.group is not None and added.strategy is None:
            _check_errors_leave(dispatcher)
        self.receives.append(added)

    def find_channel(self, message: Message) -> Channel:
        """Return the channel of a message.

        Raises:
            ConfigurationError: If no channel with this name is known.
            TypeError: If it is not a message.
        """
        if not isinstance(message, Message):
            raise TypeError(
                f"send() takes a Message; got {describe(message)}: await publish(event, to=channel), or send what "
                f"prepare(event, to=channel) returns"
            )
        channel = self.channels.get(message.stream)
        if channel is None:
            raise ConfigurationError(
                f"the channel {message.stream!r} of the message is not known here; name it in forward() or receive(), "
                f"or call prepare(..., to=channel) once"
            )
        return channel

    def find_groups(self, channel: Channel | None) -> list[tuple[Channel, str]]:
        """Return the groups with which a channel is received, or with which all channels are, each with its channel."""
        return [
            (receive.channel, receive.group)
            for receive in self.receives
            if receive.group is not None and channel in (None, receive.channel)
        ]

    def _check_not_both(self, forward: Forward, receive: Receive) -> None:
        if receive.group is None or receive.channel.name != forward.channel.name:
            return
        classes: tuple[type[Any], ...] = receive.only or tuple(registered.cls for registered in self._events.types)
        if any(issubclass(received, forward.cls) or issubclass(forward.cls, received) for received in classes):
            raise ConfigurationError(
                f"{forward.cls!r} is forwarded to {forward.channel.name!r} and received from it with "
                f"group={receive.group!r}: its listeners would run twice; say only= in receive(), or publish() the "
                f"event instead of forwarding it"
            )


def _check_errors_leave(dispatcher: AsyncEventDispatcher) -> None:
    # A custom strategy need not have an error policy.
    errors: object = getattr(dispatcher.strategy, "errors", "raise")
    if errors not in ("raise", "collect"):
        raise ConfigurationError(
            f"the error policy of {dispatcher!r} is {errors!r}: a failed event would be acknowledged, and not "
            f"delivered again; say strategy=Sequential(), or that policy if this is what you want"
        )


def check_parts(dispatcher: object, broker: object, events: object) -> None:
    """Check the parts of a bridge.

    Raises:
        ConfigurationError: If one of them is of a wrong type.
    """
    if not isinstance(dispatcher, AsyncEventDispatcher):
        raise ConfigurationError(f"a bridge takes an AsyncEventDispatcher; got {describe(dispatcher)}")
    if isinstance(broker, type) or not all(hasattr(broker, name) for name in ("running", "publish", "source")):
        raise ConfigurationError(
            f"a bridge takes a broker, such as RedisStreams(url) or MemoryBroker(); got {describe(broker)}"
        )
    if not isinstance(events, EventRegistry):
        raise ConfigurationError(f"a bridge takes the EventRegistry of its events; got {describe(events)}")
