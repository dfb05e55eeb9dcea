"""A cluster of three: its partitions are on all nodes, and may move."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from antiphon.bridges import BridgeUnavailable, Channel, PublishFailed, PublishUncertain
from antiphon.bridges.redis import RedisStreams
from antiphon.testing.brokers import BrokerCheck, broker_checks
from tests.bridges.redis.figures import Figures
from tests.bridges.redis.programs import until, until_settled
from tests.bridges.redis.server import Cluster, find_server
from tests.bridges.shop import OrderPlaced, Program, make_registry

CHANNEL = Channel("orders", partitions=16)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if find_server() is None:
        pytest.skip("neither redis-server nor valkey-server is installed")
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.start()
        yield made
    finally:
        made.end()


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    # Another test may have restarted a node.
    shared_cluster.wait_until_ready()
    return shared_cluster


def make_program(cluster: Cluster, prefix: str, name: str, node: int = 0) -> Program:
    return Program(RedisStreams(cluster.nodes[node].url, prefix=prefix), name, make_registry())


def make_billing(cluster: Cluster, prefix: str, name: str = "billing", **options: Any) -> Program:
    billing = make_program(cluster, prefix, name, 1)
    billing.bridge.receive(CHANNEL, group="billing", claim_after=2, **options)
    return billing.listen(OrderPlaced)


async def place_surely(web: Program, *order_ids: str) -> None:
    for order_id in order_ids:
        with anyio.fail_after(20):
            while True:
                try:
                    await web.bridge.publish(OrderPlaced(order_id), to=CHANNEL, id=f"id-{order_id}")
                except (PublishFailed, PublishUncertain):
                    await anyio.sleep(0.05)
                else:
                    break


@pytest.mark.parametrize("check", broker_checks(), ids=str)
async def test_a_cluster_keeps_the_contract(check: BrokerCheck, cluster: Cluster, prefix: str):
    await check(lambda: RedisStreams(cluster.url, prefix=prefix), claim_after=0.5)


@pytest.mark.faults
@pytest.mark.parametrize("ordered", [False, True])
async def test_partitions_on_all_nodes_are_published_and_received(
    cluster: Cluster, prefix: str, figures: Figures, ordered: bool
):
    web, billing = make_program(cluster, prefix, "web"), make_billing(cluster, prefix, ordered=ordered)
    order_ids = [str(number) for number in range(100)]

    async with web.bridge, billing.bridge:
        await place_surely(web, *order_ids)
        await until(lambda: len(billing.log) == 100)
        await figures.until_settled(billing)
        receives = (await billing.bridge.health()).receives

    nodes = sum(f"{{{prefix}:orders:".encode() in node.command("KEYS", "*") for node in cluster.nodes)
    figures.sent, figures.acknowledged = 100, order_ids
    figures.add(billing)
    figures.note(f"partitions {len(receives)}, nodes {nodes}")
    figures.check()
    assert sorted(billing.log, key=int) == order_ids
    assert (len(receives), nodes) == (16, 3)


@pytest.mark.faults
async def test_a_node_that_is_restarted_loses_nothing(cluster: Cluster, prefix: str, figures: Figures):
    web, billing = make_program(cluster, prefix, "web"), make_billing(cluster, prefix)
    before, after = ([f"{when}-{number}" for number in range(40)] for when in ("before", "after"))

    async with web.bridge, billing.bridge:
        await place_surely(web, *before)
        await until_settled(billing)
        await anyio.to_thread.run_sync(cluster.nodes[2].restart)
        await place_surely(web, *after)
        await until(lambda: len(billing.log) >= 80, 30)
        await figures.until_settled(billing, 30)

    figures.sent, figures.acknowledged = 80, [*before, *after]
    figures.add(billing)
    figures.check()
    assert sorted(billing.log) == sorted([*before, *after])


@pytest.mark.faults
async def test_a_partition_that_moves_to_another_node_is_followed(cluster: Cluster, prefix: str, figures: Figures):
    web, billing = make_program(cluster, prefix, "web"), make_billing(cluster, prefix)
    channel = Channel("single")
    tag = f"{prefix}:single:0"
    slot = crc_hqx(tag.encode(), 0) % 16384
    billing.bridge.receive(channel, group="billing", claim_after=2)
    log: list[str] = billing.log

    async with web.bridge, billing.bridge:
        await web.bridge.publish(OrderPlaced("before"), to=channel)
        await until(lambda: log == ["before"])
        await until_settled(billing)
        move(cluster, slot)
        with pytest.raises(PublishFailed, match="refuses the command"):
            await web.bridge.publish(OrderPlaced("during"), to=channel)
        with anyio.fail_after(20):
            while "after" not in log:
                try:
                    await web.bridge.publish(OrderPlaced("after"), to=channel, id="after")
                except (PublishFailed, PublishUncertain):
                    pass
                await anyio.sleep(0.05)
        await figures.until_settled(billing)

    figures.sent, figures.acknowledged = 3, ["before", "after"]
    figures.add(billing)
    figures.note("refused 1")
    figures.check()
    assert log == ["before", "after"]


def move(cluster: Cluster, slot: int) -> None:
    """Move a slot with its keys to the next node, as tools for clusters do it."""
    number = next(i for i in range(3) if i * 16384 // 3 <= slot < (i + 1) * 16384 // 3)
    old, new = cluster.nodes[number], cluster.nodes[(number + 1) % 3]
    ids = [node.command("CLUSTER", "MYID").split(b"\r\n")[1].decode() for node in (old, new)]
    new.command("CLUSTER", "SETSLOT", str(slot), "IMPORTING", ids[0])
    old.command("CLUSTER", "SETSLOT", str(slot), "MIGRATING", ids[1])
    keys = old.command("CLUSTER", "GETKEYSINSLOT", str(slot), "100").decode().split("\r\n")
    for key in keys:
        if key.startswith("{"):
            assert old.command("MIGRATE", "127.0.0.1", str(new.port), key, "0", "5000") == b"+OK\r\n"
    for node in (new, old, *cluster.nodes):
        assert node.command("CLUSTER", "SETSLOT", str(slot), "NODE", ids[1]) == b"+OK\r\n"


async def test_few_rights_are_enough_in_a_cluster(cluster: Cluster, prefix: str):
    """Those that the docs name for one server, and one more."""
    for node in cluster.nodes:
        node.command(
            "ACL", "SETUSER", "shop", "on", ">secret", f"~{{{prefix}:*", "+@stream", "+@scripting", "+@connection",
            "+get", "+set", "+setnx", "+del", "+incr", "+pexpire", "+exists", "+time", "+cluster|slots",
        )  # fmt: skip
    broker = RedisStreams(cluster.url, prefix=prefix, credentials=("shop", "secret"))
    web = Program(broker, "web", make_registry())
    web.bridge.receive(CHANNEL, group="billing")
    web.listen(OrderPlaced)

    async with web.bridge:
        await place_surely(web, *map(str, range(20)))
        await until(lambda: len(web.log) == 20)


async def test_a_node_that_cannot_be_reached_is_one_plain_exception_at_entry(cluster: Cluster, prefix: str):
    cluster.nodes[2].end()
    try:
        with pytest.raises(BridgeUnavailable):
            async with make_program(cluster, prefix, "web").bridge:
                pass
    finally:
        cluster.nodes[2].start()
