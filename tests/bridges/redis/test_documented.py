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
from tests.bridges.redis.figures import Figures
from tests.bridges.redis.programs import place_surely, until
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


@pytest.mark.faults
@pytest.mark.parametrize("ordered", [False, True], ids=["group", "ordered"])
async def test_the_documented_rights_are_enough(own_server: Server, figures: Figures, ordered: bool):
    billing = make_billing(own_server)
    # The second attempt comes after the first renewal.
    billing.bridge.receive(ORDERS, group="billing", retry=Retry(2, first=0.3), claim_after=0.4, ordered=ordered)
    billing.listen(OrderPlaced, react=fail)

    async with billing.bridge:
        async with billing.bridge.notices.expect(Buried):
            await place_surely(billing, "7", figures.acknowledged)
        assert (await billing.bridge.health()).warnings == ()
        while not (letters := await billing.dead()):
            pass
        billing.react = None
        assert await letters[0].requeue()
        await until(lambda: len(billing.log) == 3)
        await figures.until_settled(billing)

    denied = own_server.command("ACL", "LOG")
    figures.sent = 1
    figures.add(billing)
    figures.note(f"commands denied {int(denied[1:])}")
    figures.check()
    assert denied == b"*0\r\n"


def make_certificate(folder: Path, name: str, *options: str) -> None:
    """Make a certificate ``NAME.pem`` with its key ``NAME.key``, of its own authority or of that in the options."""
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
            "-addext", "subjectAltName=DNS:localhost", *options,
            "-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip


@pytest.fixture(params=["no", "yes"], ids=["server certificate", "client certificates"])
def tls_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with a certificate ``shop.pem`` of its own authority, which asks clients for theirs or does not."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    if find_server() is None:
        pytest.skip("neither redis-server nor valkey-server is installed")
    make_certificate(tmp_path, "shop")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    server = Server(
        tmp_path, "--tls-port", str(port), "--tls-cert-file", str(tmp_path / "shop.pem"),
        "--tls-key-file", str(tmp_path / "shop.key"), "--tls-ca-cert-file", str(tmp_path / "shop.pem"),
        "--tls-auth-clients", request.param,
    )  # fmt: skip
    try:
        server.start()
    except RuntimeError:
        pytest.skip("the server was built without TLS")
    server.url = f"rediss://localhost:{port}"
    yield server
    server.end()


def make_context(server: Server, client: str | None = None) -> ssl.SSLContext:
    """Return a context that trusts the server, with the certificate of a client if it has one."""
    context = ssl.create_default_context(cafile=server.folder / "shop.pem")
    if client is not None:
        context.load_cert_chain(server.folder / f"{client}.pem", server.folder / f"{client}.key")
    return context


def make_tls_billing(server: Server, context: ssl.SSLContext | None) -> Program:
    billing = Program(RedisStreams(server.url, tls=context), "billing", make_registry())
    billing.bridge.receive(ORDERS, group="billing")
    return billing.listen(OrderPlaced)


async def test_events_cross_with_tls_and_only_to_a_trusted_server(tls_server: Server):
    folder = tls_server.folder
    make_certificate(folder, "billing", "-CA", str(folder / "shop.pem"), "-CAkey", str(folder / "shop.key"))
    billing = make_tls_billing(tls_server, make_context(tls_server, "billing"))

    async with billing.bridge, billing.dispatcher.expect(OrderPlaced):
        await billing.bridge.publish(OrderPlaced("7"), to=ORDERS)

    with pytest.raises(BridgeUnavailable, match="rediss://localhost"):
        await make_tls_billing(tls_server, None).bridge.__aenter__()


@pytest.mark.parametrize("tls_server", ["yes"], indirect=True)
@pytest.mark.parametrize("client", [None, "stranger"], ids=["no certificate", "of another authority"])
async def test_a_client_without_a_trusted_certificate_is_refused(tls_server: Server, client: str | None):
    make_certificate(tls_server.folder, "stranger")

    with pytest.raises(BridgeUnavailable, match="rediss://localhost"):
        await make_tls_billing(tls_server, make_context(tls_server, client)).bridge.__aenter__()
