"""The contract of brokers, on the broker in memory, and in real time also on uvloop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from antiphon.bridges import Channel, MemoryBroker, Message, Receipt
from antiphon.testing import Backend, backends
from antiphon.testing.brokers import BrokerCheck, broker_checks
from tests.conftest import BACKENDS

#: The backends with virtual time, and uvloop in real time, each with the time unit of the checks.
CLOCKS = [
    *((backend, 60) for backend in backends()),
    pytest.param((BACKENDS[1].values[0], 0.5), marks=pytest.mark.slow),
]


@pytest.fixture(params=CLOCKS, ids=["asyncio", "trio", "asyncio+uvloop"])
def clock(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def anyio_backend(clock: Any) -> Any:
    return clock[0].as_anyio() if isinstance(clock[0], Backend) else clock[0]


@pytest.mark.parametrize("check", broker_checks(), ids=str)
async def test_the_broker_in_memory_keeps_the_contract(check: BrokerCheck, clock: Any):
    broker = MemoryBroker()

    await check(lambda: broker, claim_after=clock[1])


async def test_a_broken_broker_breaks_the_contract():
    """Otherwise the checks would check nothing."""
    (check,) = [check for check in broker_checks() if str(check) == "an_id_is_stored_once"]
    clock = iter(range(100))

    class ForgetfulBroker(MemoryBroker):
        async def publish(self, channel: Channel, partition: int, message: Message, /) -> Receipt:
            return await super().publish(channel, partition, replace(message, id=f"{next(clock)}"))

    broker = ForgetfulBroker()
    with pytest.raises(AssertionError, match="the second receipt of an id"):
        await check(lambda: broker)


@pytest.mark.parametrize(
    ("make_broker", "claim_after", "error", "message"),
    [
        (MemoryBroker(), 1, TypeError, "a check takes a function that makes a broker"),
        (object, 1, TypeError, r"make_broker\(\) returns a broker; it returned <object"),
        (MemoryBroker, "1", TypeError, "claim_after= is the time unit of the check, in seconds, a number; got"),
        (MemoryBroker, 0, ValueError, "claim_after= is the time unit of the check, in seconds, more than 0; got"),
    ],
)
async def test_wrong_arguments_of_a_check_are_refused(
    make_broker: Any, claim_after: Any, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        await broker_checks()[0](make_broker, claim_after=claim_after)
