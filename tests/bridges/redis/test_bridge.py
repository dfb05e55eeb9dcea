"""The bridge on a real server: what a lost connection, a restart and a cancellation leave behind."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from coredis import exceptions as errors

from antiphon.bridges import (
    BridgeUnavailable,
    Channel,
    ConfigurationError,
    Message,
    PublishFailed,
    PublishUncertain,
    Retry,
    SourceOptions,
)
from antiphon.bridges.redis import RedisStreams
from antiphon.bridges.redis._client import Connector, RedisClient
from tests.bridges.redis.programs import make_billing, make_program, place, place_surely, until, until_settled
from tests.bridges.redis.proxy import Proxy
from tests.bridges.redis.server import Server, find_server
from tests.bridges.shop import ORDERS, PRICES, OrderPaid, OrderPlaced, Program, fail, make_registry


async def test_events_cross_between_two_programs(shared_server: Server, prefix: str):
    web, billing = make_program(shared_server, prefix), make_billing(shared_server, prefix)
    web.bridge.forward(OrderPlaced, to=ORDERS)

    async with web.bridge, billing.bridge:
        for number in range(20):
            await web.dispatcher.adispatch("order.placed", OrderPlaced(str(number)))
        await until(lambda: len(billing.log) == 20)
        await until_settled(billing)

    assert sorted(billing.log, key=int) == [str(number) for number in range(20)]


async def test_a_broker_serves_one_bridge_at_a_time(shared_server: Server, prefix: str):
    broker = RedisStreams(shared_server.url, prefix=prefix)
    web = Program(broker, "web", make_registry())
    second = Program(broker, "billing", make_registry()).bridge

    async with web.bridge:
        with pytest.raises(ConfigurationError, match="runs for another bridge: create a broker for each bridge"):
            async with second:
                pass
        # The first one still publishes.
        await web.bridge.publish(OrderPlaced("1"), to=ORDERS)
    async with second:
        pass


async def test_many_tasks_publish_in_few_calls(shared_server: Server, prefix: str):
    """A command of coredis takes longer than the event in it."""
    web = make_program(shared_server, prefix)

    async with web.bridge:
        before = calls(shared_server), calls(shared_server, "setnx")
        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(place, web, str(number))
        after = calls(shared_server), calls(shared_server, "setnx")

    assert 0 < after[0] - before[0] <= 10
    # The number of partitions is stored by the first of them.
    assert after[1] - before[1] == 1


def calls(server: Server, command: str = "eval") -> int:
    lines = server.command("INFO", "commandstats").decode().split("\r\n")
    numbers = [line.partition("calls=")[2].partition(",")[0] for line in lines if line.startswith(f"cmdstat_{command}")]
    return sum(map(int, numbers))


async def test_a_publish_that_waits_when_the_bridge_ends_has_an_outcome(shared_server: Server, prefix: str):
    web = make_program(shared_server, prefix)
    outcomes: list[type[Exception] | None] = []

    async def publish(number: int) -> None:
        try:
            await place(web, str(number))
        except (PublishFailed, PublishUncertain) as exc:
            outcomes.append(type(exc))
        else:
            outcomes.append(None)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            async with web.bridge:
                await place(web, "first")
                for number in range(600):
                    tasks.start_soon(publish, number)
                # All of them wait, and one call contains 256.
                await anyio.lowlevel.checkpoint()
                await anyio.lowlevel.checkpoint()

    assert len(outcomes) == 600
    stored = int(shared_server.command("XLEN", f"{{{prefix}:orders:0}}")[1:]) - 1
    assert outcomes.count(None) <= stored <= 600 - outcomes.count(PublishFailed)


async def test_a_group_without_events_does_not_poll_the_server(shared_server: Server, prefix: str):
    billing = make_billing(shared_server, prefix)
    async with billing.bridge:
        before = calls(shared_server, "xreadgroup")
        await anyio.sleep(0.5)
        assert calls(shared_server, "xreadgroup") - before <= 1


async def test_reads_that_wait_do_not_use_the_connections_of_others(shared_server: Server, prefix: str):
    """Each has a client of one connection: a pool would be empty, and every other command would wait for a place."""
    web = make_program(shared_server, prefix)
    for number in range(6):
        web.bridge.receive(ORDERS, group=f"group-{number}")
    web.listen(OrderPlaced)

    async with web.bridge:
        await anyio.sleep(0.2)
        with anyio.fail_after(2):
            await place(web, "7")
            await until(lambda: len(web.log) == 6)


async def test_a_command_is_not_cancelled_half_way(shared_server: Server, prefix: str):
    """A command of coredis that is cancelled can keep its place in the pool for ever."""
    async with Proxy.running(shared_server.port) as proxy:
        billing = Program(RedisStreams(proxy.url, prefix=prefix), "billing", make_registry())
        billing.bridge.receive(ORDERS, group="billing")
        async with billing.bridge:
            proxy.delay = (b"EVALSHA", 0.3)
            started = anyio.current_time()
            with anyio.move_on_after(0.05):
                await billing.bridge.health()
            assert anyio.current_time() - started > 0.25
            proxy.delay = None


async def test_a_command_of_a_cancelled_task_is_not_sent(shared_server: Server, prefix: str):
    billing = make_billing(shared_server, prefix)
    async with billing.bridge:
        await anyio.sleep(0.1)
        before = calls(shared_server)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await billing.bridge.health()

        assert scope.cancelled_caught
        assert calls(shared_server) == before


async def test_a_client_whose_commands_have_timed_out_is_replaced(shared_server: Server, prefix: str):
    """Each of these commands is cancelled, and keeps its place in the pool of the client."""
    async with Proxy.running(shared_server.port) as proxy:
        web = Program(RedisStreams(proxy.url, prefix=prefix, publish_timeout=0.1), "web", make_registry())
        stored: list[str] = []
        async with web.bridge:
            await place_surely(web, "first", stored)
            proxy.delay = (b"EVALSHA", 60)
            failures: list[type[Exception]] = []
            while failures.count(PublishUncertain) < 6:
                with pytest.raises((PublishFailed, PublishUncertain)) as caught:
                    await place(web, "lost")
                failures.append(caught.type)
                await anyio.sleep(0.05)
            proxy.delay = None
            with anyio.fail_after(5):
                await place_surely(web, "last", stored)


async def test_a_failed_event_is_retried_and_buried(shared_server: Server, prefix: str):
    web = make_program(shared_server, prefix)
    billing = make_billing(shared_server, prefix, retry=Retry(3, first=0.1, factor=1), claim_after=5)
    billing.react = fail

    async with web.bridge, billing.bridge:
        await place(web, "7")
        await until(lambda: len(billing.log) == 3)
        await until_settled(billing)
        (dead,) = await billing.dead()
        assert (dead.attempts, dead.reason, dead.type) == (3, "ValueError('no')", "shop.order-placed")
        billing.react = None
        assert await dead.requeue()
        await until(lambda: len(billing.log) == 4)

    assert [made.attempt for made in billing.deliveries if made is not None] == [1, 2, 3, 1]


async def test_rubbish_is_buried_with_its_bytes(shared_server: Server, prefix: str):
    billing = make_billing(shared_server, prefix)

    async with billing.bridge:
        await billing.bridge._broker.publish(ORDERS, 0, Message("orders", "1", b"\xff\x00rubbish"))
        await until(lambda: billing.notices)
        await until_settled(billing)
        (dead,) = await billing.dead()

    assert dead.data == b"\xff\x00rubbish"


async def test_the_end_does_not_wait_for_a_blocked_read(shared_server: Server, prefix: str):
    billing = make_billing(shared_server, prefix)
    async with billing.bridge:
        await anyio.sleep(0.2)
        started = anyio.current_time()

    assert anyio.current_time() - started < 2


async def test_cancellations_leave_nothing_stuck(shared_server: Server, prefix: str):
    """Also while it enters: a cancelled read would keep what it was sent."""
    web = make_program(shared_server, prefix)
    logs: list[str] = []
    async with web.bridge:
        async with make_billing(shared_server, prefix).bridge:
            pass
        await place(web, *map(str, range(60)))
        for number in range(20):
            billing = make_billing(shared_server, prefix, concurrency=4)
            billing.react = lambda event: anyio.sleep(0.001)
            with anyio.move_on_after(0.002 * number):
                async with billing.bridge:
                    await anyio.sleep_forever()
            logs += billing.log
        last = make_billing(shared_server, prefix)
        async with last.bridge:
            await until_settled(last)

    assert sorted({*logs, *last.log}, key=int) == [str(number) for number in range(60)]


async def test_killed_connections_lose_nothing(shared_server: Server, prefix: str):
    web, billing = make_program(shared_server, prefix), make_billing(shared_server, prefix, claim_after=2)
    stored: list[str] = []

    async with web.bridge, billing.bridge:
        for number in range(60):
            if number % 10 == 5:
                shared_server.command("CLIENT", "KILL", "TYPE", "normal")
            await place_surely(web, str(number), stored)
        await until(lambda: set(billing.log) == set(stored), 30)
        await until_settled(billing, 30)
        (state,) = (await billing.bridge.health()).receives

    assert len(stored) == 60
    assert state.reconnects > 0
    assert len(billing.log) == len(set(billing.log))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
async def test_a_restarted_server_is_used_again(own_server: Server, prefix: str, how: signal.Signals):
    web, billing = make_program(own_server, prefix), make_billing(own_server, prefix, claim_after=2)
    stored: list[str] = []

    async with web.bridge, billing.bridge:
        await place_surely(web, "before", stored)
        await until(lambda: "before" in billing.log)
        # The fsync policy is everysec.
        await anyio.sleep(1.5)
        own_server.end(how)
        with pytest.raises((PublishFailed, PublishUncertain)):
            await place(web, "during")
        await anyio.to_thread.run_sync(own_server.start)
        await place_surely(web, "after", stored)
        await until(lambda: "after" in billing.log)

    assert billing.kinds()[:2] == ["ConnectionLost", "ConnectionBack"]


async def test_a_fan_out_continues_after_a_restart(own_server: Server, prefix: str):
    web, listener = make_program(own_server, prefix), make_program(own_server, prefix, "listener")
    listener.bridge.receive(ORDERS)
    listener.listen(OrderPlaced)
    stored: list[str] = []

    async with web.bridge, listener.bridge:
        await place_surely(web, "before", stored)
        await anyio.sleep(1.5)
        own_server.end(signal.SIGTERM)
        await anyio.to_thread.run_sync(own_server.start)
        await place_surely(web, "meanwhile", stored)
        await until(lambda: "meanwhile" in listener.log)

    assert listener.log == ["before", "meanwhile"]


async def test_a_slow_listener_is_started_once(shared_server: Server, prefix: str):
    web = make_program(shared_server, prefix)
    one, two = (make_billing(shared_server, prefix, name, claim_after=0.6) for name in ("one", "two"))
    for program in (one, two):
        program.react = lambda event: anyio.sleep(3)

    async with web.bridge, one.bridge, two.bridge:
        await place(web, "7")
        await anyio.sleep(3.2)
        await until_settled(one)

    assert one.log + two.log == ["7"]


async def test_events_of_a_key_keep_their_order(shared_server: Server, prefix: str):
    web = make_program(shared_server, prefix)
    owners = [make_billing(shared_server, prefix, str(number), ordered=True, claim_after=2) for number in range(2)]

    async with web.bridge, owners[0].bridge, owners[1].bridge:
        for number in range(60):
            await web.bridge.publish(OrderPaid(f"key-{number % 3}"), to=ORDERS, extensions={"number": number})
        await until(lambda: len(owners[0].log) + len(owners[1].log) == 60)
        await until_settled(owners[0])

    (log,) = [owner.deliveries for owner in owners if owner.deliveries]
    for key in ("key-0", "key-1", "key-2"):
        numbers = [made.extensions["number"] for made in log if made is not None and made.key == key]
        assert numbers == sorted(numbers)
        assert len(numbers) == 20


async def test_partitions_have_one_slot_each(shared_server: Server, prefix: str):
    channel = Channel("orders", partitions=4)
    web, billing = make_program(shared_server, prefix), make_program(shared_server, prefix, "billing")
    billing.bridge.receive(channel, group="billing")
    billing.listen(OrderPlaced)

    async with web.bridge, billing.bridge:
        for number in range(20):
            await web.bridge.publish(OrderPlaced(str(number)), to=channel)
        await until(lambda: len(billing.log) == 20)

    keys = shared_server.command("KEYS", f"*{prefix}*").decode()
    names = [name for name in keys.split("\r\n") if prefix in name]
    assert {name.partition("}")[0] for name in names} == {f"{{{prefix}:orders:{number}" for number in range(4)}


async def test_old_events_are_removed_by_their_age(shared_server: Server, prefix: str):
    channel, stream = Channel("orders", retain=timedelta(hours=1)), f"{{{prefix}:orders:0}}"
    for number in range(300):
        shared_server.command("XADD", stream, f"{number + 1}-0", "e", "from 1970")
    web = make_program(shared_server, prefix)

    async with web.bridge, anyio.create_task_group() as tasks:
        for number in range(150):
            tasks.start_soon(partial(web.bridge.publish, OrderPlaced(str(number)), to=channel))

    # The server removes whole blocks of 100 events.
    assert 150 <= int(shared_server.command("XLEN", stream)[1:]) < 250


async def test_lag_and_missed_events_are_right_after_a_restart(own_server: Server, prefix: str):
    """Redis 7.0 forgets how many events a group has read."""
    web, billing = make_program(own_server, prefix), make_billing(own_server, prefix, claim_after=1)
    stored: list[str] = []

    async with web.bridge, billing.bridge:
        for number in range(5):
            await place_surely(web, str(number), stored)
        await until_settled(billing)
        own_server.end(signal.SIGTERM)
        await anyio.to_thread.run_sync(own_server.start)
        await until(lambda: "ConnectionBack" in billing.kinds())
        await until_settled(billing, 5)
        own_server.command("XTRIM", f"{{{prefix}:orders:0}}", "MAXLEN", "0")
        await anyio.sleep(0.5)
        (state,) = (await billing.bridge.health()).receives

    assert (state.lag, state.trimmed) == (0, 0)


async def test_removed_events_are_counted(shared_server: Server, prefix: str):
    channel = Channel("orders", retain=timedelta(seconds=1))
    web, billing = make_program(shared_server, prefix), make_program(shared_server, prefix, "billing")
    billing.bridge.receive(channel, group="billing")
    billing.listen(OrderPlaced)

    async with web.bridge:
        async with billing.bridge:
            pass
        for number in range(3):
            await web.bridge.publish(OrderPlaced(str(number)), to=channel)
        shared_server.command("XTRIM", f"{{{prefix}:orders:0}}", "MAXLEN", "0")
        await web.bridge.publish(OrderPlaced("last"), to=channel)
        async with billing.bridge:
            await until(lambda: billing.log)
            (state,) = (await billing.bridge.health()).receives

    assert billing.log == ["last"]
    assert state.trimmed == 3


async def test_an_event_that_is_removed_while_its_listener_fails_is_counted(shared_server: Server, prefix: str):
    web = make_program(shared_server, prefix)
    billing = make_billing(shared_server, prefix, claim_after=0.5, retry=Retry(3, first=0.1))

    def remove_and_fail(event: object) -> None:
        shared_server.command("XTRIM", f"{{{prefix}:orders:0}}", "MAXLEN", "0")
        fail(event)

    billing.react = remove_and_fail
    async with web.bridge, billing.bridge:
        await place(web, "1")
        await until(lambda: "Trimmed" in billing.kinds())
        await until_settled(billing)
        (state,) = (await billing.bridge.health()).receives

    assert (billing.log, state.trimmed) == (["1"], 1)


async def test_names_of_consumers_are_removed_at_the_end(shared_server: Server, prefix: str):
    stream = f"{{{prefix}:orders:0}}"
    web, billing = make_program(shared_server, prefix), make_billing(shared_server, prefix)
    async with web.bridge, billing.bridge:
        await place(web, "7")
        await until_settled(billing)
        assert b"pending" in shared_server.command("XINFO", "CONSUMERS", stream, "billing")

    assert shared_server.command("XINFO", "CONSUMERS", stream, "billing") == b"*0\r\n"


async def test_names_of_consumers_that_have_gone_are_removed(
    shared_server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
):
    """Each process has a name of its own, and a killed one does not remove it. A name with pending events stays."""
    monkeypatch.setattr("antiphon.bridges.redis._source._REAP_SECONDS", 0.2)
    broker, stream = RedisStreams(shared_server.url, prefix=prefix), f"{{{prefix}:orders:0}}"
    async with broker.running([ORDERS]):
        shared_server.command("XGROUP", "CREATE", stream, "billing", "$", "MKSTREAM")
        shared_server.command("XGROUP", "CREATECONSUMER", stream, "billing", "gone")
        shared_server.command("XADD", stream, "*", "e", "data")
        shared_server.command("XREADGROUP", "GROUP", "billing", "holder", "STREAMS", stream, ">")
        await anyio.sleep(0.3)
        shared_server.command("XGROUP", "CREATECONSUMER", stream, "billing", "new")
        async with broker.source(SourceOptions(ORDERS, 0, "billing", "reader", 0.02)).opened():
            consumers = shared_server.command("XINFO", "CONSUMERS", stream, "billing")

    assert [name for name in (b"gone", b"holder", b"new") if name in consumers] == [b"holder", b"new"]


async def test_the_end_does_not_wait_for_a_read_that_the_unblocking_overtakes(shared_server: Server, prefix: str):
    async with Proxy.running(shared_server.port) as proxy:
        proxy.delay = (b"XREADGROUP", 0.3)
        billing = Program(RedisStreams(proxy.url, prefix=prefix), "billing", make_registry())
        billing.bridge.receive(ORDERS, group="billing")
        async with billing.bridge:
            await until(lambda: proxy.seen)
            started = anyio.current_time()
        assert anyio.current_time() - started < 2


async def test_a_lost_reply_of_a_publish_is_uncertain_and_stored_once(shared_server: Server, prefix: str):
    """A client that repeats commands would send the event again, and not say so."""
    async with Proxy.running(shared_server.port) as proxy:
        web = Program(RedisStreams(proxy.url, prefix=prefix), "web", make_registry())
        async with web.bridge:
            await place(web, "first")
            proxy.lose_reply_to = b"EVALSHA"
            with pytest.raises(PublishUncertain) as caught:
                await place(web, "7")
            receipt = None
            while receipt is None:
                with suppress(PublishFailed, PublishUncertain):  # until the bridge has connected again
                    receipt = await web.bridge.publish(OrderPlaced("7"), to=ORDERS, id=caught.value.id)
                await anyio.sleep(0.02)

    assert receipt.duplicate
    assert shared_server.command("XLEN", f"{{{prefix}:orders:0}}") == b":2\r\n"


async def test_a_server_that_was_read_only_is_used_again(own_server: Server, prefix: str):
    """The nodes change their roles in a failover."""
    web, billing = make_program(own_server, prefix), make_billing(own_server, prefix, claim_after=1)
    billing.react = lambda event: anyio.sleep(0.3)
    stored: list[str] = []

    async with web.bridge, billing.bridge:
        await place_surely(web, "before", stored)
        await until(lambda: billing.log)
        own_server.command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(PublishFailed, match="refuses the command"):
            await place(web, "during")
        # The outcome of the first event meets it, too.
        await anyio.sleep(0.5)
        own_server.command("REPLICAOF", "NO", "ONE")
        await place_surely(web, "after", stored)
        await until_settled(billing)

    assert billing.log == ["before", "after"]


@pytest.mark.parametrize(
    "error",
    [
        *[kind("no") for kind in (errors.BusyLoadingError, errors.ReadOnlyError, errors.UnblockedError)],
        *[kind("no") for kind in (errors.ClusterDownError, errors.TryAgainError, errors.StreamConsumerGroupError)],
        errors.MovedError("7 127.0.0.1:6379"),
        errors.AuthenticationFailureError("no"),
        OSError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_errors_that_pass_are_a_lost_connection(error: Exception):
    async def command() -> None:
        raise error

    client: Any = RedisClient(None, "redis://127.0.0.1")  # type: ignore[arg-type]
    with pytest.raises(BridgeUnavailable):
        await client.run(command)
    assert client.broken.is_set()


async def test_connecting_in_a_cancelled_task_is_a_cancellation(shared_server: Server):
    """coredis makes an error of its connection of it."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with RedisClient.opened(Connector(shared_server.url), 1):
            pass

    assert scope.cancelled_caught


# Servers that cannot be used


async def test_a_server_that_does_not_answer_is_one_plain_exception(prefix: str):
    broker = RedisStreams("redis://user:secret@127.0.0.1:1", prefix=prefix)

    with pytest.raises(BridgeUnavailable) as caught:
        async with Program(broker, "web", make_registry()).bridge:
            pass

    assert "secret" not in f"{caught.value} {caught.value!r} {broker!r}"
    assert "redis://127.0.0.1:1" in str(caught.value)


async def test_dangerous_settings_are_warnings(own_server: Server, prefix: str):
    own_server.command("CONFIG", "SET", "appendonly", "no")
    own_server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    web = make_program(own_server, prefix)

    async with web.bridge:
        warnings = (await web.bridge.health()).warnings

    assert [warning.partition(" ")[0] for warning in warnings] == ["maxmemory-policy", "appendonly"]


async def test_settings_that_cannot_be_read_are_a_warning_and_a_small_acl_is_enough(own_server: Server, prefix: str):
    own_server.command(
        "ACL", "SETUSER", "shop", "on", ">secret", f"~{{{prefix}:*", "+@stream", "+@scripting", "+@connection",
        "+get", "+set", "+setnx", "+del", "+incr", "+pexpire", "+exists", "+time", "-config",
    )  # fmt: skip
    credentials = ("shop", "secret")
    web = Program(RedisStreams(own_server.url, prefix=prefix, credentials=credentials), "web", make_registry())
    billing = Program(RedisStreams(own_server.url, prefix=prefix, credentials=credentials), "billing", make_registry())
    billing.bridge.receive(ORDERS, group="billing", retry=Retry(1))
    billing.listen(OrderPlaced, react=fail)

    async with web.bridge, billing.bridge:
        await place(web, "7")
        await until(lambda: billing.log)
        await until_settled(billing)
        assert len(await billing.dead()) == 1
        (warning,) = (await web.bridge.health()).warnings

    assert "cannot be read" in warning


async def test_events_cross_through_a_unix_socket(tmp_path: Path):
    if find_server() is None:
        pytest.skip("neither redis-server nor valkey-server is installed")
    with TemporaryDirectory() as folder:  # the path of a socket is short
        server = Server(tmp_path, "--unixsocket", f"{folder}/socket")
        server.start()
        try:
            broker = RedisStreams(f"unix://{folder}/socket")
            web = Program(broker, "web", make_registry())
            web.bridge.receive(ORDERS, group="billing")
            web.listen(OrderPlaced)
            async with web.bridge:
                await place(web, "7")
                await until(lambda: web.log == ["7"])
        finally:
            server.end()


@pytest.mark.parametrize("url", ["", "http://127.0.0.1", "redis://", "127.0.0.1:6379", 7, None])
def test_an_unknown_url_is_refused(url: Any):
    with pytest.raises(ConfigurationError, match="begins with redis://"):
        RedisStreams(url)


@pytest.mark.parametrize("options", [{"prefix": "a:b"}, {"prefix": ""}, {"dedup": 0}, {"publish_timeout": -1}], ids=str)
def test_options_are_checked(options: dict[str, Any]):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        RedisStreams("redis://127.0.0.1", **options)


async def test_events_are_cloudevents_in_the_stream(shared_server: Server, prefix: str):
    web = make_program(shared_server, prefix)
    async with web.bridge:
        await web.bridge.publish(OrderPlaced("7"), to=PRICES, name="order.placed")

    raw = shared_server.command("XRANGE", f"{{{prefix}:prices:0}}", "-", "+").decode()
    event = json.loads(raw[raw.index("{") : raw.rindex("}") + 1])
    assert (event["specversion"], event["subject"], event["data"]) == (
        "1.0",
        "order.placed",
        {"order_id": "7", "total": "0"},
    )
