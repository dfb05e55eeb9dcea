"""``antiphon bridge``: health, dead letters and the AsyncAPI document of a bridge that a module contains."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import anyio
import pytest

from antiphon._cli import main
from antiphon.bridges import Channel, ConfigurationError, Message, Retry
from tests.bridges.shop import ORDERS, PRICES, OrderPaid, OrderPlaced, PriceChanged, Shop, fail


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture(autouse=True)
def program(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module with the bridge of a program. Its group has two dead letters, and one event that is not read."""
    module = ModuleType("program")
    monkeypatch.setitem(sys.modules, "program", module)
    billing = shop.billing(retry=Retry(1))
    billing.bridge.forward(PriceChanged, to=PRICES)
    module.bridge = billing.bridge  # type: ignore[attr-defined]
    billing.react = fail

    async def fill() -> None:
        async with shop.web.bridge:
            async with billing.bridge:
                await shop.web.bridge.publish(OrderPlaced("7"), to=ORDERS, id="seven")
                await shop.broker.publish(ORDERS, 0, Message("orders", "x", b"not an event"))
                while len(await billing.dead()) < 2:
                    await anyio.sleep(0)
            await shop.place("8")

    anyio.run(fill)
    billing.log.clear()
    return module


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """Run the command, and return what it prints, or its error if the status says that there is one."""
    assert main(["bridge", "program:bridge", *arguments]) == status
    out, err = capsys.readouterr()
    assert (err if status == 0 else out) == ""
    return err if status else out


def test_health_shows_each_group(capsys: pytest.CaptureFixture[str]):
    shown = run(capsys, "health").splitlines()

    assert [line.split() for line in (shown[0], shown[2])] == [
        ["channel", "partition", "group", "lag", "pending", "oldest", "dead"],
        ["orders", "0", "billing", "1", "0", "0", "s", "2"],
    ]
    (group,) = json.loads(run(capsys, "health", "--format", "json"))["groups"]
    assert (group["group"], group["lag"], group["dead"]) == ("billing", 1, 2)


def test_health_shows_the_warnings_of_the_broker(
    capsys: pytest.CaptureFixture[str], shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(type(shop.broker), "warnings", ("appendonly is 'no'",))

    assert run(capsys, "health").endswith("\nwarning: appendonly is 'no'\n")


def test_the_command_receives_nothing(capsys: pytest.CaptureFixture[str]):
    for _ in range(2):
        assert json.loads(run(capsys, "health", "--format", "json"))["groups"][0]["lag"] == 1


def test_dead_letters_are_listed(capsys: pytest.CaptureFixture[str]):
    shown = run(capsys, "dead").splitlines()

    assert len(shown) == 4
    assert shown[2].startswith("orders/0/billing/1  shop.order-placed  seven")
    assert shown[2].endswith("ValueError('no')")
    assert shown[3].startswith("orders/0/billing/2  –  ")
    letters = json.loads(run(capsys, "dead", "--format", "json"))
    assert [letter["letter"] for letter in letters] == ["orders/0/billing/1", "orders/0/billing/2"]
    assert letters[1]["data"] == "not an event"


@pytest.mark.parametrize("selection", [["--group", "other"], ["--channel", "prices"]])
def test_dead_letters_can_be_selected(capsys: pytest.CaptureFixture[str], selection: list[str]):
    assert run(capsys, "dead", *selection) == "nothing\n"
    assert run(capsys, "drop", "--all", *selection) == ""
    assert len(json.loads(run(capsys, "dead", "--format", "json", "--group", "billing", "--channel", "orders"))) == 2


def test_requeued_letters_are_delivered_again(capsys: pytest.CaptureFixture[str], shop: Shop, program: ModuleType):
    assert run(capsys, "requeue", "seven") == "requeued orders/0/billing/1\n"
    assert run(capsys, "drop", "orders/0/billing/2") == "dropped orders/0/billing/2\n"

    assert run(capsys, "dead") == "nothing\n"
    assert json.loads(run(capsys, "health", "--format", "json"))["groups"][0]["lag"] == 2


def test_all_letters_are_dropped(capsys: pytest.CaptureFixture[str]):
    assert run(capsys, "drop", "--all") == "dropped orders/0/billing/1\ndropped orders/0/billing/2\n"
    assert run(capsys, "dead") == "nothing\n"


@pytest.mark.parametrize("arguments", [[], ["seven", "--all"]])
def test_letters_or_all_are_required(capsys: pytest.CaptureFixture[str], arguments: list[str]):
    assert run(capsys, "drop", *arguments, status=2) == "antiphon: drop: name dead letters, or write --all\n"


def test_nothing_is_done_if_a_letter_does_not_exist(capsys: pytest.CaptureFixture[str]):
    shown = run(capsys, "drop", "seven", "eight", status=2)

    assert shown == "antiphon: drop: there is no dead letter eight; nothing was done\n"
    assert len(json.loads(run(capsys, "dead", "--format", "json"))) == 2


def test_an_unreachable_broker_is_status_1(capsys: pytest.CaptureFixture[str], shop: Shop):
    shop.broker.set_available(False)

    assert run(capsys, "health", status=1).startswith("antiphon: ")


def test_another_number_of_partitions_is_status_2(capsys: pytest.CaptureFixture[str], shop: Shop, program: ModuleType):
    other = shop.program("other")
    other.bridge.receive(Channel("orders", partitions=2), group="other")
    program.bridge = other.bridge  # type: ignore[attr-defined]

    assert "has 1 partitions in the broker" in run(capsys, "health", status=2)


def test_what_is_not_a_bridge_is_described(capsys: pytest.CaptureFixture[str], program: ModuleType):
    bridge, program.bridge = program.bridge, 7  # type: ignore[attr-defined]
    shown = "antiphon: program:bridge is 7 (int), not a Bridge: "

    assert run(capsys, "health", status=2) == f"{shown}no bridge was found in program\n"
    program.orders = bridge  # type: ignore[attr-defined]
    assert run(capsys, "health", status=2) == f"{shown}write program:orders\n"


def test_a_missing_attribute_lists_the_bridges(capsys: pytest.CaptureFixture[str], program: ModuleType):
    program.orders = program.__dict__.pop("bridge")  # type: ignore[attr-defined]

    assert run(capsys, "health", status=2) == "antiphon: program has no bridge; it has the bridges orders\n"


def test_without_msgspec_the_extra_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "antiphon.bridges", None)

    assert "antiphon.bridges" in run(capsys, "health", status=2)


# In a program


async def test_a_connected_bridge_shows_dead_letters_and_receives_nothing(shop: Shop, program: ModuleType):
    bridge = program.bridge
    async with bridge.connected():
        (state,) = (await bridge.health()).receives
        letters = [letter async for letter in bridge.dead_letters()]
        assert [letter async for letter in bridge.dead_letters(ORDERS)] == letters
        with pytest.raises(RuntimeError, match="is entered already"):
            await bridge.__aenter__()

    assert (state.lag, state.connected, len(letters)) == (1, False, 2)
    assert (await bridge.health()).receives == ()


async def test_dead_letters_of_a_group_need_its_channel(program: ModuleType):
    with pytest.raises(ConfigurationError, match="expected a Channel"):
        program.bridge.dead_letters(None, "billing")


# AsyncAPI


def test_asyncapi_describes_what_is_sent_and_received(capsys: pytest.CaptureFixture[str]):
    document = json.loads(run(capsys, "asyncapi", "--title", "Billing", "--api-version", "2.1.0"))

    assert (document["asyncapi"], document["info"]) == ("3.0.0", {"title": "Billing", "version": "2.1.0"})
    assert document["operations"]["send.prices"] == {
        "action": "send",
        "channel": {"$ref": "#/channels/prices"},
        "messages": [{"$ref": "#/channels/prices/messages/shop.price-changed.v1"}],
    }
    received = document["operations"]["receive.orders.billing"]["messages"]
    assert [message["$ref"].rpartition("/")[2] for message in received] == [
        "shop.order-placed.v2", "shop.order-paid.v1", "shop.price-changed.v1",
    ]  # fmt: skip
    message = document["components"]["messages"]["shop.order-placed.v2"]
    assert message["payload"]["properties"]["data"] == {"$ref": "#/components/schemas/OrderPlaced"}
    assert message["payload"]["required"][-1] == "dataversion"
    assert list(document["components"]["schemas"]["OrderPlaced"]["properties"]) == ["order_id", "total"]


def test_each_reference_of_asyncapi_leads_somewhere(program: ModuleType):
    document = program.bridge.asyncapi()

    def check(value: object) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                found = document
                for part in value["$ref"].removeprefix("#/").split("/"):
                    found = found[part]
            for member in value.values():
                check(member)
        elif isinstance(value, list):
            for member in value:
                check(member)

    check(document)


def test_asyncapi_of_a_fan_out_contains_only_what_is_dispatched(shop: Shop):
    program = shop.program("prices")
    program.bridge.receive(PRICES, only=(PriceChanged,))
    program.bridge.forward(OrderPaid, to=ORDERS)

    document = program.bridge.asyncapi()

    assert list(document["operations"]) == ["send.orders", "receive.prices"]
    assert list(document["channels"]["prices"]["messages"]) == ["shop.price-changed.v1"]
    assert document["info"]["title"] == "/shop/prices"
