"""The part of a program that reads a stream."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint

from antiphon import StreamLagged
from tests.fuzz.accounting import Declined, InventedError, LostError, Placed, choose_pause, is_subsequence, require
from tests.fuzz.checkpoints import drive_in_part

if TYPE_CHECKING:
    from tests.fuzz.waiting import Waiting

__all__ = ("read_stream",)


async def read_stream(program: Waiting, chance: random.Random) -> None:
    """Read a stream, also after its end. Listeners around it record what it must receive.

    In a sequential dispatch, the listener before the stream has the priority of the stream. Nothing can come between
    the two, so each event that it records must be delivered or dropped. In a concurrent dispatch, which starts listeners
    of one priority in any order, its priority is lower, and each event that the listener after the stream records must
    be delivered or dropped.
    """
    overflow: Any = chance.choice(("suspend", "suspend", "raise", "drop_oldest", "drop_newest"))
    size = chance.choice((1, 1, 2, 8))
    before: list[int] = []
    after: list[int] = []
    received: list[int] = []
    missed = 0
    rate = chance.choice((0, 0.3))
    has_readers = chance.random() < 0.4

    async def record(event: Placed) -> None:
        before.append(event.number)

    async def record_after(event: Placed) -> None:
        after.append(event.number)
        if chance.random() < rate:
            raise Declined

    async def read(seconds: float) -> bool:
        nonlocal missed
        try:
            with anyio.move_on_after(seconds):
                received.append((await anext(stream)).number)
        except StreamLagged as lagged:
            missed += lagged.missed
        except StopAsyncIteration:
            return False
        return True

    async def read_some() -> None:
        for _ in range(chance.randint(1, 5)):
            await anyio.sleep(choose_pause(chance, 3))
            await read(chance.choice((1, 2, chance.uniform(0, 4))))
        await checkpoint()

    async def read_too() -> None:
        await drive_in_part(read_some())

    def find_stall() -> str | None:
        busy = stream.statistics()
        used = busy.current_buffer_used
        if used > size or (busy.readers_waiting and used) or (busy.dispatches_waiting and used < size):
            return f"the stream stands still: {busy}"
        return None

    dispatcher = program.dispatcher
    priority = -4 if program.is_sequential else -5
    stream = dispatcher.stream("order.placed", max_buffer_size=size, overflow=overflow, priority=-4)
    try:
        with dispatcher.add_listener("order.placed", record, priority=priority):
            async with stream:
                with dispatcher.add_listener("order.placed", record_after, priority=-3):
                    program.watched.append(find_stall)
                    async with anyio.create_task_group() as group:
                        if has_readers:
                            group.start_soon(read_too)
                        await read_some()
    finally:
        if find_stall in program.watched:
            program.watched.remove(find_stall)
        left = stream.statistics()
        read_before = len(received)
        with anyio.CancelScope(shield=True):
            for _ in range(left.current_buffer_used + 2):
                if not await read(1):
                    break
        rest = received[read_before:]
        require(
            len(rest) == left.current_buffer_used, LostError, f"{rest} remained after the end of the stream: {left}"
        )
        counted = len(received) + left.dropped
        least = before if program.is_sequential else after
        require(len(least) <= counted, LostError, f"{left}, then read {rest}, of {least}")
        require(counted <= len(before), InventedError, f"{left}, then read {rest}, of {before}")
        require(is_subsequence(sorted(received), sorted(before)), InventedError, f"{received} was read of {before}")
        if program.is_sequential and not has_readers:
            require(is_subsequence(received, before), InventedError, f"the stream read {received} of {before}")
        require(stream.statistics().delivered == len(received), LostError, f"{left} delivered {len(received)} events")
        # Nothing but a full buffer drops events, unless a dispatch waits for space.
        reported = left.dropped if overflow == "raise" else 0
        require(missed == reported, LostError, f"{left} reported {missed} events as missed")
        if program.is_sequential and rest and overflow in ("raise", "drop_oldest"):
            require(rest == before[-len(rest) :], LostError, f"the stream kept {rest} of {before}")
        program.counts["events read"] += len(received)
        program.ended.append((before, len(before)))
        program.ended.append((after, len(after)))
