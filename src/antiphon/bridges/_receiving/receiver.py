"""Reads a partition, and delivers its events.

A receiver has one task that reads, one that settles, one that watches the clock, and one for each event that it
delivers. The first three belong to a session, which lasts as long as a connection. The deliveries outlast it: their
outcomes are settled in the next session.

Invariants:

- A call of the source is not cancelled. A cancelled read would leave the events of its reply with a reader that has
  never seen them. To end a session, its tasks are asked to end.
- Each event of a reply is held before the first wait after the reply.
- Of the events that are read again, one is delivered at a time: it may be the one that ends the process.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from heapq import heappop, heappush
from typing import Final

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from antiphon.bridges._brokers.protocol import Broker, Entry, Source, SourceOptions
from antiphon.bridges._codec.envelope import Envelope
from antiphon.bridges._errors import BridgeUnavailable
from antiphon.bridges._notices import ConnectionBack, ConnectionLost, Counters, ReceiveHealth
from antiphon.bridges._receiving.deliverer import Deliverer, Place
from antiphon.bridges._receiving.deliveries import Deliveries
from antiphon.bridges._receiving.observer import Observer
from antiphon.bridges._receiving.options import Later, Outcome, Receive
from antiphon.bridges._receiving.settlement import Settlement
from antiphon.bridges._receiving.wakeup import Wakeup

__all__ = ("Receiver",)

#: The seconds until a lost connection is opened again: at first, and at most.
_FIRST_PAUSE: Final = 0.1
_LAST_PAUSE: Final = 5.0

#: How often a group looks for events that others have left.
_POLL: Final = 1.0

#: The time for handing events back after the grace.
_HANDOVER: Final = 1.0


class Receiver:
    """Reads one partition of a channel for one receive.

    Args:
        broker: The broker.
        place: What is the same for all deliveries of the bridge.
        receive: The options.
        partition: The partition.
    """

    def __init__(self, broker: Broker, place: Place, receive: Receive, partition: int) -> None:
        self._place, self._receive, self._partition = place, receive, partition
        self._where = (receive.channel.name, partition, receive.group)
        self._counters = Counters()
        self._deliverer = Deliverer(place, receive, partition, self._counters)
        channel, group, claim_after = receive.channel, receive.group, receive.claim_after
        options = SourceOptions(channel, partition, group, place.origin, claim_after, self._is_exclusive)
        self._source: Source = broker.source(options)
        #: Set when the source is open for the first time, and its group exists.
        self.ready = anyio.Event()
        self._observer = Observer(broker, place, receive, partition, self._counters)
        self._settlement = Settlement()
        self._deliveries = Deliveries(
            self._deliverer,
            receive.concurrency,
            self._conclude,
            self._record_attempts if self._is_exclusive else None,
        )
        self._tasks: TaskGroup
        #: The position of the event that is delivered again, None if there is none.
        self._again: str | None = None
        #: When events that this receiver has postponed are due.
        self._due: list[float] = []
        #: The same for events that only another program can handle, which therefore gets the first chance.
        self._due_elsewhere: list[float] = []
        self._connected = self._owner = False
        #: Whether `stop` was called; whether its time is over; whether another program is to read the partition.
        self._stopping = self._over = self._yielding = False
        self._closing = False
        #: A renewal that overtakes the outcome of a failed event would delay its next delivery by `claim_after`.
        self._changing_due_times = anyio.Lock()
        self._lost: BridgeUnavailable | None = None
        self._reader, self._settler, self._clock, self._ended = Wakeup(), Wakeup(), Wakeup(), Wakeup()

    @property
    def _is_exclusive(self) -> bool:
        return self._receive.ordered and self._receive.group is not None

    async def run(self, may_read: anyio.Event) -> None:
        """Read and deliver until `stop` is called and all is settled.

        Args:
            may_read: Set when reading may begin.

        Raises:
            BridgeUnavailable: If the source cannot be opened for the first time.
        """
        async with anyio.create_task_group() as self._tasks:
            await self._run_sessions(may_read)
            self._deliveries.cancel()

    def stop(self, grace: float) -> None:
        """End reading, and let the deliveries finish.

        Args:
            grace: The seconds after which the deliveries that run are cancelled. Their events are handed back.
        """
        self._stopping = True
        self._hand_back(self._deliveries.clear())
        self._tasks.start_soon(self._end, grace)

    async def _end(self, grace: float) -> None:
        with suppress(BridgeUnavailable):
            await self._source.wake()
        self._wake_all()
        with anyio.move_on_after(grace):
            while self._deliveries.running:
                await self._ended.wait()
        self._deliveries.cancel()
        with anyio.move_on_after(_HANDOVER):
            while self._settlement.held or self._deliveries.running:
                await self._ended.wait()
        self._over = True
        self._wake_all()

    # Sessions

    async def _run_sessions(self, may_read: anyio.Event) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                async with self._source.opened():
                    self._note_connection()
                    pause = _FIRST_PAUSE
                    await may_read.wait()
                    if self._receive.group is not None:
                        # Before the first read, which passes the events that were removed.
                        await self._observer.observe(self._receive.group)
                    await self._run_session()
                if not self._yielding:
                    return
                self._yielding = False
                await self._wait(self._receive.claim_after)
            except BridgeUnavailable as exc:
                if not self.ready.is_set():
                    raise
                self._note_loss(exc)
                await self._wait(pause)
                pause = min(pause * 2, _LAST_PAUSE)
            if self._over or (self._stopping and not self._settlement.held):
                return

    async def _wait(self, seconds: float) -> None:
        with anyio.move_on_after(_FIRST_PAUSE if self._stopping else seconds):
            while not self._over:
                await self._reader.wait()
                if self._stopping and not self._settlement.held:
                    return

    async def _run_session(self) -> None:
        self._lost, self._closing = None, False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._guard, self._settle)
            tasks.start_soon(self._guard, self._watch_clock)
            await self._guard(self._read)
        # The end of the source gives up the ownership, or the connection is lost and it is not certain.
        self._owner = False
        if self._lost is not None:
            try:
                raise self._lost
            finally:
                self._lost = None

    async def _guard(self, part: Callable[[], Awaitable[None]]) -> None:
        """Run a part of a session. If it loses the connection, ask the other parts to end."""
        try:
            await part()
        except BridgeUnavailable as exc:
            self._lost = self._lost or exc
            self._close()
            with suppress(BridgeUnavailable):
                await self._source.wake()

    def _close(self) -> None:
        self._closing = True
        self._wake_all()

    def _wake_all(self) -> None:
        for wakeup in (self._reader, self._settler, self._clock):
            wakeup.set()

    def _note_connection(self) -> None:
        self._connected = True
        if self.ready.is_set():
            self._counters.reconnects += 1
            self._place.notify(ConnectionBack(*self._where))
        self.ready.set()

    def _note_loss(self, error: BridgeUnavailable) -> None:
        if self._connected:
            self._connected = False
            self._place.notify(ConnectionLost(*self._where, error))

    # Reading

    @property
    def _is_ending(self) -> bool:
        return self._stopping or self._closing or self._yielding

    async def _read(self) -> None:
        if self._is_exclusive:
            await self._take_over()
        while not self._is_ending:
            places = self._receive.concurrency - self._deliveries.active
            if places < 1:
                await self._reader.wait()
                # Several deliveries may end in this moment. Read for all of them, not for each.
                await checkpoint()
                await checkpoint()
                continue
            entries = await self._source.read(places)
            self._admit(entries)
            if self._is_exclusive and not entries and not self._is_ending:
                await self._take_over()
        while self._settlement.held and not self._over and not self._closing:
            await self._reader.wait()
        self._close()

    async def _take_over(self) -> None:
        """Wait until this receiver owns the partition, and has delivered what the former owner has left."""
        while not self._is_ending:
            if not await self._renew_ownership(()):
                self._lose_ownership()
                with anyio.move_on_after(_POLL):
                    await self._reader.wait()
                continue
            self._owner = True
            self._settler.set()
            if self._settlement.held:
                # It must be settled before anything newer is delivered.
                await self._reader.wait()
                continue
            entries = await self._source.redelivered(1)
            if not entries:
                return
            self._admit(entries)

    async def _renew_ownership(self, positions: Sequence[str]) -> bool:
        # The time before the call: the broker counts from a later moment.
        now = anyio.current_time()
        owner = await self._source.renew(positions)
        if owner and self._is_exclusive:
            # The deliveries end in time also if the connection is lost meanwhile.
            self._deliveries.set_deadline(self._tasks, now + self._receive.claim_after)
        return owner

    def _lose_ownership(self) -> None:
        """End all deliveries, because the new owner makes them."""
        self._owner = False
        self._deliveries.clear()
        for position in self._settlement.held.keys() - self._deliveries.running.keys():
            self._settlement.forget(position)
        self._deliveries.cancel()

    def _yield_partition(self) -> None:
        """Let another program read the partition, because this one does not understand its next event."""
        self._yielding = True
        self._hand_back(self._deliveries.clear())
        self._tasks.start_soon(self._guard, self._source.wake)

    def _admit(self, entries: Sequence[Entry], *, again: bool = False) -> None:
        """Hold entries and start their deliveries, as far as there are places. Does not wait."""
        for entry in entries:
            if not self._settlement.hold(entry):
                # It is delivered here, and this process was too slow to renew it.
                continue
            opened = self._deliverer.open(entry)
            if not isinstance(opened, Envelope):
                self._decide(entry, opened)
            elif self._is_ending:
                # The read was on its way when the end came.
                self._hand_back([entry])
            else:
                if again:
                    self._again = entry.position
                key = opened.key if self._receive.ordered else None
                self._deliveries.add(self._tasks, entry, opened, key=key, first=again)

    # Outcomes

    def _conclude(self, entry: Entry, outcome: Outcome | None, *, was_cancelled: bool) -> None:
        if was_cancelled and not self._stopping:
            # The ownership is lost, or may be, and the next owner decides.
            self._settlement.forget(entry.position)
        elif outcome is None:
            self._hand_back([entry])
        else:
            self._decide(entry, outcome)
        self._ended.set()
        self._reader.set()

    def _record_attempts(self, entry: Entry, outcome: Later) -> None:
        self._settlement.record_attempts(entry.position, outcome)
        self._settler.set()

    def _decide(self, entry: Entry, outcome: Outcome) -> None:
        if self._again == entry.position:
            self._again = None
            self._clock.set()
        if self._receive.group is None:
            self._settlement.forget(entry.position)
            return
        if isinstance(outcome, Later):
            due = self._due_elsewhere if outcome.elsewhere else self._due
            heappush(due, anyio.current_time() + outcome.delay)
            if outcome.elsewhere and self._is_exclusive and not self._yielding:
                self._yield_partition()
        self._settlement.decide(entry.position, outcome)
        self._settler.set()

    def _hand_back(self, entries: Sequence[Entry]) -> None:
        """Let another process deliver events that were not delivered here. This is not an attempt."""
        for entry in entries:
            self._decide(entry, Later(0, entry.attempt - 1))

    # Settling, and watching the clock

    async def _settle(self) -> None:
        while not self._closing:
            # The broker ignores what an ordered receiver decides before it owns the partition again.
            if self._settlement.has_outcomes() and (self._owner or self._stopping or not self._is_exclusive):
                async with self._changing_due_times:
                    await self._settlement.settle(self._source)
                self._ended.set()
                self._reader.set()
            else:
                await self._settler.wait()

    async def _watch_clock(self) -> None:
        """Renew what is held, and look for events that are due, in a group."""
        # A third, so that a renewal may fail or be late before another process claims the event of a slow listener.
        between_renewals = self._receive.claim_after / 3
        next_renewal = next_poll = anyio.current_time()
        while not self._closing:
            now = anyio.current_time()
            # Renew before looking for what is due: after a long pause of the process, its own events are.
            if self._receive.group is not None and now >= next_renewal:
                await self._renew(self._receive.group)
                next_renewal = now + between_renewals
            while self._due and self._due[0] <= now:
                heappop(self._due)
                next_poll = now
            while self._due_elsewhere and self._due_elsewhere[0] <= now:
                next_poll = max(next_poll, heappop(self._due_elsewhere) + 2 * _POLL)
            if self._may_redeliver and now >= next_poll:
                entries = await self._source.redelivered(1)
                self._admit(entries, again=True)
                next_poll = now if entries else now + min(_POLL, between_renewals)
            next_times = [next_renewal, *self._due[:1], *([next_poll] if self._may_redeliver else [])]
            until = min(next_times) if self._receive.group is not None else math.inf
            with anyio.move_on_after(max(0, until - anyio.current_time())):
                await self._clock.wait()

    @property
    def _may_redeliver(self) -> bool:
        """Whether it may look for events that are due. An ordered receiver has none while it owns the partition."""
        return (
            self._receive.group is not None and not self._is_exclusive and self._again is None and not self._is_ending
        )

    async def _renew(self, group: str) -> None:
        if self._is_exclusive and not self._owner:
            return
        async with self._changing_due_times:
            is_owner = await self._renew_ownership(list(self._settlement.held))
        if not is_owner and self._owner:
            self._lose_ownership()
            await self._source.wake()
            return
        await self._observer.observe(group)

    # Health

    async def get_health(self) -> ReceiveHealth:
        """Return the state of this receiver and of its group. The group is unknown if the connection is lost."""
        return await self._observer.get_health(
            connected=self._connected,
            owner=self._owner or not self._is_exclusive,
            in_flight=self._deliveries.active,
        )
