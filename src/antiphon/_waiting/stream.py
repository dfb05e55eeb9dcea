"""A stream of events, read with ``async for``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from types import MappingProxyType, TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

import anyio

from antiphon._listeners.named import NameAwareListener
from antiphon._listeners.subscription import DEFAULT_OPTIONS, Options, Subscription, when_removed
from antiphon._types import Overflow
from antiphon._util.arguments import hides_parameters
from antiphon._util.contexts import AsyncContext
from antiphon._util.naming import publish, safe_repr
from antiphon._util.validation import check_limit, check_priority
from antiphon._waiting.buffer import MAX_BUFFER_SIZE, Buffer, check_overflow
from antiphon._waiting.buffer_order import Fifo

__all__ = ("Stream", "StreamStatistics")

E_co = TypeVar("E_co", covariant=True)


class StreamStatistics(NamedTuple):
    """The state of a stream, and its counters since it was entered."""

    #: How many events were read.
    delivered: int
    #: How many events were dropped, because the buffer was full, the stream was closed, or a dispatch that waited for
    #: space was cancelled.
    dropped: int
    #: How many events wait to be read.
    current_buffer_used: int
    #: How many events can wait.
    max_buffer_size: int
    #: How many dispatches wait for space. It is always 0 unless ``overflow="suspend"``.
    dispatches_waiting: int
    #: How many readers wait for an event.
    readers_waiting: int


publish("antiphon", StreamStatistics)


class Stream(AsyncContext, Generic[E_co]):
    """A stream of events. ``dispatcher.stream(...)`` returns it, and it is used with ``async with``.

    It listens within the block, and ``async for event in stream`` reads the events. With several readers, each event is
    read by one of them. When the block ends, the events in the buffer can still be read, and then the readers end. The
    same happens if the scope that it listens on ends, or if its registration is removed.
    """

    _usage = "async with dispatcher.stream(key) as stream:"
    _fixes = MappingProxyType(
        {
            **dict.fromkeys(("get", "receive", "read"), "write `async for event in stream:`"),
            **dict.fromkeys(("close", "aclose"), "the end of the `async with` block closes it"),
        }
    )

    @hides_parameters
    def __init__(
        self,
        register: Callable[[Hashable, Any, int, Options], list[Subscription]],
        key: Hashable,
        max_buffer_size: int,
        overflow: Overflow,
        priority: int,
    ) -> None:
        check_priority(priority)
        check_limit(max_buffer_size, MAX_BUFFER_SIZE)
        self._register = register
        self._key = key
        self._max_size = max_buffer_size
        self._overflow: Overflow = check_overflow(overflow)
        self._priority = priority
        self._subscriptions: list[Subscription] = []

    async def __aenter__(self) -> Self:
        if hasattr(self, "_buffer"):
            raise RuntimeError(f"{self!r} has been used; write a new `async with dispatcher.stream(...)`")
        self._buffer: Buffer[tuple[Hashable, Any]] = Buffer(self, Fifo(), self._max_size, self._overflow)
        try:
            self._subscriptions = self._register(
                self._key, NameAwareListener(self, self._on_event), self._priority, DEFAULT_OPTIONS
            )
        except BaseException:
            # Nothing is registered, so it can be entered again.
            del self._buffer
            raise
        for subscription in self._subscriptions:
            when_removed(subscription, self._on_removed)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening. Events in the buffer can still be read. Dispatches that wait for space continue."""
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            subscription.unsubscribe()
        self._get_buffer().close()

    def _on_removed(self, _scope: object) -> None:
        if not any(subscription.is_registered() for subscription in self._subscriptions):
            self._get_buffer().close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E_co:
        """Read the next event. This is always a checkpoint.

        Raises:
            StreamLagged: If events were dropped since the last read. The next read continues.
            StopAsyncIteration: If the stream is closed and all events have been read.
        """
        try:
            event: E_co = (await self._get_buffer().get())[1]
        except anyio.EndOfStream:
            raise StopAsyncIteration from None
        return event

    def items(self) -> AsyncIterator[tuple[Hashable, E_co]]:
        """Return an iterator that reads pairs of the dispatch name and the event."""
        return _NamedEventIterator(self._next)

    def statistics(self) -> StreamStatistics:
        """Return the state and the counters of the stream."""
        buffer = self._get_buffer()
        return StreamStatistics(
            delivered=buffer.delivered,
            dropped=buffer.dropped + buffer.refused,
            current_buffer_used=len(buffer),
            max_buffer_size=buffer.max_size,
            dispatches_waiting=buffer.waiting_senders,
            readers_waiting=buffer.waiting_receivers,
        )

    async def _on_event(self, name: Hashable, event: Any) -> None:
        try:
            await self._buffer.put((name, event))
        except anyio.ClosedResourceError:
            # The buffer has counted the event.
            pass

    async def _next(self) -> tuple[Hashable, Any]:
        try:
            return await self._get_buffer().get()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def _get_buffer(self) -> Buffer[tuple[Hashable, Any]]:
        try:
            return self._buffer
        except AttributeError:
            raise RuntimeError(f"{self!r} has not been entered; write `async with dispatcher.stream(...)`") from None

    def __repr__(self) -> str:
        return f"<stream of {safe_repr(self._key)}>"


class _NamedEventIterator:
    def __init__(self, read: Callable[[], Awaitable[tuple[Hashable, Any]]]) -> None:
        self._read = read

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[Hashable, Any]:
        return await self._read()


publish("antiphon", AsyncContext, Stream)
