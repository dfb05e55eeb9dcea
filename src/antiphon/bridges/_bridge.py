"""The bridge: a dispatcher, a broker, and what crosses between them."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import anyio
from anyio.lowlevel import current_token

from antiphon import AsyncEventDispatcher, Sequential, Strategy, outside_dispatch
from antiphon.bridges._asyncapi import make_asyncapi
from antiphon.bridges._brokers.protocol import Broker, Message, Receipt
from antiphon.bridges._channel import Channel
from antiphon.bridges._checks import check_count, check_name, check_seconds, check_source
from antiphon.bridges._codec.registry import EventRegistry
from antiphon.bridges._configuration import Configuration, check_parts
from antiphon.bridges._dead_letters import DeadLetter, iterate_dead_letters
from antiphon.bridges._errors import ConfigurationError, PublishFailed
from antiphon.bridges._notices import BridgeHealth, Notice
from antiphon.bridges._publishing.forwarding import Forward, register_forward
from antiphon.bridges._publishing.publisher import Publisher
from antiphon.bridges._received import ReceivedEvents
from antiphon.bridges._receiving.deliverer import Place
from antiphon.bridges._receiving.options import Around, UnknownPolicy, make_receive
from antiphon.bridges._receiving.receiver import Receiver
from antiphon.bridges._retry import Retry
from antiphon.bridges._running import RunningBridge, combine, unwrap

__all__ = ("Bridge",)

E = TypeVar("E")


class Bridge:
    """Publishes events of a dispatcher to a broker, and dispatches what other programs have published.

    Configure it with `forward` and `receive`, and enter it with ``async with``.

    Args:
        dispatcher: The dispatcher.
        broker: The broker: ``RedisStreams``, or `MemoryBroker` for tests.
        events: The registry of the events that may cross.
        source: Where the events of this program come from, as a URI reference: ``"/shop/web"``.
        grace: The number of seconds for which deliveries may go on at the end of the block. Then they are cancelled,
            and other processes receive their events.
        max_hops: The maximum number of bridges in a chain of events, in which each event causes the next one.

    Raises:
        ConfigurationError: If an argument is invalid.

    Attributes:
        notices: A dispatcher of events about the bridge itself: the subclasses of `Notice`.
    """

    def __init__(
        self,
        dispatcher: AsyncEventDispatcher,
        broker: Broker,
        events: EventRegistry,
        *,
        source: str,
        grace: float = 10,
        max_hops: int = 16,
    ) -> None:
        check_parts(dispatcher, broker, events)
        self._dispatcher = dispatcher
        self._broker = broker
        self._events = events
        self._source = check_source(source)
        self._grace = check_seconds(grace, "grace=", zero=True)
        #: Names this bridge in the broker, and marks its events. A process that forks or restarts has another one.
        self._origin: Final = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._publisher = Publisher(
            broker, events, source=source, origin=self._origin, max_hops=check_count(max_hops, "max_hops=")
        )
        self._received = ReceivedEvents(self._origin)
        self._configuration = Configuration(events)
        self._running: RunningBridge | None = None
        #: None if the bridge is neither entered nor connected.
        self._receivers: list[Receiver] | None = None
        self._loop: object = None
        self._context: AbstractAsyncContextManager[None] | None = None
        # A listener of notices must not end the bridge, whatever it raises.
        self.notices: Final = AsyncEventDispatcher(strategy=Sequential(errors="log"), name=f"notices of {self!r}")

    # Configuration

    def forward(self, cls: type[E], /, *, to: Channel, where: Callable[[E], object] | None = None) -> None:
        """Publish all events of a class that are dispatched locally, while the bridge is entered.

        Forwarding is the last listener. An event is not published if its dispatch fails or is stopped, or if it came
        from the broker. A failed publish is an error of this listener.

        Args:
            cls: A registered class. Its subclasses are forwarded as well, and must be registered.
            to: The channel.
            where: Called with the event; it is not published if the result is false.

        Raises:
            ConfigurationError: If an argument is invalid, if the class is not registered, if it is forwarded to this
                channel already, if a group of this bridge receives it from the channel, or if the bridge is entered.
        """
        self._check_not_entered("forward")
        self._configuration.add_forward(Forward(cls, to, where))

    def receive(
        self,
        channel: Channel,
        /,
        *,
        group: str | None = None,
        only: tuple[type[Any], ...] | None = None,
        concurrency: int = 16,
        claim_after: float = 60,
        retry: Retry | None = None,
        ordered: bool = False,
        unknown: UnknownPolicy = "skip",
        strategy: Strategy | None = None,
        around: Around | None = None,
    ) -> None:
        """Dispatch the events of a channel, while the bridge is entered.

        With a group, each event is delivered to one process of the group, at least once. Without one, each process
        receives all events that are published from its start on, but not its own.

        Args:
            channel: The channel.
            group: The name of the group.
            only: The classes that are dispatched. All other events are acknowledged.
            concurrency: How many events of a partition are dispatched at a time.
            claim_after: The seconds after which another process takes over the event of a process that has died.
            retry: How often and when a failed event is delivered again. The default is ``Retry()``.
            ordered: Whether events with the same key are dispatched one after another. In a group, only one process
                at a time then reads a partition.
            unknown: What becomes of events whose type is not registered: ``"skip"``, ``"bury"`` (they become dead
                letters), or ``"wait"`` (for a process that knows them).
            strategy: The strategy of the dispatches. The default is that of the dispatcher.
            around: Called with each `Delivery`. The dispatch runs in the async context manager that it returns. If the
                manager returns a dispatcher, such as a scope, the event is dispatched there. If it returns False, the
                event is acknowledged without a dispatch.

        Raises:
            ConfigurationError: If an argument is invalid, if the channel is received with this group already, if an
                event is also forwarded to the channel, if failures would be acknowledged because the error policy of
                the dispatcher handles them, or if the bridge is entered.
        """
        self._check_not_entered("receive")
        made = make_receive(
            channel,
            group,
            only=only,
            concurrency=concurrency,
            claim_after=claim_after,
            retry=retry,
            ordered=ordered,
            unknown=unknown,
            strategy=strategy,
            around=around,
        )
        self._configuration.add_receive(made, self._dispatcher)

    def _check_not_entered(self, method: str) -> None:
        if self._context is not None:
            raise ConfigurationError(f"{method}() configures the bridge, so call it before `async with`")

    # Publishing

    def prepare(
        self,
        event: object,
        /,
        *,
        to: Channel,
        name: str | None = None,
        id: str | None = None,  # noqa: A002  the name of the attribute in CloudEvents
        extensions: Mapping[str, str | int | bool] = {},
    ) -> Message:
        """Encode an event, to publish it later with `send`. Store the message in an outbox of your own, for example.

        Args:
            event: The event.
            to: The channel.
            name: The name under which other programs dispatch it.
            id: The id of the event; by default a new one.
            extensions: Attributes of your own. Their names are lower-case letters and digits.

        Returns:
            The message, which contains the current trace.

        Raises:
            CodecError: If the event cannot be encoded.
            ConfigurationError: If ``to`` is not a channel, or another channel has its name.
        """
        self._configuration.add_channel(to)
        return self._publisher.prepare(event, to, name=name, id=id, extensions=extensions)

    async def send(self, message: Message, /) -> Receipt:
        """Publish a message that `prepare` has made, perhaps in another process.

        Args:
            message: The message.

        Returns:
            The receipt of the broker.

        Raises:
            ConfigurationError: If no channel with the name ``message.stream`` was used with this bridge.
            PublishFailed: If the message is not stored.
            PublishUncertain: If the message may be stored.
            RuntimeError: If this is called in another event loop than that of the bridge.
            TypeError: If the message is not a `Message`.
        """
        channel = self._configuration.find_channel(message)
        if self._running is None:
            raise PublishFailed(f"{self!r} is not entered: publish {message.id!r} in its `async with`", message.id)
        if self._loop != current_token():
            raise RuntimeError(f"{self!r} was entered in another event loop, and publishes only there")
        return await self._publisher.send(message, channel)

    async def publish(
        self,
        event: object,
        /,
        *,
        to: Channel,
        name: str | None = None,
        id: str | None = None,  # noqa: A002  the name of the attribute in CloudEvents
        extensions: Mapping[str, str | int | bool] = {},
    ) -> Receipt:
        """Publish an event, without dispatching it here.

        When this returns, the broker has stored the event. No listener of another program has run yet.

        Args:
            event: The event.
            to: The channel.
            name: The name under which other programs dispatch it.
            id: The id of the event; by default a new one. The broker stores an id only once within its ``dedup`` time.
            extensions: Attributes of your own. Their names are lower-case letters and digits.

        Returns:
            The receipt of the broker.

        Raises:
            CodecError: If the event cannot be encoded.
            ConfigurationError: If ``to`` is not a channel, or another channel has its name.
            PublishFailed: If the event is not stored.
            PublishUncertain: If the event may be stored. Publish it again with ``id=exc.id``.
            RuntimeError: If this is called in another event loop than that of the bridge.
        """
        return await self.send(self.prepare(event, to=to, name=name, id=id, extensions=extensions))

    async def _publish_forwarded(self, event: object, channel: Channel, name: Any) -> None:
        await self.send(self.prepare(event, to=channel, name=name))

    # Observing

    async def health(self) -> BridgeHealth:
        """Return the state of each receive in each of its partitions.

        It is empty if the bridge is neither entered nor `connected`.
        """
        receives = [await receiver.get_health() for receiver in self._receivers or ()]
        return BridgeHealth(tuple(receives), tuple(self._broker.warnings))

    def dead_letters(self, channel: Channel | None = None, group: str | None = None, /) -> AsyncIterator[DeadLetter]:
        """Iterate over dead letters, while the bridge is entered or `connected`.

        Args:
            channel: The channel. By default all channels that the bridge receives.
            group: The group. By default all groups with which the bridge receives the channel.

        Raises:
            BridgeUnavailable: If the broker cannot be reached.
            ConfigurationError: If an argument is invalid.
        """
        if channel is not None or group is not None:
            self._configuration.add_channel(channel)
        if channel is not None and group is not None:
            groups = [(channel, check_name(group, "the group of dead letters"))]
        else:
            groups = self._configuration.find_groups(channel)
        return iterate_dead_letters(self._broker, groups)

    def asyncapi(self, *, title: str | None = None, version: str = "1.0.0") -> dict[str, Any]:
        """Return an AsyncAPI 3 document, which describes what this bridge forwards and receives.

        Args:
            title: The title of the document. The default is the source of the bridge.
            version: The version of the document.

        Raises:
            ConfigurationError: If the type of a field cannot be encoded.
        """
        self._events.check()
        return make_asyncapi(self._configuration, self._events, title=title or self._source, version=version)

    # Running

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[None]:
        """Connect to the broker for `health` and `dead_letters`. No event is received or forwarded.

        Raises:
            BridgeUnavailable: If the broker cannot be reached.
            ConfigurationError: If a channel has another number of partitions in the broker.
            RuntimeError: If the bridge is entered or connected already.
        """
        self._check_not_running()
        async with self._broker.running(list(self._configuration.channels.values())):
            self._receivers = self._make_receivers(lambda _: None)
            try:
                yield
            finally:
                self._receivers = None

    async def __aenter__(self) -> Self:
        self._check_not_running()
        self._events.check()
        self._context = self._run()
        try:
            await self._context.__aenter__()
        except BaseException:
            self._context = None
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None:
        context = self._context
        if context is None:
            raise RuntimeError(f"{self!r} is not entered")
        try:
            return await context.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102  the end waits for deliveries
        finally:
            self._context = None

    def _check_not_running(self) -> None:
        if self._context is not None or self._receivers is not None:
            raise RuntimeError(f"{self!r} is entered already")

    def _make_receivers(self, notify: Callable[[Notice], None]) -> list[Receiver]:
        place = Place(self._origin, self._dispatcher, self._events, self._received, notify)
        return [
            Receiver(self._broker, place, receive, partition)
            for receive in self._configuration.receives
            for partition in range(receive.channel.partitions)
        ]

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        running = RunningBridge(self._broker, list(self._configuration.channels.values()), self.notices, self._grace)
        running.receivers += self._make_receivers(running.notify)
        raised: list[BaseException] = []
        try:
            async with anyio.create_task_group() as tasks:
                body = anyio.CancelScope()
                # The bridge may be entered in a listener, whose dispatch ends before.
                with outside_dispatch():
                    tasks.start_soon(running.run, body.cancel)
                try:
                    await running.wait_until_ready()
                    self._running, self._loop = running, current_token()
                    self._receivers = running.receivers
                    with self._dispatcher.temporarily() as registrar, body:
                        for forward in self._configuration.forwards:
                            register_forward(registrar, forward, self._received, self._publish_forwarded)
                        yield
                except BaseException as exc:  # noqa: ASYNC103  raised below, when all has ended
                    raised.append(exc)
                while not running.is_finished:
                    try:
                        await running.end()
                    except BaseException as exc:  # noqa: ASYNC103  raised below, when all has ended
                        raised.append(exc)
        except BaseException as exc:  # noqa: ASYNC103  raised below, with the others
            raised.append(unwrap(exc))
        finally:
            self._running = self._loop = None
            self._receivers = None
        if running.has_failed:
            raised.append(running.pop_failure())
        try:
            if raised:
                raise combine(raised)
        finally:
            # A frame that references an exception creates a reference cycle.
            raised.clear()

    def __repr__(self) -> str:
        return f"<bridge {self._source} of {self._dispatcher!r}>"
