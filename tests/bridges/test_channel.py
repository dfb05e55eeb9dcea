"""Channels: their names, and the partition of a key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from antiphon.bridges import Channel, ConfigurationError


@pytest.mark.parametrize("name", ["", "a b", "a:b", "{a}", "a*", ".a", "a" * 129, None, 1, "ä"])
def test_a_name_that_a_broker_could_misread_is_refused(name: Any):
    with pytest.raises(ConfigurationError, match="the name of a Channel is up to 128 letters"):
        Channel(name)


@pytest.mark.parametrize("partitions", [0, -1, 4097, 1.0, True, None])
def test_a_number_of_partitions_out_of_range_is_refused(partitions: Any):
    with pytest.raises(ConfigurationError, match="partitions= is an int from 1 to 4096"):
        Channel("orders", partitions=partitions)


@pytest.mark.parametrize("retain", [timedelta(0), timedelta(-1), 3, None])
def test_a_time_that_is_not_a_positive_timedelta_is_refused(retain: Any):
    with pytest.raises(ConfigurationError, match="retain= is a positive timedelta"):
        Channel("orders", retain=retain)


def test_the_partition_of_a_key_is_the_same_in_every_process():
    """These numbers must never change: a repeated publish would not meet the first one."""
    channel = Channel("orders", partitions=16)

    assert [channel.get_partition(key) for key in ("alice", "bob", "", "ä", "\ud800")] == [9, 2, 4, 9, 8]


def test_keys_are_spread_over_all_partitions():
    channel = Channel("orders", partitions=8)

    counts = [0] * 8
    for number in range(8000):
        counts[channel.get_partition(f"order-{number}")] += 1

    assert min(counts) > 800


@pytest.mark.parametrize("key", [None, 7, b"order"])
def test_a_key_that_is_not_a_string_is_refused(key: Any):
    with pytest.raises(TypeError, match="a key is a str; got"):
        Channel("orders", partitions=3).get_partition(key)


class Unprintable:
    def __repr__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize("options", [{"name": Unprintable()}, {"partitions": Unprintable()}, {"retain": Unprintable()}])
def test_a_wrong_argument_without_a_repr_is_refused(options: dict[str, Any]):
    with pytest.raises(ConfigurationError, match=r"got <.*Unprintable object"):
        Channel(**{"name": "orders", **options})
