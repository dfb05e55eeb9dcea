"""What crosses a real server, and what does not. Each test prints its figures at the end of the run."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from antiphon.bridges import CodecError, EventRegistry, Message, Retry
from antiphon.bridges._codec.envelope import decode_envelope
from antiphon.bridges.redis import RedisStreams
from tests.bridges.redis.figures import Figures, Rounds
from tests.bridges.redis.programs import make_billing, make_program, place_surely, until
from tests.bridges.redis.server import Server
from tests.bridges.shop import ORDERS, PRICES, OrderPaid, OrderPlaced, PriceChanged, Program
from tests.bridges.test_groups import Unknown, make_newer_registry
from tests.bridges.test_tracing import check_two_hops

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


def count_stored(server: Server, prefix: str, channel: str) -> int:
    return int(server.command("XLEN", f"{{{prefix}:{channel}:0}}")[1:])


# Circles


async def test_received_events_do_not_go_in_circles(shared_server: Server, prefix: str, figures: Figures):
    """A forwarded event, and one that a queue and the reader of a stream dispatch again."""
    one, two = make_program(shared_server, prefix, "one"), make_program(shared_server, prefix, "two")
    for program in (one, two):
        program.bridge.forward(OrderPlaced, to=ORDERS)
        program.bridge.receive(ORDERS)
        program.listen(OrderPlaced)

    async with (
        two.dispatcher.queue() as queue,
        two.dispatcher.stream("order.placed") as stream,
        one.bridge,
        two.bridge,
    ):

        async def post(event: OrderPlaced) -> None:
            await queue.post("order.again", event)

        two.dispatcher.add_listener("order.placed", post)
        await one.dispatcher.adispatch("order.placed", OrderPlaced("7"))
        await two.dispatcher.adispatch("order.read", await anext(aiter(stream)))
        await until(lambda: len(two.log) == 3)
        await anyio.sleep(0.3)
    stored = count_stored(shared_server, prefix, "orders")
    figures.sent, figures.acknowledged = 1, ["7"]
    figures.add(two)
    figures.note(f"dispatched {len(two.log)}, stored {stored}")
    figures.check()
    assert (one.log, two.log, stored) == (["7"], ["7"] * 3, 1)


async def test_an_event_that_a_listener_derives_crosses_once(shared_server: Server, prefix: str, figures: Figures):
    web, billing = make_program(shared_server, prefix), make_billing(shared_server, prefix, only=(OrderPlaced,))
    shipping = make_program(shared_server, prefix, "shipping")
    shipping.bridge.receive(ORDERS, group="shipping", only=(OrderPaid,))
    shipping.listen(OrderPaid)
    billing.bridge.forward(OrderPaid, to=ORDERS)

    async def pay(event: Any) -> None:
        if isinstance(event, OrderPlaced):
            await billing.dispatcher.adispatch("order.paid", OrderPaid(event.order_id))

    billing.react = pay
    async with web.bridge, billing.bridge, shipping.bridge:
        for number in range(20):
            await place_surely(web, str(number), figures.acknowledged)
        await figures.until_handled(lambda: shipping.log)
        await figures.until_settled(billing)
        await figures.until_settled(shipping)
    stored = count_stored(shared_server, prefix, "orders")
    figures.sent = 20
    figures.add(shipping)
    figures.note(f"derived {len(shipping.log)}, stored {stored}")
    figures.check()
    assert (figures.duplicates, stored) == (0, 40)
    assert {made.hops for made in shipping.deliveries if made is not None} == {1}


async def test_two_programs_that_answer_each_other_come_to_an_end(shared_server: Server, prefix: str, figures: Figures):
    players = [make_program(shared_server, prefix, name, max_hops=6) for name in ("ping", "pong")]
    for number, program in enumerate(players):

        async def answer(event: PriceChanged, program: Program = program, turn: int = 1 - number) -> None:
            assert event.price is not None
            if event.price % 2 == turn:
                await program.dispatcher.adispatch(PriceChanged("tea", event.price + 1))

        program.bridge.receive(PRICES)
        program.bridge.forward(PriceChanged, to=PRICES)
        program.listen(PriceChanged, react=answer)
    async with players[0].bridge, players[1].bridge:
        await players[0].dispatcher.adispatch(PriceChanged("tea", 0))
        await until(lambda: any("max_hops= is 6" in repr(notice) for each in players for notice in each.notices))
        await anyio.sleep(0.3)
    stored = count_stored(shared_server, prefix, "prices")
    figures.sent = 1
    figures.note(f"stored {stored} of at most 7")
    figures.check()
    assert stored == 7


# Programs of several versions


@pytest.mark.parametrize(("ordered", "claim_after"), [(False, 0.6), (True, 30)], ids=["group", "ordered"])
async def test_a_deploy_of_a_new_version_and_a_new_type_loses_nothing(
    shared_server: Server, prefix: str, figures: Figures, ordered: bool, claim_after: float
):
    """The older program leaves to the newer one what it does not know, and an ordered one its whole partition."""

    def program(name: str, events: EventRegistry) -> Program:
        made = Program(RedisStreams(shared_server.url, prefix=prefix), name, events)
        options: dict[str, Any] = {"ordered": ordered, "claim_after": claim_after}
        made.bridge.receive(ORDERS, group="billing", unknown="wait", **options)
        return made.listen(OrderPlaced, Unknown)

    newer_registry = make_newer_registry(2)
    newer_registry.register("shop.order-placed", version=2)(OrderPlaced)
    older, newer = program("older", make_newer_registry(1)), program("newer", newer_registry)
    async with older.bridge:
        await older.bridge.publish(Unknown(1), to=ORDERS)
        await until(lambda: older.log)
        await older.bridge.send(newer.bridge.prepare(Unknown(2), to=ORDERS))
        await older.bridge.send(newer.bridge.prepare(OrderPlaced("3"), to=ORDERS))
        await anyio.sleep(0.5)
        assert older.log == [Unknown(1)]
        async with newer.bridge:
            started = anyio.current_time()
            await until(lambda: len(newer.log) == 2)
            figures.note(f"handed over in {anyio.current_time() - started:.2f} s")
            await figures.until_settled(newer)
    figures.sent, figures.acknowledged = 3, ["1", "2", "3"]
    figures.add(older, newer)
    figures.check()
    assert (older.log, sorted(newer.log, key=str)) == ([Unknown(1)], ["3", Unknown(2)])


async def test_two_hops_are_one_trace(shared_server: Server, prefix: str, figures: Figures):
    exporter = InMemorySpanExporter()
    programs = [make_program(shared_server, prefix, name) for name in ("web", "billing", "shipping")]

    await check_two_hops(exporter, *programs)

    figures.sent, figures.acknowledged = 1, ["7"]
    figures.add(programs[2])
    spans = exporter.get_finished_spans()
    traces = {span.context.trace_id for span in spans if span.context is not None}
    figures.note(f"spans {len(spans)}, traces {len(traces)}")
    figures.check()
    assert len(traces) == 1


# Bytes


def damage(data: bytes, random: Random) -> bytes:
    """Return the bytes of an event with random changes: of bytes, of attributes, of fields, or of the type."""
    values: list[Any] = [None, True, -1, 2**70, 1e400, "", "order.*", "\ud800", [], {}, ["7"], {"a": {"b": []}}]
    kind = random.randrange(5)
    if kind == 0:
        return data[: random.randrange(len(data))]
    if kind == 1:
        changed = bytearray(data)
        for _ in range(random.randint(1, 4)):
            changed[random.randrange(len(changed))] = random.randrange(256)
        return bytes(changed)
    attributes: dict[str, Any] = json.loads(data)
    if kind == 4:
        return json.dumps({**attributes, "type": "shop.other"}).encode()
    place = attributes if kind == 2 else attributes["data"]
    name = random.choice([*place, "extra"])
    if random.random() < 0.3:
        place.pop(name, None)
    else:
        place[name] = random.choice(values)
    return json.dumps(attributes).encode()


def waits_for_a_newer_program(data: bytes) -> bool:
    """Return whether a version is newer than those of `make_registry`."""
    try:
        return decode_envelope(data).version > 2
    except CodecError:
        return False


async def test_damaged_events_are_handled_skipped_or_buried(
    shared_server: Server, prefix: str, rounds: Rounds, figures: Figures
):
    """Good events between them arrive once, and dead letters have the bytes that were published."""
    web, billing = make_program(shared_server, prefix), make_billing(shared_server, prefix, retry=Retry(1))
    random, count = Random(16), rounds(2_000, 400)
    damaged: list[bytes] = []
    async with web.bridge, billing.bridge:
        original = web.bridge.prepare(OrderPlaced("damaged"), to=ORDERS, name="order.placed").data
        while len(damaged) < count:
            data = damage(original, random)
            if not waits_for_a_newer_program(data):
                damaged.append(data)
        for number, data in enumerate(damaged):
            await web.bridge._broker.publish(ORDERS, 0, Message("orders", f"raw-{number}", data))
            if number % 10 == 0:
                await place_surely(web, str(number), figures.acknowledged)
        await figures.until_settled(billing, 60)
        dead = await billing.dead()
        (state,) = (await billing.bridge.health()).receives
    figures.sent = count + len(figures.acknowledged)
    figures.add(billing)
    figures.note(
        f"damaged {count}: handled {state.handled - len(figures.acknowledged)}, "
        f"skipped {state.unknown}, dead {len(dead)}"
    )
    figures.check()
    assert sorted(billing.log.count(order_id) for order_id in figures.acknowledged) == [1] * len(figures.acknowledged)
    assert {letter.data for letter in dead} <= set(damaged)
    assert state.handled + state.unknown + len(dead) == figures.sent
    assert min(state.handled, state.unknown, len(dead)) > 0
