"""The methods of an async dispatcher that wait for events, and those that dispatch events later."""

# The type variables of keys that a call leaves out have a default.
# pyright: reportInvalidTypeVarUse=false

from __future__ import annotations

from collections.abc import Callable, Hashable
from inspect import signature
from types import UnionType
from typing import TYPE_CHECKING, Any, Never, TypeVar, overload

from antiphon._dispatchers.base import BaseDispatcher
from antiphon._strategies.errors import ErrorPolicy
from antiphon._types import Key, Name, Overflow
from antiphon._util.arguments import hides_collected_arguments, make_argument_error
from antiphon._util.lazy_module import LazyModule

if TYPE_CHECKING:
    import antiphon
    from antiphon._types import E1, E2, E3, E4, E5, E6, AnyOfSix, TypedKey, Where
    from antiphon._waiting import expectation as _expectations
    from antiphon._waiting import queue as _queue
    from antiphon._waiting import stream as _streams
else:
    # Many programs never wait.
    antiphon = LazyModule("antiphon")
    _expectations = LazyModule("antiphon._waiting.expectation")
    _queue = LazyModule("antiphon._waiting.queue")
    _streams = LazyModule("antiphon._waiting.stream")

__all__ = ("WaitingMixin",)

E = TypeVar("E")


class WaitingMixin(BaseDispatcher):
    """The methods ``expect``, ``wait_for``, ``stream`` and ``queue`` of `AsyncEventDispatcher`."""

    async def adispatch(self, name: Any, event: Any = None, /) -> Any:
        """Dispatch an event, as `AsyncEventDispatcher` does."""
        # Declared here because a queue calls it. `AsyncEventDispatcher` implements it.
        raise NotImplementedError

    def _check_strategy(self, strategy: object) -> antiphon.Strategy:
        # As for `adispatch`.
        raise NotImplementedError

    if TYPE_CHECKING:
        # Overloads are for type checkers only: each of them would add to the time of the import.

        @overload
        def expect(self, key: TypedKey[E], /, *, where: Where[E] = None) -> antiphon.Expectation[E]: ...
        @overload
        def expect(
            self, key: TypedKey[E], other_key: TypedKey[E2], /, *, where: Where[E | E2] = None
        ) -> antiphon.Expectation[E | E2]: ...
        @overload
        def expect(
            self,
            key: TypedKey[E1],
            key2: TypedKey[E2],
            key3: TypedKey[E3],
            key4: TypedKey[E4] = ...,
            key5: TypedKey[E5] = ...,
            key6: TypedKey[E6] = ...,
            /,
            *,
            where: Where[Any] = None,
        ) -> antiphon.Expectation[AnyOfSix[E1, E2, E3, E4, E5, E6]]: ...
        @overload
        def expect(self, key: Name | UnionType, /, *, where: Where[Any] = None) -> antiphon.Expectation[Any]: ...
        @overload
        def expect(
            self, key: Key, other_key: Key, /, *more_keys: Key, where: Where[Any] = None
        ) -> antiphon.Expectation[Any]: ...

    @hides_collected_arguments
    def expect(
        self, *keys: Any, where: Callable[[Any], object] | None = None, **unknown: Any
    ) -> antiphon.Expectation[Any]:
        """Expect one event that the body of an ``async with`` block triggers.

        The end of the block waits for the event. If the body raises, the block does not wait. To limit the time, use
        ``anyio.fail_after``.

        Args:
            *keys: What to wait for, as for `add_listener`. The first event that one of them matches is the event.
            where: A plain function that receives an event and returns whether it is the expected event.

        Returns:
            The context manager, with the attributes ``event`` and ``name``. Its block raises
            ``anyio.ClosedResourceError`` if this dispatcher is a scope that ends before the event, or if the
            registration is removed before the event.

        Raises:
            TypeError: As for `add_listener`.
            ValueError: As for `add_listener`.
        """
        if unknown:
            raise make_argument_error(WaitingMixin.expect, "expect(key)", (), unknown)
        return _expectations.Expectation(self._add_for_caller, self._combine_keys(keys, "expect"), where)

    if TYPE_CHECKING:

        @overload
        async def wait_for(self, key: TypedKey[E], /, *, where: Where[E] = None) -> E: ...
        @overload
        async def wait_for(
            self, key: TypedKey[E], other_key: TypedKey[E2], /, *, where: Where[E | E2] = None
        ) -> E | E2: ...
        @overload
        async def wait_for(
            self,
            key: TypedKey[E1],
            key2: TypedKey[E2],
            key3: TypedKey[E3],
            key4: TypedKey[E4] = ...,
            key5: TypedKey[E5] = ...,
            key6: TypedKey[E6] = ...,
            /,
            *,
            where: Where[Any] = None,
        ) -> AnyOfSix[E1, E2, E3, E4, E5, E6]: ...
        @overload
        async def wait_for(self, key: Name | UnionType, /, *, where: Where[Any] = None) -> Any: ...
        @overload
        async def wait_for(self, key: Key, other_key: Key, /, *more_keys: Key, where: Where[Any] = None) -> Any: ...

    @hides_collected_arguments
    async def wait_for(self, *keys: Any, where: Callable[[Any], object] | None = None, **unknown: Any) -> Any:
        """Wait for one event. This is always a checkpoint.

        The method listens from its first step on. Use `expect` for an event that your own code triggers.

        Args:
            *keys: As for `expect`.
            where: As for `expect`.

        Returns:
            The event.

        Raises:
            anyio.ClosedResourceError: If this dispatcher is a scope that ends before the event, or if the registration
                is removed before the event.
            RuntimeError: If this dispatcher is a scope that has ended.
            TypeError: As for `add_listener`.
            ValueError: As for `add_listener`.
        """
        if unknown:
            raise make_argument_error(WaitingMixin.wait_for, "wait_for(key)", (), unknown)
        if not keys:
            self._combine_keys(keys, "wait_for")
        async with self.expect(*keys, where=where) as expected:
            pass
        return expected.event

    if TYPE_CHECKING:

        @overload
        def stream(
            self, key: TypedKey[E], /, *, max_buffer_size: int = 64, overflow: Overflow = "raise", priority: int = 0
        ) -> antiphon.Stream[E]: ...
        @overload
        def stream(
            self,
            key: TypedKey[E],
            other_key: TypedKey[E2],
            /,
            *,
            max_buffer_size: int = 64,
            overflow: Overflow = "raise",
            priority: int = 0,
        ) -> antiphon.Stream[E | E2]: ...
        @overload
        def stream(
            self,
            key: TypedKey[E1],
            key2: TypedKey[E2],
            key3: TypedKey[E3],
            key4: TypedKey[E4] = ...,
            key5: TypedKey[E5] = ...,
            key6: TypedKey[E6] = ...,
            /,
            *,
            max_buffer_size: int = 64,
            overflow: Overflow = "raise",
            priority: int = 0,
        ) -> antiphon.Stream[AnyOfSix[E1, E2, E3, E4, E5, E6]]: ...
        @overload
        def stream(
            self, *keys: Key, max_buffer_size: int = 64, overflow: Overflow = "raise", priority: int = 0
        ) -> antiphon.Stream[Any]: ...

    @hides_collected_arguments
    def stream(
        self, *keys: Any, max_buffer_size: int = 64, overflow: Overflow = "raise", priority: int = 0, **unknown: Any
    ) -> antiphon.Stream[Any]:
        """Read events one by one, in an ``async with`` block: ``async for event in stream``.

        In the block, the stream is a listener with a priority. It does not receive an event that an earlier listener
        stops.

        Args:
            *keys: What to listen to, as for `add_listener`. An event that several keys match is received once.
            max_buffer_size: The maximum number of events that wait to be read.
            overflow: What to do with another event if the buffer is full. ``"raise"``: drop the oldest event, and raise
                `StreamLagged` at the next read. ``"suspend"``: let the dispatch wait. ``"drop_oldest"``: drop the
                oldest event in the buffer. ``"drop_newest"``: drop the new event. Both count the dropped event.
            priority: As for `add_listener`.

        Returns:
            The context manager, which is also an async iterator.

        Raises:
            TypeError: If there is no key, if a key is invalid, or if an argument has a wrong type.
            ValueError: If ``overflow`` has another value, or if ``max_buffer_size`` is less than 1.
        """
        if unknown:
            raise make_argument_error(WaitingMixin.stream, "stream(key)", (), unknown)
        return _streams.Stream(
            self._add_for_caller, self._combine_keys(keys, "stream"), max_buffer_size, overflow, priority
        )

    @hides_collected_arguments
    def queue(
        self,
        *extra: Never,
        max_buffer_size: int = 64,
        workers: int = 1,
        overflow: Overflow = "suspend",
        errors: ErrorPolicy = "raise",
        ordered_by: Callable[[Any], Hashable] | None = None,
        drain_timeout: float | None = None,
        strategy: antiphon.Strategy | None = None,
        **unknown: Never,
    ) -> antiphon.Queue:
        """Dispatch events later, in an ``async with`` block that owns the tasks: ``await queue.post(name, event)``.

        Args:
            max_buffer_size: The maximum number of events that wait for a worker.
            workers: The maximum number of events that are dispatched at the same time.
            overflow: What to do with another event if the buffer is full. ``"suspend"``: ``post`` waits. ``"raise"``:
                ``post`` raises ``anyio.WouldBlock``. ``"drop_oldest"``: drop the oldest event in the buffer.
                ``"drop_newest"``: drop the new event. Both count the dropped event.
            errors: What to do if a dispatch fails. ``"raise"``: end the queue. ``"collect"``: raise all errors
                together at the end. ``"log"``: log the error. A plain function is called with the exception, the event
                and the name.
            ordered_by: A plain function that returns the key of an event. Events with equal keys are dispatched one
                after another in the order in which they were posted, even with several workers.
            drain_timeout: The maximum time for the end of the block to dispatch the remaining events, in seconds. None
                sets no limit.
            strategy: How the dispatches run their listeners. The default is the strategy of the dispatcher.

        Returns:
            The context manager.

        Raises:
            TypeError: If an argument has a wrong type.
            ValueError: If an argument is out of range.
        """
        if extra or unknown:
            raise make_argument_error(WaitingMixin.queue, "queue()", extra, unknown)
        return _queue.Queue(
            self,
            self._resolve_arguments,
            max_buffer_size=max_buffer_size,
            workers=workers,
            overflow=overflow,
            errors=errors,
            ordered_by=ordered_by,
            drain_timeout=drain_timeout,
            options={} if strategy is None else {"strategy": self._check_strategy_for_queue(strategy)},
        )

    def _check_strategy_for_queue(self, strategy: object) -> antiphon.Strategy:
        checked = self._check_strategy(strategy)
        try:
            signature(self.adispatch).bind(None, None, strategy=checked)
        except TypeError:
            raise TypeError(
                f"a queue with strategy= passes it to adispatch, but the adispatch of {type(self).__name__} does not "
                f"take a strategy: add `strategy=None` and pass it on, or set the strategy of the dispatcher"
            ) from None
        return checked
