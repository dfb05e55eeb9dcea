"""What the checks of the contract of a broker have in common."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio

from antiphon.bridges import Broker, Channel, Entry, Message, Receipt, Source, SourceOptions

__all__ = ("BrokerKit", "expect", "get_ids", "read_entries")


def expect(seen: object, expected: object, what: str) -> None:
    """Compare a result with the expected one.

    Raises:
        AssertionError: If they differ.
    """
    if seen != expected:
        raise AssertionError(f"expected {what} to be {expected!r}; got {seen!r}")


def get_ids(entries: Sequence[Entry]) -> list[str]:
    """Return the ids of the messages that `BrokerKit.publish` has published."""
    return [(entry.data or b"").decode() for entry in entries]


async def read_entries(source: Source, count: int) -> list[Entry]:
    """Read a number of events."""
    entries: list[Entry] = []
    with anyio.fail_after(30):
        while len(entries) < count:
            entries += await source.read(count - len(entries))
    return entries


class BrokerKit:
    """A fresh channel in a broker, and short forms of what the checks do."""

    def __init__(self, make_broker: Callable[[], Broker], claim_after: float) -> None:
        self.broker = make_broker()
        self.make_broker = make_broker
        self.claim_after = claim_after
        self.channel = Channel(f"contract-{uuid.uuid4().hex}", retain=timedelta(hours=1))

    async def publish(self, *ids: str) -> list[Receipt]:
        """Publish a message for each id, whose data is the id."""
        messages = [Message(self.channel.name, each, each.encode()) for each in ids]
        return [await self.broker.publish(self.channel, 0, message) for message in messages]

    def source(
        self, consumer: str = "one", *, group: str | None = "group", ordered: bool = False, broker: Broker | None = None
    ) -> Source:
        """Return a source that is not open."""
        options = SourceOptions(self.channel, 0, group, consumer, self.claim_after, ordered)
        return (broker or self.broker).source(options)

    @asynccontextmanager
    async def opened(self, *sources: Source) -> AsyncGenerator[None]:
        """Run the broker, and open sources."""
        async with self.broker.running([self.channel]):
            if len(sources) == 1:
                async with sources[0].opened():
                    yield
            else:
                async with sources[0].opened(), sources[1].opened():
                    yield

    async def wait(self, units: float) -> None:
        """Sleep for some times of ``claim_after``."""
        await anyio.sleep(units * self.claim_after)

    async def nothing_to_read(self, source: Source) -> None:
        """Check that a read waits, and that it can be woken up."""
        entries: list[Sequence[Entry]] = []

        async def read() -> None:
            entries.append(await source.read(10))

        with anyio.fail_after(30 + 4 * self.claim_after):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await self.wait(0.2)
                expect(entries, [], "what a read returns before there is an event")
                await source.wake()
        expect([len(each) for each in entries], [0], "the number of events that a read returns after wake()")
