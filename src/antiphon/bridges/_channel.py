"""Channels: the named streams of events in a broker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Final

from antiphon.bridges._checks import check_count, check_name, describe, show
from antiphon.bridges._errors import ConfigurationError

__all__ = ("Channel", "check_partitions")

#: A cluster with more partitions than this is not useful, because each partition has its own reader.
_MAX_PARTITIONS: Final = 4096


@dataclass(frozen=True)
class Channel:
    """A named stream of events in the broker. All processes that use it must declare it equally.

    Args:
        name: The name: letters, digits, dots, dashes and underscores.
        partitions: The number of parts among which the events are distributed by their key. It is stored in the broker
            and cannot change, because the events of one key would then be in two parts.
        retain: How long the broker keeps an event. Groups that read it later than that miss it.

    Raises:
        ConfigurationError: If the name is invalid, if ``partitions`` is not an int from 1 to 4096, or if ``retain`` is
            not a positive ``timedelta``.
    """

    name: str
    partitions: int = 1
    retain: timedelta = timedelta(days=3)

    def __post_init__(self) -> None:
        check_name(self.name, "the name of a Channel")
        check_count(self.partitions, "partitions=", most=_MAX_PARTITIONS)
        retain: object = self.retain
        if not isinstance(retain, timedelta) or retain <= timedelta(0):
            raise ConfigurationError(f"retain= is a positive timedelta; got {show(retain)}")

    def get_partition(self, key: str) -> int:
        """Return the partition of a key, or of the id of an event without a key.

        The result is the same in every process, so that the broker recognizes an event that is published again.

        Raises:
            TypeError: If the key is not a string.
        """
        if not isinstance(key, str):
            raise TypeError(f"a key is a str; got {describe(key)}: pass the key or the id of the event")
        if self.partitions == 1:
            return 0
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.partitions


def check_partitions(channel: Channel, stored: int) -> None:
    """Check that a channel has the number of partitions that is stored in the broker.

    Raises:
        ConfigurationError: If it has another number.
    """
    if stored != channel.partitions:
        raise ConfigurationError(
            f"the channel {channel.name!r} has {stored} partitions in the broker, and this program declares "
            f"{channel.partitions}; they cannot change, because the events of one key would be in two partitions"
        )
