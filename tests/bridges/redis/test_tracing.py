"""Traces through a real server."""

from __future__ import annotations

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from antiphon.bridges import Buried, Retry
from antiphon.bridges.redis import RedisStreams
from tests.bridges.redis.server import Server
from tests.bridges.shop import ORDERS, OrderPlaced, Program, fail, make_registry
from tests.bridges.test_tracing import check_two_hops, observe


def make_program(server: Server, prefix: str, name: str) -> Program:
    return Program(RedisStreams(server.url, prefix=prefix), name, make_registry())


async def test_two_hops_are_one_tree(shared_server: Server, prefix: str):
    programs = [make_program(shared_server, prefix, name) for name in ("web", "billing", "shipping")]

    await check_two_hops(InMemorySpanExporter(), *programs)


async def test_each_attempt_is_a_child_of_the_publisher(shared_server: Server, prefix: str):
    exporter = InMemorySpanExporter()
    web, billing = (make_program(shared_server, prefix, name) for name in ("web", "billing"))
    provider = observe(exporter, billing)
    billing.bridge.receive(ORDERS, group="billing", retry=Retry(2, first=0.05))
    billing.listen(OrderPlaced, react=fail)

    async with web.bridge, billing.bridge, billing.bridge.notices.expect(Buried):
        with provider.get_tracer("test").start_as_current_span("place") as span:
            await web.bridge.publish(OrderPlaced("7"), to=ORDERS, name="order.placed")

    dispatched = [found for found in exporter.get_finished_spans() if found.name == "dispatch order.placed"]
    assert [found.parent and found.parent.span_id for found in dispatched] == [span.get_span_context().span_id] * 2
