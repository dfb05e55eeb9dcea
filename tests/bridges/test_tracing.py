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
from tests.bridges.shop import ORDERS, PRICES, OrderPaid, OrderPlaced, Shop

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


async def test_two_hops_are_one_tree(shop: Shop, exporter: InMemorySpanExporter):
    billing = shop.billing()
    shipping = shop.program("shipping")
    shop.web.bridge.forward(OrderPlaced, to=ORDERS)
    billing.bridge.forward(OrderPaid, to=PRICES)
    shipping.bridge.receive(PRICES, group="shipping")
    shipping.listen(OrderPaid)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for program in (shop.web, billing, shipping):
        program.dispatcher.add_instrument(OpenTelemetryInstrument(provider))

    async def pay(event: Any) -> None:
        if isinstance(event, OrderPlaced):
            await billing.dispatcher.adispatch("order.paid", OrderPaid(event.order_id))

    billing.react = pay
    async with shop.web.bridge, billing.bridge, shipping.bridge:
        await shop.web.dispatcher.adispatch("order.placed", OrderPlaced("7"))
        await anyio.sleep(1)

    spans = {span.context.span_id: span for span in exporter.get_finished_spans() if span.context is not None}
    received = [
        span
        for span in spans.values()
        if span.name == "dispatch order.paid" and "shipping" in str(dict(span.attributes or {})["antiphon.dispatcher"])
    ]
    assert len(received) == 1
    chain = []
    span: Any = received[0]
    while span is not None:
        chain.append((span.name.partition(" ")[0], span.attributes.get("antiphon.event.name")))
        span = None if span.parent is None else spans[span.parent.span_id]
    assert chain == [
        ("dispatch", "order.paid"),  # in shipping
        ("listener", None),  # the forward of billing
        ("dispatch", "order.paid"),
        ("listener", None),  # the listener of billing
        ("dispatch", "order.placed"),
        ("listener", None),  # the forward of web
        ("dispatch", "order.placed"),
    ]


async def test_the_entry_of_a_bridge_within_a_span_does_not_adopt_events(shop: Shop, exporter: InMemorySpanExporter):
    billing = shop.billing()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    billing.dispatcher.add_instrument(OpenTelemetryInstrument(provider))

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
