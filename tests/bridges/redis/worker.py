"""A program in a process of its own, which fault tests kill: ``python -m tests.bridges.redis.worker OPTIONS``.

It writes a line to its log at each start of a listener.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio

from antiphon.bridges import Channel, Retry
from antiphon.bridges.redis import RedisStreams
from tests.bridges.shop import OrderPaid, OrderPlaced, Program, make_registry

__all__ = ("Worker",)

_ROOT = Path(__file__).parents[3]


class Worker:
    """Starts the process, and reads its log.

    Args:
        folder: Where the log is.
        backend: The name of the backend.
        url: The address of the server.
        prefix: The prefix of the keys.
        seconds: How long the listener takes.
        exits_for: The order whose listener ends the process.
        partitions: The partitions of the channel.
        options: The options of the receive.
    """

    _number = 0

    def __init__(
        self,
        folder: Path,
        backend: str,
        url: str,
        prefix: str,
        *,
        seconds: float = 0.01,
        exits_for: str | None = None,
        partitions: int = 1,
        **options: Any,
    ) -> None:
        Worker._number += 1
        self._log = folder / f"worker-{Worker._number}.log"
        self._log.touch()
        settings = {
            "backend": backend, "url": url, "prefix": prefix, "seconds": seconds, "exits_for": exits_for,
            "partitions": partitions, "log": str(self._log), "options": options,
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.bridges.redis.worker", json.dumps(settings)]
        self._errors = (folder / f"worker-{Worker._number}.errors").open("wb")
        self.process = subprocess.Popen(command, cwd=_ROOT, stdout=self._errors, stderr=self._errors)

    @property
    def handled(self) -> list[tuple[str, float]]:
        """Each start of the listener: the order, and the time of a clock that all processes share."""
        lines = self._log.read_text().splitlines()
        return [(order_id, float(at)) for order_id, at in (line.split() for line in lines if line != "ready")]

    @property
    def is_ready(self) -> bool:
        """Whether the bridge was entered."""
        return self._log.read_text().startswith("ready")

    def send(self, how: signal.Signals) -> None:
        """Send a signal to this very process."""
        if self.process.poll() is None:
            self.process.send_signal(how)

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End the process, and wait for its end."""
        self.send(how)
        self.process.wait(20)
        self._errors.close()


async def _run(settings: dict[str, Any]) -> None:
    log = os.open(settings["log"], os.O_WRONLY | os.O_APPEND)
    options = settings["options"]
    if "retry" in options:
        options["retry"] = Retry(**options["retry"])
    program = Program(RedisStreams(settings["url"], prefix=settings["prefix"]), "worker", make_registry(), grace=2)
    channel = Channel("orders", partitions=settings["partitions"])
    program.bridge.receive(channel, group="billing", **options)

    async def work(event: OrderPlaced) -> None:
        # One call of the system, which a kill cannot interrupt half-way.
        os.write(log, f"{event.order_id} {time.monotonic()}\n".encode())
        if event.order_id == settings["exits_for"]:
            os._exit(3)
        await anyio.sleep(settings["seconds"])

    program.listen(OrderPlaced, OrderPaid, react=work)
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with program.bridge:
            os.write(log, b"ready\n")
            async for _ in signals:
                break


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    anyio.run(_run, given, backend=given["backend"])
