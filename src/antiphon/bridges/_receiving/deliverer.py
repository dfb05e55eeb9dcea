"""The delivery of one received event: decode it, dispatch it, and decide what becomes of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, NamedTuple, Protocol, cast

import anyio

from antiphon import ListenerCancelled, Strategy
from antiphon.bridges._brokers.protocol import Entry
from antiphon.bridges._codec.envelope import Envelope, decode_envelope
from antiphon.bridges._codec.registry import EventRegistry, TooNewError, UnknownTypeError
from antiphon.bridges._delivery import CurrentDelivery, Delivery, current_delivery, make_delivery
from antiphon.bridges._errors import CodecError, Reject
from antiphon.bridges._notices import Buried, Counters, Notice, Retried, Trimmed
from antiphon.bridges._received import ReceivedEvents
from antiphon.bridges._receiving.options import Bury, Done, Later, Outcome, Receive
from antiphon.bridges._tracing import continue_trace

__all__ = ("Deliverer", "Place", "SupportsADispatch")

_LOGGER: Final = logging.getLogger("antiphon.bridges")


class SupportsADispatch(Protocol):
    """The part of a dispatcher that a delivery needs."""

    def has_listeners(self, name: Any = None, event_class: type[Any] | None = None, /) -> bool:
        """Return whether a dispatch would run a listener."""
        ...

    @property
    def adispatch(self) -> Callable[..., Any]:
        """Call the listeners of an event."""
        ...


class Place(NamedTuple):
    """What the deliveries of a bridge have in common."""

    #: The id of the bridge, by which it knows its own events in a fan-out.
    origin: str
    dispatcher: SupportsADispatch
    events: EventRegistry
    received: ReceivedEvents
    #: Dispatches a notice, without waiting.
    notify: Callable[[Notice], None]


class Deliverer:
    """Delivers the events of a partition to the listeners of a dispatcher.

    Args:
        place: What is the same for all deliveries of the bridge.
        receive: The options.
        partition: The partition.
        counters: Where to count.
    """

    def __init__(self, place: Place, receive: Receive, partition: int, counters: Counters) -> None:
        self._place = place
        self._receive = receive
        self._partition = partition
        self._counters = counters
        self._where = (receive.channel.name, partition, receive.group)

    def open(self, entry: Entry) -> Envelope | Outcome:
        """Return the envelope of an entry, or its outcome if it is not to be delivered."""
        if entry.data is None:
            self._counters.trimmed += 1
            self._place.notify(Trimmed(*self._where, 1))
            return Done()
        if entry.group is not None and entry.group != self._receive.group:
            return Done()
        try:
            envelope = decode_envelope(entry.data)
        except CodecError as exc:
            return self._bury(None, entry.attempt, str(exc), exc)
        if self._receive.group is None and envelope.origin == self._place.origin:
            return Done()
        if entry.attempt > self._receive.retry.attempts:
            # The processes that read it did not survive, or it would have been buried or handled.
            made = self._make_delivery(entry, envelope)
            return self._bury(made, entry.attempt - 1, "no process has finished any of its attempts", None)
        return envelope

    async def deliver(self, entry: Entry, envelope: Envelope, is_cancelled: Callable[[], bool]) -> Outcome:
        """Dispatch an event, and return its outcome.

        Args:
            entry: The entry.
            envelope: Its envelope.
            is_cancelled: Returns whether the bridge has cancelled this delivery.
        """
        try:
            event = self._place.events.decode(envelope.type, envelope.version, envelope.data)
        except TooNewError:
            self._counters.too_new += 1
            return self._wait_elsewhere(entry)
        except UnknownTypeError as exc:
            return self._handle_unknown(entry, envelope, exc)
        except CodecError as exc:
            return self._bury(self._make_delivery(entry, envelope), entry.attempt, str(exc), exc)
        if self._receive.only is not None and not isinstance(event, self._receive.only):
            return Done()
        return await self._attempt(event, envelope.subject, self._make_delivery(entry, envelope), is_cancelled)

    async def _attempt(
        self, event: Any, subject: str | None, made: Delivery, is_cancelled: Callable[[], bool]
    ) -> Outcome:
        try:
            await self._dispatch(event, subject, made)
        except Exception as exc:
            return self._fail(made, exc)
        except anyio.get_cancelled_exc_class() as exc:  # noqa: ASYNC103  it is an error if it was not requested
            if is_cancelled():
                raise
            # Something that a listener awaits was cancelled elsewhere. The event would stay pending without an outcome.
            error = ListenerCancelled(self._place.dispatcher)
            error.__cause__ = exc
            return self._fail(made, error)  # noqa: ASYNC104
        self._counters.handled += 1
        return Done()

    async def _dispatch(self, event: Any, subject: str | None, made: Delivery) -> None:
        self._place.received.add(event)
        # In the task of this delivery, so there is nothing to reset.
        current_delivery.set(CurrentDelivery(made, event, self._place.origin))
        with continue_trace(made.trace):
            async with AsyncExitStack() as stack:
                target: Any = self._place.dispatcher
                if self._receive.around is not None:
                    entered: Any = await stack.enter_async_context(self._receive.around(made))
                    if entered is False:
                        return
                    if hasattr(entered, "adispatch"):
                        target = entered
                await self._run_listeners(target, event, subject)

    async def _run_listeners(self, target: SupportsADispatch, event: Any, subject: str | None) -> None:
        cls: type[Any] = event.__class__
        if not (target.has_listeners(cls) if subject is None else target.has_listeners(subject, cls)):
            self._counters.unheard += 1
        strategy = self._receive.strategy
        options: dict[str, Strategy] = {} if strategy is None else {"strategy": strategy}
        if subject is None:
            await target.adispatch(event, **options)
        else:
            await target.adispatch(subject, event, **options)

    def _fail(self, made: Delivery, error: Exception) -> Outcome:
        self._counters.failed += 1
        rejected = _find_rejection(error)
        if rejected is not None:
            return self._bury(made, made.attempt, rejected.reason, error)
        if made.group is None:
            # Nobody waits for this error, and there are no dead letters.
            _LOGGER.error("the listeners of %r (%s) from %r failed", made.type, made.id, made.stream, exc_info=error)
        if made.group is None or made.attempt >= self._receive.retry.attempts:
            return self._bury(made, made.attempt, repr(error), error)
        delay = min(self._receive.retry.get_delay(made.attempt), self._receive.claim_after)
        self._place.notify(Retried(*self._where, made, error, delay))
        return Later(delay, made.attempt)

    def _handle_unknown(self, entry: Entry, envelope: Envelope, error: UnknownTypeError) -> Outcome:
        self._counters.unknown += 1
        if self._receive.unknown == "skip":
            return Done()
        if self._receive.unknown == "wait":
            return self._wait_elsewhere(entry)
        return self._bury(self._make_delivery(entry, envelope), entry.attempt, str(error), error)

    def _wait_elsewhere(self, entry: Entry) -> Outcome:
        if self._receive.group is None:
            return Done()
        return Later(self._receive.claim_after, entry.attempt - 1, elsewhere=True)

    def _bury(self, made: Delivery | None, attempts: int, reason: str, error: Exception | None) -> Outcome:
        self._place.notify(Buried(*self._where, made, reason, error))
        return Bury(reason, attempts)

    def _make_delivery(self, entry: Entry, envelope: Envelope) -> Delivery:
        name, partition, group = self._where
        return make_delivery(envelope, name, partition, group, entry.attempt)


def _find_rejection(error: Exception) -> Reject | None:
    """Return the `Reject` that a listener raised, also from within a group of errors."""
    if isinstance(error, Reject):
        return error
    members: Sequence[Exception] = ()
    if isinstance(error, ExceptionGroup):
        members = cast("ExceptionGroup[Exception]", error).exceptions
    return next((found for member in members if (found := _find_rejection(member)) is not None), None)
