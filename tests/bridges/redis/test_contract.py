"""The contract of brokers, on a real server."""

from __future__ import annotations

import pytest

from antiphon.bridges.redis import RedisStreams
from antiphon.testing.brokers import BrokerCheck, broker_checks
from tests.bridges.redis.server import Server


@pytest.mark.parametrize("check", broker_checks(), ids=str)
async def test_redis_streams_keep_the_contract(check: BrokerCheck, shared_server: Server, prefix: str):
    await check(lambda: RedisStreams(shared_server.url, prefix=prefix), claim_after=0.5)
