"""A proxy that runs before an upstream, for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio

from antiphon import AsyncEventDispatcher, Concurrent, Sequential
from examples.proxy.client import HttpClient
from examples.proxy.events import NAMES, PROXY_ERROR
from examples.proxy.limits import Limits
from examples.proxy.messages import Headers, Request
from examples.proxy.proxy import Proxy
from examples.proxy.server import serving
from examples.proxy.upstream import Upstream

HOST = "127.0.0.1"
STRATEGIES = {"sequential": Sequential, "concurrent": Concurrent}


class RunningProxy:
    """A proxy, its upstream, and the events that its dispatcher dispatched."""

    def __init__(self, *applications, strategy=None, limits=None, upstream=None):
        self.limits = limits or Limits()
        self.dispatcher = AsyncEventDispatcher(strategy=strategy)
        self.upstream = upstream or Upstream()
        self.events = []
        for name in NAMES:
            self.dispatcher.add_listener(name, self.record, priority=-1000)
        for application in applications:
            application.register(self.dispatcher)

    async def record(self, event):
        self.events.append(event)

    def names(self):
        return [event.name for event in self.events]

    def errors(self):
        return [event.error for event in self.events if event.name == PROXY_ERROR]

    def stops(self):
        return [event.name for event in self.events if event.propagation_stopped]

    @asynccontextmanager
    async def run(self):
        async with serving(self.upstream, self.limits) as upstream_port, self.run_before(upstream_port):
            yield self

    @asynccontextmanager
    async def run_before(self, upstream_port):
        async with serving(Proxy(self.dispatcher, HOST, upstream_port, self.limits), self.limits) as self.port:
            yield self

    def connect(self):
        return HttpClient.connect(HOST, self.port, self.limits)

    async def request(self, method="GET", target="/hello/you", body=b"", **headers):
        async with self.connect() as client:
            return await client.exchange(make_request(method, target, body, **headers))

    async def send(self, data):
        """Send bytes and return all that arrives until the proxy closes the connection."""
        async with await anyio.connect_tcp(HOST, self.port) as stream:
            await stream.send(data)
            return b"".join([part async for part in stream])


def make_request(method="GET", target="/hello/you", body=b"", **headers):
    fields = [("host", "example"), *((name.replace("_", "-"), value) for name, value in headers.items())]
    return Request(method, target, Headers(fields), body)
