"""What the bridge does when the server refuses it. Each test prints its figures at the end of the run."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from antiphon.bridges import BridgeUnavailable, ConfigurationError, PublishFailed, PublishUncertain, Reject, Retry
from antiphon.bridges.redis import RedisStreams
from tests.bridges.redis.figures import Figures, Rounds
from tests.bridges.redis.programs import make_billing, make_program, place_surely, until
from tests.bridges.redis.server import Server
from tests.bridges.shop import ORDERS, OrderPlaced, Program, fail, make_registry

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("ordered", [False, True], ids=["group", "ordered"])
@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    ],
    ids=["no memory", "no replica", "is a replica"],
)
async def test_a_server_that_does_not_write_for_a_while_loses_nothing(
    own_server: Server, prefix: str, figures: Figures, begin: str, end: str, ordered: bool
):
    """Listeners that succeed and fail meanwhile have their outcome afterwards, and a failed publish stores no id."""
    web = make_program(own_server, prefix)
    billing = make_billing(own_server, prefix, claim_after=8, ordered=ordered)

    async def work(event: OrderPlaced) -> None:
        await anyio.sleep(0.2)
        if event.order_id == "bad":
            raise Reject

    billing.react = work
    async with web.bridge, billing.bridge:
        for order_id in ("good", "bad"):
            await place_surely(web, order_id, figures.acknowledged)
        await until(lambda: len(billing.log) == 2)
        own_server.command(*begin.split())
        for number in range(5):
            with pytest.raises(PublishFailed, match="is not stored"):
                await web.bridge.publish(OrderPlaced(str(number)), to=ORDERS, id=f"id-{number}")
        await anyio.sleep(0.6)
        own_server.command(*end.split())
        for number in range(5):
            await place_surely(web, str(number), figures.acknowledged)
        await figures.until_handled(lambda: billing.log)
        await figures.until_settled(billing)
        dead = await billing.dead()
    length = own_server.command("XLEN", f"{{{prefix}:orders:0}}")
    figures.sent = 12
    figures.add(billing)
    figures.note(f"refused 5, dead {len(dead)}")
    figures.check()
    assert (figures.duplicates, len(dead), length) == (0, 1, b":7\r\n")


async def test_a_key_of_another_type_is_refused_until_it_is_removed(
    shared_server: Server, prefix: str, figures: Figures
):
    stream = f"{{{prefix}:orders:0}}"
    shared_server.command("SET", stream, "text")
    web, billing = make_program(shared_server, prefix), make_billing(shared_server, prefix)

    async with web.bridge:
        with pytest.raises(ConfigurationError, match="choose another prefix="):
            await billing.bridge.__aenter__()
        with pytest.raises(PublishFailed, match="choose another prefix="):
            await web.bridge.publish(OrderPlaced("7"), to=ORDERS, id="id-7")
        shared_server.command("DEL", stream)
        async with billing.bridge:
            await place_surely(web, "7", figures.acknowledged)
            await figures.until_handled(lambda: billing.log)
            await figures.until_settled(billing)
    figures.sent = 2
    figures.add(billing)
    figures.note("refused 1")
    figures.check()
    assert billing.log == ["7"]


async def test_a_deleted_group_is_made_again_from_the_start(
    shared_server: Server, prefix: str, rounds: Rounds, figures: Figures
):
    """Also with events that were read, and those that were not. The new group reads all of them."""
    web, billing = make_program(shared_server, prefix), make_billing(shared_server, prefix, concurrency=4)
    billing.react = lambda event: anyio.sleep(0.02)
    deletions = rounds(5, 2)

    async with web.bridge, billing.bridge:
        for number in range(deletions):
            for extra in range(10):
                await place_surely(web, f"{number}-{extra}", figures.acknowledged)
            shared_server.command("XGROUP", "DESTROY", f"{{{prefix}:orders:0}}", "billing")
            await figures.until_handled(lambda: billing.log)
        await figures.until_settled(billing)
    figures.sent = 10 * deletions
    figures.add(billing)
    figures.note(f"deletions {deletions}")
    figures.check()


async def test_pending_events_that_were_removed_are_counted(shared_server: Server, prefix: str, figures: Figures):
    web = make_program(shared_server, prefix)
    billing = make_billing(shared_server, prefix, claim_after=5, retry=Retry(2, first=0.5))
    billing.react = lambda event: fail(event) if len(billing.log) <= 5 else None

    async with web.bridge, billing.bridge:
        for number in range(5):
            await place_surely(web, str(number), figures.acknowledged)
        await until(lambda: billing.kinds().count("Retried") == 5)
        await anyio.sleep(0.1)  # until the server knows it
        shared_server.command("XTRIM", f"{{{prefix}:orders:0}}", "MAXLEN", "0")
        await until(lambda: billing.kinds().count("Trimmed") == 5)
        await figures.until_settled(billing)
    figures.sent = 5
    figures.add(billing)
    figures.note("removed 5")
    figures.check()
    assert len(billing.log) == 5


async def test_a_wrong_password_is_refused_and_a_changed_one_loses_nothing(
    own_server: Server, prefix: str, figures: Figures
):
    def program(name: str, password: str) -> Program:
        broker = RedisStreams(own_server.url, prefix=prefix, credentials=("default", password))
        return Program(broker, name, make_registry())

    own_server.command("CONFIG", "SET", "requirepass", "right")
    with pytest.raises(BridgeUnavailable) as caught:
        await program("intruder", "wrong").bridge.__aenter__()
    assert "wrong" not in str(caught.value).replace("WRONGPASS", "")

    web, billing = program("web", "right"), program("billing", "right")
    billing.bridge.receive(ORDERS, group="billing")
    billing.listen(OrderPlaced)
    async with web.bridge, billing.bridge:
        await place_surely(web, "before", figures.acknowledged)
        # One connection, because a server with a password refuses the commands of another one.
        own_server.commands(
            ("AUTH", "right"), ("CONFIG", "SET", "requirepass", "other"), ("CLIENT", "KILL", "TYPE", "normal")
        )
        refused = 0
        for _ in range(5):
            with pytest.raises((PublishFailed, PublishUncertain)):
                await web.bridge.publish(OrderPlaced("during"), to=ORDERS, id="id-during")
            refused += 1
            await anyio.sleep(0.1)
        own_server.commands(("AUTH", "other"), ("CONFIG", "SET", "requirepass", "right"))
        for order_id in ("during", "after"):
            await place_surely(web, order_id, figures.acknowledged)
        await figures.until_handled(lambda: billing.log)
        await figures.until_settled(billing)
    figures.sent = 3 + refused
    figures.add(billing)
    figures.note(f"refused {refused}")
    figures.check()
    assert figures.duplicates == 0
