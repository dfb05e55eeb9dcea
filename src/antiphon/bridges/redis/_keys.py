"""The names of the keys. All keys of a partition have one hash tag, so they are in one slot of a cluster."""

from __future__ import annotations

from antiphon.bridges._channel import Channel

__all__ = ("PartitionKeys",)


class PartitionKeys:
    """The keys of a partition.

    The stream is ``{prefix:channel:partition}``, and the names of all other keys begin with it. Scripts therefore work
    in a cluster, and an ACL for the prefix is ``~{prefix:*``.
    """

    __slots__ = ("stream",)

    def __init__(self, prefix: str, channel: Channel, partition: int) -> None:
        self.stream = f"{{{prefix}:{channel.name}:{partition}}}"

    @property
    def partitions(self) -> str:
        """The number of partitions, which is stored with the partition 0."""
        return f"{self.stream}:partitions"

    def id(self, message_id: str) -> str:
        """The position of a message that was stored recently."""
        return f"{self.stream}:id:{message_id}"

    def dead(self, group: str) -> str:
        """The dead letters of a group."""
        return f"{self.stream}:dead:{group}"

    def owner(self, group: str) -> str:
        """The token of the consumer that owns the partition."""
        return f"{self.stream}:owner:{group}"

    def fence(self, group: str) -> str:
        """The number of owners so far."""
        return f"{self.stream}:fence:{group}"
