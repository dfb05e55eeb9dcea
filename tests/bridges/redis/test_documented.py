"""What docs/bridge-redis.md says about rights and TLS, on a real server."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.bridges import BridgeUnavailable, Buried, ConfigurationError, Retry
from antiphon.bridges.redis import RedisStreams
from tests.bridges.redis.server import Server, find_server
from tests.bridges.shop import ORDERS, OrderPlaced, Program, fail, make_registry

PAGE = Path(__file__).parents[3] / "docs" / "bridge-redis.md"

# coredis does not close the streams of a connection that has failed while it was opened.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def make_billing(server: Server, *, without: str = "") -> Program:
    """Create the documented user, without one of its rights, and return a program that uses it."""
    found = re.search(r"^ACL SETUSER shop .+?(?=\n```)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    words = found[0].split()
    assert without in [*words, ""]
    assert server.command(*(word for word in words if word != without)) == b"+OK\r\n"
    broker = RedisStreams(server.url, prefix="shop", credentials=("shop", "password"))
    return Program(broker, "billing", make_registry())


@pytest.mark.parametrize("without", ["+setnx", "+exists"], ids=["command", "in a script"])
async def test_a_missing_right_is_named_at_the_start(own_server: Server, without: str):
    billing = make_billing(own_server, without=without)
    billing.bridge.receive(ORDERS, group="billing")

    with pytest.raises(ConfigurationError, match=r"too few rights in redis://127\.0\.0\.1"):
        await billing.bridge.__aenter__()


@pytest.mark.parametrize("ordered", [False, True], ids=["group", "ordered"])
async def test_the_documented_rights_are_enough(own_server: Server, ordered: bool):
    billing = make_billing(own_server)
    # The second attempt comes after the first renewal.
    billing.bridge.receive(ORDERS, group="billing", retry=Retry(2, first=0.3), claim_after=0.4, ordered=ordered)
    billing.listen(OrderPlaced, react=fail)

    async with billing.bridge:
        async with billing.bridge.notices.expect(Buried):
            await billing.bridge.publish(OrderPlaced("7"), to=ORDERS)
        assert (await billing.bridge.health()).warnings == ()
        while not (letters := await billing.dead()):
            pass
        assert await letters[0].requeue()

    assert own_server.command("ACL", "LOG") == b"*0\r\n"


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[Server]:
    """A server with a certificate of its own authority, ``cert.pem`` in its folder."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    if find_server() is None:
        pytest.skip("neither redis-server nor valkey-server is installed")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    server = Server(
        tmp_path, "--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key),
        "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no",
    )  # fmt: skip
    try:
        server.start()
    except RuntimeError:
        pytest.skip("the server was built without TLS")
    server.url = f"rediss://localhost:{port}"
    yield server
    server.end()


async def test_events_cross_with_tls_and_only_to_a_trusted_server(tls_server: Server):
    trusting = ssl.create_default_context(cafile=tls_server.folder / "cert.pem")
    billing = Program(RedisStreams(tls_server.url, tls=trusting), "billing", make_registry())
    billing.bridge.receive(ORDERS, group="billing")
    billing.listen(OrderPlaced)

    async with billing.bridge, billing.dispatcher.expect(OrderPlaced):
        await billing.bridge.publish(OrderPlaced("7"), to=ORDERS)

    untrusting = Program(RedisStreams(tls_server.url), "web", make_registry())
    with pytest.raises(BridgeUnavailable, match="rediss://localhost"):
        await untrusting.bridge.__aenter__()
