"""The doors of an async dispatcher to what waits: one event, a stream of events, and a queue for later."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from inspect import signature
from typing import TYPE_CHECKING, Any

from antiphon._dispatchers.base import BaseDispatcher
from antiphon._strategies.errors import ErrorPolicy
from antiphon._util.lazy_module import LazyModule
from antiphon.typing import Overflow

if TYPE_CHECKING:
    from antiphon._strategies import base as _strategies
    from antiphon._waiting import expectation as _expectations
    from antiphon._waiting import queue as _queue
    from antiphon._waiting import stream as _streams
else:
    # Many programs never wait.
    _expectations = LazyModule("antiphon._waiting.expectation")
    _queue = LazyModule("antiphon._waiting.queue")
    _strategies = LazyModule("antiphon._strategies.base")
    _streams = LazyModule("antiphon._waiting.stream")

__all__ = ("WaitingDispatcher",)


class WaitingDispatcher(BaseDispatcher):
    """A dispatcher that one can wait for."""

    async def adispatch(self, name: Any, event: Any = None, /) -> Any:
        """Give an event to its listeners."""
        # A base, never made by itself: a queue needs to know only that there is such a method.
        raise NotImplementedError

    def _check_strategy(self, strategy: object) -> _strategies.Strategy:
        # As above.
        raise NotImplementedError

    def expect(self, key: Hashable, /, *, where: Callable[[Any], object] | None = None) -> _expectations.Expectation:
        """Expect one event, in an ``async with`` block that is entered before the event is brought about.

        The block ends when the event has come; if its body raises, it ends at once. For a bound on the
        time use ``anyio.fail_after``.

        Args:
            key: What to wait for, as for `add_listener`.
            where: A plain function of the event, which tells whether it is the one.

        Returns:
            The context manager; its ``event`` and ``name`` tell what came. Its block raises
            ``anyio.ClosedResourceError`` if this is a scope that ends, or the registration is removed, before the
            event has come.

        Raises:
            TypeError: As `add_listener`.
            ValueError: As `add_listener`.
        """
        return _expectations.Expectation(self._add_for_caller, key, where)

    async def wait_for(self, key: Hashable, /, *, where: Callable[[Any], object] | None = None) -> Any:
        """Wait for one event. Always a checkpoint.

        It listens from the moment it is first run; to be sure of an event that you bring about yourself, use `expect`.

        Args:
            key: As for `expect`.
            where: As for `expect`.

        Returns:
            The event.

        Raises:
            anyio.ClosedResourceError: If this is a scope that ends, or the registration is removed, before the event
                has come.
            RuntimeError: If this is a scope that has ended.
            TypeError: As `add_listener`.
            ValueError: As `add_listener`.
        """
        async with self.expect(key, where=where) as expected:
            pass
        return expected.event

    def stream(
        self, *keys: Hashable, max_buffer_size: int = 64, overflow: Overflow = "raise", priority: int = 0
    ) -> _streams.Stream:
        """Read events one by one, in an ``async with`` block: ``async for event in stream``.

        Within the block it listens like a listener of its priority; one that stops the event earlier hides it.

        Args:
            *keys: What to listen to, as for `add_listener`; an event that several of them hear comes once.
            max_buffer_size: How many events may wait to be read.
            overflow: What happens to one more: ``"raise"``: the oldest is let go, and the next read raises
                `StreamLagged`; ``"suspend"``: the dispatch waits; ``"drop_oldest"`` and ``"drop_newest"``: that one is
                let go, and counted.
            priority: As for `add_listener`.

        Returns:
            The context manager, to be iterated over.

        Raises:
            TypeError: There is no key, or a wrong one, or an argument has a wrong type.
            ValueError: ``overflow`` is none of the four, or ``max_buffer_size`` is less than 1.
        """
        return _streams.Stream(self._add_for_caller, keys, max_buffer_size, overflow, priority)

    def queue(
        self,
        *,
        max_buffer_size: int = 64,
        workers: int = 1,
        overflow: Overflow = "suspend",
        errors: ErrorPolicy = "raise",
        ordered_by: Callable[[Any], Hashable] | None = None,
        drain_timeout: float | None = None,
        strategy: _strategies.Strategy | None = None,
    ) -> _queue.Queue:
        """Dispatch events later, in an ``async with`` block that owns the tasks: ``await queue.post(name, event)``.

        Args:
            max_buffer_size: How many events may wait for a worker.
            workers: How many events may be dispatched at a time.
            overflow: What happens to one more: ``"suspend"``: ``post`` waits; ``"raise"``: ``post`` raises
                ``anyio.WouldBlock``; ``"drop_oldest"`` and ``"drop_newest"``: that one is let go, and counted.
            errors: What a failing dispatch does: ``"raise"``: it ends the queue; ``"collect"``: the errors leave
                together at the end; ``"log"``: the error is logged; a plain function: it is called with the
                exception, the event and the name.
            ordered_by: A plain function that gives the key of an event; events of one key are dispatched one after
                another, in the order in which they were posted, also with several workers.
            drain_timeout: How long the end of the block may take to dispatch what is left, in seconds; None
                for as long as it takes.
            strategy: How the dispatches of its events run their listeners; None for the dispatcher's own way.

        Returns:
            The context manager.

        Raises:
            TypeError: An argument has a wrong type.
            ValueError: An argument has a value that makes no sense.
        """
        return _queue.Queue(
            self,
            self._addressed,
            max_buffer_size=max_buffer_size,
            workers=workers,
            overflow=overflow,
            errors=errors,
            ordered_by=ordered_by,
            drain_timeout=drain_timeout,
            options={} if strategy is None else {"strategy": self._check_strategy_for_queue(strategy)},
        )

    def _check_strategy_for_queue(self, strategy: object) -> _strategies.Strategy:
        checked = self._check_strategy(strategy)
        try:
            signature(self.adispatch).bind("name", None, strategy=checked)
        except TypeError:
            raise TypeError(
                f"a queue with strategy= dispatches its events with it, but the adispatch of {type(self).__name__} "
                f"takes none: let it take `strategy=None` and pass it on, or give the dispatcher the strategy"
            ) from None
        return checked
