"""The clients of a server, or of each node of a cluster that owns slots.

All keys of a partition are in one slot, so a command goes to one node, and each node has an ordinary client. The client
of coredis for clusters is not used: it has another pool, and what is known about cancellations and repeated commands
would have to be found out again.
"""

from __future__ import annotations

import binascii
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from antiphon.bridges._errors import BridgeUnavailable
from antiphon.bridges.redis._client import Connector, RedisClient
from antiphon.bridges.redis._server import find_warnings

__all__ = ("Connections",)

#: The seconds until a lost connection is opened again: at first, and at most.
_FIRST_PAUSE: Final = 0.05
_LAST_PAUSE: Final = 2.0

#: How many connections a client may have for commands that do not block.
_CONNECTIONS: Final = 4

_SLOTS: Final = 16384


class Connections:
    """Keeps the clients open. A client whose connection has failed is replaced, because coredis may not recover.

    Args:
        connector: The server, or one node of a cluster.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._tasks: TaskGroup
        self._nodes: dict[str, _Node] = {}
        #: The node of each slot; empty if the server is not a cluster.
        self._owners: list[_Node | None] = []
        self._is_open = False
        self.warnings: Sequence[str] = ()

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[TaskGroup]:
        """Connect to all nodes, and yield the task group of the connections.

        Raises:
            BridgeUnavailable: If a node cannot be reached.
        """
        raised: BaseException | None = None
        async with anyio.create_task_group() as self._tasks:
            try:
                await self._add(self._connector).opening.wait()
                for node in list(self._nodes.values()):
                    await node.opening.wait()
                self._is_open = True
                yield self._tasks
            except BaseException as exc:  # noqa: ASYNC103  raised below: the task group would wrap it
                raised = exc
            self._tasks.cancel_scope.cancel()
        self._nodes.clear()
        self._owners.clear()
        self._is_open = False
        if raised is not None:
            try:
                raise raised
            finally:
                del raised

    def get_client(self, key: str) -> RedisClient:
        """Return the client of the node that owns a key.

        Raises:
            BridgeUnavailable: If there is no connection to it now.
        """
        node = self._find(key)
        if node is None or node.client is None or node.client.broken.is_set():
            address = (self._connector if node is None else node.connector).address
            raise BridgeUnavailable(f"there is no connection to {address} now")
        return node.client

    async def find_connector(self, key: str) -> Connector:
        """Return where to connect for a key, which may have moved to another node.

        Raises:
            BridgeUnavailable: If no node owns it now.
        """
        if self._owners:
            await self._look_for_moves()
        node = self._find(key)
        if node is None:
            raise BridgeUnavailable(f"no node of the cluster at {self._connector.address} owns the key {key!r} now")
        return node.connector

    def _find(self, key: str) -> _Node | None:
        if not self._owners:
            return next(iter(self._nodes.values()), None)
        tag = key.partition("{")[2].partition("}")[0]
        return self._owners[binascii.crc_hqx(tag.encode(), 0) % _SLOTS]

    def _add(self, connector: Connector) -> _Node:
        node = self._nodes.get(connector.address)
        if node is None:
            node = self._nodes[connector.address] = _Node(connector)
            self._tasks.start_soon(self._stay_connected, node)
        return node

    async def _stay_connected(self, node: _Node) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                async with RedisClient.opened(node.connector, _CONNECTIONS) as client:
                    self.warnings = await find_warnings(client)
                    await self._find_owners(client)
                    node.client = client
                    node.opening.finish(None)
                    pause = _FIRST_PAUSE
                    try:
                        await client.broken.wait()
                    finally:
                        node.client = None
            except BridgeUnavailable as exc:
                if not self._is_open:
                    node.opening.finish(exc)
                    return
                await self._look_for_moves()
            if self._owners and node not in self._owners:
                # It was removed from the cluster, or another node has replaced it.
                del self._nodes[node.connector.address]
                return
            await anyio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)

    async def _look_for_moves(self) -> None:
        """Ask the nodes that can be reached who owns which slot, until one has answered."""
        for node in list(self._nodes.values()):
            if node.client is not None:
                with suppress(BridgeUnavailable):
                    await self._find_owners(node.client)
                    return

    async def _find_owners(self, client: RedisClient) -> None:
        if not self._owners:
            # The server tells every user. CLUSTER would need a permission.
            server: Any = await client.run(client.commands.hello)
            if server.get(b"mode") != b"cluster":
                return
        slots: Any = await client.run(client.commands.cluster_slots)
        owners: list[_Node | None] = [None] * _SLOTS
        for (first, last), (master, *_) in slots.items():
            node = self._add(self._connector.at(master["host"], master["port"]))
            owners[first : last + 1] = [node] * (last + 1 - first)
        self._owners = owners


class _Node:
    """A server, and its client while there is a connection."""

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self.client: RedisClient | None = None
        self.opening = _Opening()


class _Opening:
    """The result of the first attempt to connect."""

    def __init__(self) -> None:
        self._finished = anyio.Event()
        self._error: BridgeUnavailable | None = None

    def finish(self, error: BridgeUnavailable | None) -> None:
        if not self._finished.is_set():
            self._error = error
            self._finished.set()

    async def wait(self) -> None:
        await self._finished.wait()
        if self._error is not None:
            raise self._error
