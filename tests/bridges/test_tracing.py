"""Traces: with OpenTelemetry a request over two hops is one tree; without it a trace is handed on."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from antiphon.bridges import Trace, _tracing
from antiphon.instruments.opentelemetry import OpenTelemetryInstrument
from tests.bridges.shop import ORDERS, PRICES, OrderPaid, OrderPlaced, Program, Shop

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def observe(exporter: InMemorySpanExporter, *programs: Program) -> TracerProvider:
    """Let programs export their spans."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for program in programs:
        program.dispatcher.add_instrument(OpenTelemetryInstrument(provider))
    return provider


async def check_two_hops(exporter: InMemorySpanExporter, web: Program, billing: Program, shipping: Program) -> None:
    """Send an order from a program to a second one, which sends a payment to a third one. Check the tree of spans."""
    web.bridge.forward(OrderPlaced, to=ORDERS)
    billing.bridge.receive(ORDERS, group="billing")
    billing.bridge.forward(OrderPaid, to=PRICES)
    shipping.bridge.receive(PRICES, group="shipping")
    observe(exporter, web, billing, shipping)
    billing.listen(
        OrderPlaced, react=lambda event: billing.dispatcher.adispatch("order.paid", OrderPaid(event.order_id))
    )
    shipping.listen(OrderPaid)

    async with web.bridge, billing.bridge, shipping.bridge:
        async with shipping.dispatcher.expect("order.paid"):
            await web.dispatcher.adispatch("order.placed", OrderPlaced("7"))

    spans = {span.context.span_id: span for span in exporter.get_finished_spans() if span.context is not None}
    (span,) = [
        span
        for span in spans.values()
        if span.name == "dispatch order.paid" and "shipping" in str(dict(span.attributes or {})["antiphon.dispatcher"])
    ]
    chain: list[tuple[str, object]] = []
    current: Any = span
    while current is not None:
        chain.append((current.name.partition(" ")[0], current.attributes.get("antiphon.event.name")))
        current = None if current.parent is None else spans[current.parent.span_id]
    assert chain == [
        ("dispatch", "order.paid"),  # in shipping
        ("listener", None),  # the forward of billing
        ("dispatch", "order.paid"),
        ("listener", None),  # the listener of billing
        ("dispatch", "order.placed"),
        ("listener", None),  # the forward of web
        ("dispatch", "order.placed"),
    ]
    assert len({span.context.trace_id for span in spans.values() if span.context is not None}) == 1


async def test_two_hops_are_one_tree(shop: Shop, exporter: InMemorySpanExporter):
    await check_two_hops(exporter, shop.web, shop.program("billing"), shop.program("shipping"))


async def test_the_entry_of_a_bridge_within_a_span_does_not_adopt_events(shop: Shop, exporter: InMemorySpanExporter):
    billing = shop.billing()
    provider = observe(exporter, billing)

    async with shop.web.bridge:
        with provider.get_tracer("start").start_as_current_span("start"):
            await billing.bridge.__aenter__()
        await shop.place("7")
        await anyio.sleep(1)
        await billing.bridge.__aexit__(None, None, None)

    (dispatched,) = [span for span in exporter.get_finished_spans() if span.name == "dispatch order.placed"]
    assert dispatched.parent is None


async def test_without_opentelemetry_the_trace_is_handed_on(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_tracing, "_load_opentelemetry", lambda: None)
    billing, audit = shop.billing(only=(OrderPlaced,)), shop.billing("audit", group="audit")
    billing.react = lambda event: billing.bridge.publish(OrderPaid(event.order_id), to=ORDERS)

    async with shop.web.bridge, billing.bridge, audit.bridge:
        message = shop.web.bridge.prepare(OrderPlaced("7"), to=ORDERS)
        marked = message.data.replace(b'"data"', f'"traceparent":"{PARENT}","tracestate":"vendor=1","data"'.encode())
        await shop.broker.publish(ORDERS, 0, type(message)("orders", "7", marked))
        await anyio.sleep(1)

    traces = {made.type: made.trace for made in audit.deliveries if made is not None}
    assert traces == {
        "shop.order-placed": Trace(PARENT, "vendor=1"),
        "shop.order-paid": Trace(PARENT, "vendor=1"),
    }


async def test_an_event_without_a_trace_has_none(shop: Shop):
    billing = shop.billing()

    async with shop.web.bridge, billing.bridge:
        await shop.place("7")
        await anyio.sleep(1)

    assert billing.deliveries[0] is not None
    assert billing.deliveries[0].trace is None
