"""The metrics of OpenTelemetry: what is measured, and with which attributes."""

from __future__ import annotations

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from antiphon import AsyncEventDispatcher, Event
from antiphon.instruments.opentelemetry import OpenTelemetryMetrics


class Measured:
    """A provider that keeps its measurements."""

    def __init__(self):
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    @property
    def points(self):
        """The points of each metric."""
        [resource] = self.reader.get_metrics_data().resource_metrics
        return {metric.name: metric.data.data_points for scope in resource.scope_metrics for metric in scope.metrics}

    def attributes(self, metric):
        """The attributes of each point of a metric without the prefix, with the number of measurements."""
        return [
            (
                {name.removeprefix("antiphon."): value for name, value in point.attributes.items()},
                getattr(point, "count", None) or point.value,
            )
            for point in self.points.get(metric, ())
        ]


@pytest.fixture
def measured():
    return Measured()


@pytest.fixture
def dispatcher(measured):
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(OpenTelemetryMetrics(measured.provider))
    return dispatcher


async def validate(event): ...


async def fail(event):
    raise LookupError


async def stop(event):
    event.stop_propagation()


VALIDATE = f"{__name__}.validate"


async def test_durations_of_dispatches_and_calls_are_measured(dispatcher, measured):
    dispatcher.add_listener("order.placed", validate)

    for _ in range(3):
        await dispatcher.adispatch("order.placed")

    event = {"event.class": "antiphon.Event", "event.name": "order.placed", "outcome": "finished"}
    assert measured.attributes("antiphon.dispatch.duration") == [(event, 3)]
    call = {"listener": VALIDATE, "key": "order.placed", "outcome": "finished"}
    assert measured.attributes("antiphon.listener.duration") == [(call, 3)]
    [point] = measured.points["antiphon.listener.duration"]
    assert 0 < point.sum < 1
    assert point.explicit_bounds[0] == 0.0001


async def test_error_is_measured_with_its_class(dispatcher, measured):
    dispatcher.add_listener("order.placed", fail)

    with pytest.raises(LookupError):
        await dispatcher.adispatch("order.placed")

    for metric in ("antiphon.dispatch.duration", "antiphon.listener.duration"):
        [(attributes, count)] = measured.attributes(metric)
        assert (attributes["outcome"], attributes["error.type"], count) == ("failed", "builtins.LookupError", 1)


async def test_skipped_listeners_are_counted_with_the_reason(dispatcher, measured):
    dispatcher.add_listener("order.placed", stop)
    dispatcher.add_listener("order.placed", validate)

    await dispatcher.adispatch("order.placed")

    skipped = {"listener": VALIDATE, "key": "order.placed", "reason": "stopped"}
    assert measured.attributes("antiphon.listener.skipped") == [(skipped, 1)]


async def test_names_that_only_patterns_match_are_no_attribute(dispatcher, measured):
    dispatcher.add_listener("order.*.paid", validate)

    for number in range(5):
        await dispatcher.adispatch(f"order.{number}.paid")
    await dispatcher.adispatch("order.closed")
    await dispatcher.adispatch(Event())

    assert measured.attributes("antiphon.dispatch.duration") == [
        ({"event.class": "antiphon.Event", "outcome": "finished"}, 7)
    ]


async def test_dispatch_is_plain_without_a_meter_provider(monkeypatch):
    assert OpenTelemetryMetrics(metrics.NoOpMeterProvider()).get_interest() == "nothing"
    assert OpenTelemetryMetrics().get_interest() == "nothing"
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", MeterProvider(shutdown_on_exit=False))
    assert OpenTelemetryMetrics().get_interest() == "all"
