"""The applications of the recipes on real servers: their code as the page shows it, in a file of its own."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, distribution

import pytest

from tests.test_pasted_pages import find_missing, programs

SERVERS = {
    "uvicorn": ["-m", "uvicorn", "--fd={fd}", "--timeout-graceful-shutdown=5", "app:app"],
    "hypercorn-asyncio": ["-m", "hypercorn", "--bind=fd://{fd}", "--worker-class=asyncio", "app:app"],
    "hypercorn-trio": ["-m", "hypercorn", "--bind=fd://{fd}", "--worker-class=trio", "app:app"],
}
pytestmark = pytest.mark.slow


def read_application(page, end):
    """Return the code of a page up to the block that begins with this line, which is the first one of the tests."""
    missing = find_missing(page)
    if missing:
        pytest.skip(f"{page} needs {', '.join(missing)}")
    codes = [block.code for block in programs.read_page(page).blocks]
    [index] = [index for index, code in enumerate(codes) if code.startswith(f"{end}\n")]
    return "\n\n".join(codes[:index])


class Client:
    """Sends requests to a server that accepts connections of this socket."""

    def __init__(self, address):
        self.address = address

    def open(self, method, path):
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        connection.request(method, path, headers={"Host": "testserver"})
        return connection, connection.getresponse()

    def call(self, method, path):
        connection, response = self.open(method, path)
        body = response.read().decode()
        connection.close()
        return response.status, body


class Server:
    """The process of a server."""

    def __init__(self, process, client):
        self.process = process
        self.call = client.call
        self.open = client.open

    def stop(self):
        """End the server as a process manager does, and return its output."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=30)[0]


@pytest.fixture(params=SERVERS)
def serve(request, tmp_path):
    arguments = SERVERS[request.param]
    try:
        distribution(arguments[1])
    except PackageNotFoundError:
        pytest.skip(f"needs {arguments[1]}")

    @contextmanager
    def serve(code):
        (tmp_path / "app.py").write_text(code, encoding="utf-8")
        # The socket accepts connections before the server has started, so a client does not have to wait.
        with socket.create_server(("127.0.0.1", 0)) as listening:
            process = subprocess.Popen(
                [sys.executable, *(argument.format(fd=listening.fileno()) for argument in arguments)],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(tmp_path)},
                pass_fds=[listening.fileno()],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            address = listening.getsockname()
        try:
            yield Server(process, Client(address))
        finally:
            # Hypercorn has a process for each worker.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    serve.name = request.param
    return serve


def test_fastapi_drains_its_queue_at_the_end(serve):
    code = read_application("recipes/fastapi", "from fastapi.testclient import TestClient")
    with serve(code.replace("log.append", "print")) as server:
        statuses = [server.call("POST", f"/orders/{number}")[0] for number in (7, 0, 13, 8)]
        output = server.stop()

    assert statuses == [201, 409, 201, 201]
    assert output.count("OSError: the mail server does not answer") == 1
    assert [line for line in output.splitlines() if line.startswith("receipt")] == ["receipt 7", "receipt 8"]


def test_a_failing_event_ends_a_queue_that_raises(serve):
    code = read_application("recipes/fastapi", "from fastapi.testclient import TestClient")
    with serve(code.replace('errors="log", ', "")) as server:
        assert server.call("POST", "/orders/13")[0] == 201
        if serve.name == "hypercorn-trio":
            assert server.process.wait(timeout=30) == 0
        else:
            assert server.call("POST", "/orders/7")[0] == 500
            assert server.call("POST", "/orders/0")[0] == 409


def test_a_disconnect_ends_a_stream_of_server_sent_events(serve):
    code = read_application("recipes/server-sent-events", "import anyio")
    code = code.replace('Route("/prices", prices)', 'Route("/prices", prices), Route("/{amount:int}", change)')
    more = """
async def change(request):
    from starlette.responses import JSONResponse
    await dispatcher.adispatch("price.changed", Price(request.path_params["amount"]))
    return JSONResponse(dispatcher.has_listeners())

"""
    with serve(code.replace("app = ", f"{more}app = ")) as server:
        connection, response = server.open("GET", "/prices")
        assert server.call("GET", "/7") == (200, "true")
        assert [response.readline() for _ in range(3)] == [b"event: price.changed\n", b'data: {"amount": 7}\n', b"\n"]
        response.close()
        connection.close()
        # The server learns of the disconnect soon, and has answered the requests before it at the latest then.
        answers = (server.call("GET", "/8") for _ in range(1000))
        assert (200, "false") in answers
        output = server.stop()

    assert "Traceback" not in output


def test_litestar_dispatches_what_its_handlers_emit(serve):
    code = read_application("recipes/litestar", "from litestar.testing import TestClient")
    with serve(code.replace("sent.append", "print") + "\n\napp = make_app()\n") as server:
        assert [server.call("POST", f"/orders/{number}")[0] for number in (7, 13, 8)] == [201] * 3
        output = server.stop()

    assert [line for line in output.splitlines() if line.startswith("order")] == [
        "order 7 for alice",
        "order 8 for alice",
    ]


def test_django_dispatches_after_its_commits(serve):
    if serve.name == "hypercorn-trio":
        pytest.skip("Django runs async views on asyncio")
    code = read_application("recipes/django", "import asyncio")
    more = """
import threading

from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.urls import path

urlpatterns = [path("join/<username>", join), path("join-all/<usernames>", join_all)]
migrating = threading.Thread(target=call_command, args=["migrate"], kwargs={"verbosity": 0})
migrating.start()
migrating.join()
app = get_asgi_application()
"""
    with serve(code.replace("log.append", "print") + more) as server:
        statuses = [
            server.call("POST", path)[0] for path in ("/join/alice", "/join-all/bob,carol", "/join-all/dave,bob")
        ]
        output = server.stop()

    assert statuses == [201, 201, 500]
    assert [line for line in output.splitlines() if line.startswith("mail")] == [
        "mail to alice, one of 1",
        "mail to bob, one of 3",
        "mail to carol, one of 3",
    ]
