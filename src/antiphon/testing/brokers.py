"""The contract of a broker, as checks that each broker of `antiphon.bridges` passes.

If you connect another broker to the bridge, run these checks on it, in any framework for tests::

    @pytest.mark.parametrize("check", broker_checks(), ids=str)
    async def test_contract(check):
        await check(lambda: MyBroker(...), claim_after=1)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from antiphon._util.arguments import hides_parameters
from antiphon._util.naming import describe_value
from antiphon._util.validation import check_duration
from antiphon.bridges import (
    Broker,
    Channel,
    ConfigurationError,
    Entry,
    Postponed,
)
from antiphon.testing._broker_kit import BrokerKit, expect, get_ids, read_entries

__all__ = ("BrokerCheck", "broker_checks")

_CLAIM_AFTER: Final = 1.0

_Check = Callable[[BrokerKit], Awaitable[None]]
_CHECKS: Final[list[_Check]] = []


class BrokerCheck:
    """One rule of the contract. Call it with a function that makes a broker; `str` names the rule."""

    @hides_parameters
    def __init__(self, check: Callable[[BrokerKit], Awaitable[None]]) -> None:
        self._check = check

    async def __call__(self, make_broker: Callable[[], Broker], *, claim_after: float = _CLAIM_AFTER) -> None:
        """Check the rule.

        Args:
            make_broker: Returns a broker. All that it returns in one call of the check use the same storage, like those
                of several processes.
            claim_after: The time unit of the check, in seconds. A broker that measures time exactly can use less.

        Raises:
            AssertionError: If the broker breaks the rule.
            TypeError: If ``make_broker`` does not return a broker, or ``claim_after`` is not a number.
            ValueError: If ``claim_after`` is not positive.
        """
        if not callable(make_broker):
            raise TypeError(
                f"a check takes a function that makes a broker, such as lambda: MyBroker(); got "
                f"{describe_value(make_broker)}"
            )
        check_duration(claim_after, "claim_after= is the time unit of the check, in seconds", optional=False)
        kit = BrokerKit(make_broker, claim_after)
        if not all(hasattr(kit.broker, name) for name in ("running", "publish", "source", "dead")):
            raise TypeError(f"make_broker() returns a broker; it returned {describe_value(kit.broker)}")
        await self._check(kit)

    def __str__(self) -> str:
        return self._check.__name__.strip("_")


def broker_checks() -> list[BrokerCheck]:
    """Return the rules of the contract, as parameters of a test."""
    return [BrokerCheck(check) for check in _CHECKS]


def _rule(check: _Check) -> _Check:
    _CHECKS.append(check)
    return check


@_rule
async def _events_are_read_in_order_and_once(kit: BrokerKit) -> None:
    source = kit.source()
    async with kit.opened(source):
        receipts = await kit.publish("a", "b", "c")
        entries = await read_entries(source, 3)
        expect(get_ids(entries), ["a", "b", "c"], "the events")
        expect([entry.position for entry in entries], [receipt.position for receipt in receipts], "the positions")
        expect([entry.attempt for entry in entries], [1, 1, 1], "the attempts")
        await source.ack([entry.position for entry in entries])
        await kit.nothing_to_read(source)


@_rule
async def _an_id_is_stored_once(kit: BrokerKit) -> None:
    source = kit.source()
    async with kit.opened(source):
        first, again, other = await kit.publish("a", "a", "b")
        expect((again.position, again.duplicate), (first.position, True), "the second receipt of an id")
        expect((first.duplicate, other.duplicate), (False, False), "the receipts of new ids")
        expect(get_ids(await read_entries(source, 2)), ["a", "b"], "the events")


@_rule
async def _a_new_group_starts_at_the_end(kit: BrokerKit) -> None:
    async with kit.broker.running([kit.channel]):
        await kit.publish("before")
        source = kit.source()
        async with source.opened():
            await kit.publish("after")
            health = await kit.broker.health(kit.channel, 0, "group")
            expect((health.lag, health.read), (1, 1), "lag and read of a new group")
            expect(get_ids(await read_entries(source, 1)), ["after"], "the events of a new group")


@_rule
async def _a_group_keeps_its_place_between_sources(kit: BrokerKit) -> None:
    async with kit.broker.running([kit.channel]):
        async with kit.source().opened():
            pass
        await kit.publish("a")
        source = kit.source("two")
        async with source.opened():
            expect(get_ids(await read_entries(source, 1)), ["a"], "the events since the last source")


@_rule
async def _each_group_reads_all_events(kit: BrokerKit) -> None:
    one, two = kit.source(group="one"), kit.source(group="two")
    async with kit.opened(one, two):
        await kit.publish("a")
        expect(
            (get_ids(await read_entries(one, 1)), get_ids(await read_entries(two, 1))),
            (["a"], ["a"]),
            "the events of two groups",
        )


@_rule
async def _consumers_of_a_group_share_its_events(kit: BrokerKit) -> None:
    one, two = kit.source("one"), kit.source("two")
    async with kit.opened(one, two):
        await kit.publish("a", "b")
        expect(
            (get_ids(await read_entries(one, 1)), get_ids(await read_entries(two, 1))),
            (["a"], ["b"]),
            "the events of two consumers",
        )


@_rule
async def _no_more_events_than_the_limit_are_read(kit: BrokerKit) -> None:
    source = kit.source()
    async with kit.opened(source):
        await kit.publish("a", "b", "c")
        expect(len(await source.read(2)), 2, "the number of events of read(2)")
        health = await kit.broker.health(kit.channel, 0, "group")
        expect((health.pending, health.lag), (2, 1), "pending and lag")


@_rule
async def _a_pending_event_is_redelivered_after_claim_after(kit: BrokerKit) -> None:
    one, two = kit.source("one"), kit.source("two")
    async with kit.opened(one, two):
        await kit.publish("a", "b")
        await read_entries(one, 2)
        expect(list(await two.redelivered(10)), [], "what is due at once")
        await kit.wait(1.3)
        entries = list(await two.redelivered(1))
        expect([(*get_ids([entry]), entry.attempt) for entry in entries], [("a", 2)], "what is due")
        entries = list(await two.redelivered(10))
        expect([(*get_ids([entry]), entry.attempt) for entry in entries], [("b", 2)], "what else is due")


@_rule
async def _a_renewed_event_is_not_redelivered(kit: BrokerKit) -> None:
    one, two = kit.source("one"), kit.source("two")
    async with kit.opened(one, two):
        await kit.publish("a")
        (entry,) = await read_entries(one, 1)
        for _ in range(3):
            await kit.wait(0.6)
            expect(await one.renew([entry.position]), True, "the result of renew()")
            expect(list(await two.redelivered(1)), [], "what is due")


@_rule
async def _renewing_does_not_take_an_event_back(kit: BrokerKit) -> None:
    one, two = kit.source("one"), kit.source("two")
    async with kit.opened(one, two):
        await kit.publish("a")
        (entry,) = await read_entries(one, 1)
        await kit.wait(1.3)
        expect(get_ids(await two.redelivered(1)), ["a"], "what is due")
        await one.renew([entry.position])
        await one.later([Postponed(entry.position, 0, 0)])
        await one.bury(entry.position, b"a", "no", 1)
        health = await kit.broker.health(kit.channel, 0, "group")
        expect((health.pending, health.dead), (1, 0), "pending and dead, after decisions of a former consumer")
        await kit.wait(0.5)
        expect(list(await one.redelivered(1)), [], "what is due for the former consumer")


@_rule
async def _a_postponed_event_is_due_after_its_delay(kit: BrokerKit) -> None:
    one, two = kit.source("one"), kit.source("two")
    async with kit.opened(one, two):
        await kit.publish("a")
        (entry,) = await read_entries(one, 1)
        await one.later([Postponed(entry.position, 0.6 * kit.claim_after, 3)])
        expect(list(await two.redelivered(1)), [], "what is due at once")
        await kit.wait(0.8)
        entries = list(await two.redelivered(1))
        expect([(*get_ids([entry]), entry.attempt) for entry in entries], [("a", 4)], "what is due after the delay")


@_rule
async def _an_event_that_is_handed_back_is_due_at_once(kit: BrokerKit) -> None:
    one, two = kit.source("one"), kit.source("two")
    async with kit.opened(one, two):
        await kit.publish("a")
        (entry,) = await read_entries(one, 1)
        await one.later([Postponed(entry.position, 0, entry.attempt - 1)])
        entries = list(await two.redelivered(1))
        expect([(*get_ids([entry]), entry.attempt) for entry in entries], [("a", 1)], "what is due")


@_rule
async def _an_acknowledged_event_is_not_redelivered(kit: BrokerKit) -> None:
    source = kit.source()
    async with kit.opened(source):
        await kit.publish("a")
        (entry,) = await read_entries(source, 1)
        await source.ack([entry.position])
        await source.ack([entry.position])
        await kit.wait(1.3)
        expect(list(await source.redelivered(1)), [], "what is due")
        health = await kit.broker.health(kit.channel, 0, "group")
        expect((health.pending, health.lag, health.oldest), (0, 0, None), "pending, lag and oldest")


@_rule
async def _a_buried_event_is_a_dead_letter_of_its_group(kit: BrokerKit) -> None:
    source = kit.source()
    async with kit.opened(source):
        await kit.publish("a", "b")
        for entry in await read_entries(source, 2):
            await source.bury(entry.position, b"data of " + (entry.data or b""), f"reason of {entry.position}", 3)
        dead = kit.broker.dead(kit.channel, 0, "group")
        letters = list(await dead.read(None, 10))
        expect([letter.data for letter in letters], [b"data of a", b"data of b"], "the data of the dead letters")
        expect([letter.attempts for letter in letters], [3, 3], "the attempts of the dead letters")
        expect(list(await dead.read(letters[0].position, 10)), letters[1:], "the dead letters after the first one")
        health = await kit.broker.health(kit.channel, 0, "group")
        expect((health.pending, health.dead), (0, 2), "pending and dead")
        expect(list(await kit.broker.dead(kit.channel, 0, "other").read(None, 10)), [], "those of another group")


@_rule
async def _a_dead_letter_is_requeued_for_its_group_and_dropped(kit: BrokerKit) -> None:
    source, other = kit.source(), kit.source(group="other")
    async with kit.opened(source, other):
        await kit.publish("a", "b")
        await read_entries(other, 2)
        for entry in await read_entries(source, 2):
            await source.bury(entry.position, entry.data or b"", "no", 1)
        dead = kit.broker.dead(kit.channel, 0, "group")
        first, second = await dead.read(None, 10)
        expect((await dead.requeue(first.position), await dead.drop(second.position)), (True, True), "the results")
        expect((await dead.requeue(first.position), await dead.drop(second.position)), (False, False), "repeated ones")
        expect(list(await dead.read(None, 10)), [], "the dead letters that remain")
        (again,) = await read_entries(source, 1)
        expect((again.data, again.attempt, again.group), (b"a", 1, "group"), "the event that is requeued")
        (elsewhere,) = await read_entries(other, 1)
        expect(elsewhere.group, "group", "the group of the event, for another group")


@_rule
async def _a_fan_out_reads_from_its_start_and_keeps_its_place(kit: BrokerKit) -> None:
    async with kit.broker.running([kit.channel]):
        await kit.publish("before")
        source = kit.source(group=None)
        async with source.opened():
            await kit.publish("a")
            expect(get_ids(await read_entries(source, 1)), ["a"], "the events")
            await kit.nothing_to_read(source)
        await kit.publish("meanwhile")
        async with source.opened():
            expect(get_ids(await read_entries(source, 1)), ["meanwhile"], "the events since it was closed")


@_rule
async def _a_fan_out_that_read_nothing_keeps_its_place(kit: BrokerKit) -> None:
    source = kit.source(group=None)
    async with kit.broker.running([kit.channel]):
        async with source.opened():
            pass
        await kit.publish("meanwhile")
        async with source.opened():
            expect(get_ids(await read_entries(source, 1)), ["meanwhile"], "the events since it was closed")


@_rule
async def _one_ordered_source_owns_a_partition(kit: BrokerKit) -> None:
    one, two = kit.source("one", ordered=True), kit.source("two", ordered=True)
    async with kit.opened(one, two):
        await kit.publish("a")
        expect(list(await one.read(1)), [], "what a source reads before it owns the partition")
        expect((await one.renew(()), await two.renew(())), (True, False), "who owns the partition")
        expect(list(await two.read(1)), [], "what a source reads that does not own the partition")
        expect(get_ids(await read_entries(one, 1)), ["a"], "what the owner reads")
        for _ in range(3):
            await kit.wait(0.6)
            expect((await one.renew(()), await two.renew(())), (True, False), "who owns the partition later")


@_rule
async def _an_ordered_source_takes_over_what_is_pending_in_order(kit: BrokerKit) -> None:
    one, two = kit.source("one", ordered=True), kit.source("two", ordered=True)
    async with kit.opened(one, two):
        await one.renew(())
        await kit.publish("a", "b", "c")
        entries = await read_entries(one, 2)
        await kit.wait(1.3)
        expect(await two.renew(()), True, "whether the next one owns the partition")
        # The former owner is too late.
        await one.ack([entries[0].position])
        await one.later([Postponed(entries[1].position, 0, 0)])
        expect(list(await one.read(1)), [], "what the former owner reads")
        for expected in ("a", "b"):
            (entry,) = await two.redelivered(1)
            expect((*get_ids([entry]), entry.attempt), (expected, 2), "what the next owner takes over")
            await two.ack([entry.position])
        expect(list(await two.redelivered(1)), [], "what else the next owner takes over")
        expect(get_ids(await read_entries(two, 1)), ["c"], "what the next owner reads")


@_rule
async def _an_ordered_source_gives_up_its_partition_at_its_end(kit: BrokerKit) -> None:
    one, two = kit.source("one", ordered=True), kit.source("two", ordered=True)
    async with kit.opened(two):
        async with one.opened():
            await one.renew(())
        expect(await two.renew(()), True, "whether the next one owns the partition")


@_rule
async def _an_event_wakes_up_a_read(kit: BrokerKit) -> None:
    source = kit.source()
    entries: list[Entry] = []

    async def read() -> None:
        entries.extend(await read_entries(source, 1))

    async with kit.opened(source):
        with anyio.fail_after(4 + 4 * kit.claim_after):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await kit.wait(0.3)
                await kit.publish("a")
        expect(get_ids(entries), ["a"], "what a waiting read returns")


@_rule
async def _the_number_of_partitions_cannot_change(kit: BrokerKit) -> None:
    async with kit.broker.running([kit.channel]):
        await kit.publish("a")
    try:
        async with kit.make_broker().running([Channel(kit.channel.name, partitions=2)]):
            pass
    except ConfigurationError:
        return
    raise AssertionError("expected a ConfigurationError for another number of partitions")


@_rule
async def _several_brokers_share_their_events(kit: BrokerKit) -> None:
    other = kit.make_broker()
    source = kit.source(broker=other)
    async with kit.broker.running([kit.channel]), other.running([kit.channel]), source.opened():
        await kit.publish("a")
        expect(get_ids(await read_entries(source, 1)), ["a"], "what another process reads")
