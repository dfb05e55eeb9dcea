"""What the programs tell the command that has started them: one line of JSON for each report."""

import json
from dataclasses import dataclass

from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from antiphon import AsyncEventDispatcher, Event


@dataclass
class Report(Event):
    """A program has done something with an order. The name of the event says what."""

    order_id: str


def report(name: str, order_id: str = "") -> None:
    """Write a report to the output of this process."""
    print(json.dumps([name, order_id]), flush=True)


async def dispatch_reports(process: Process, dispatcher: AsyncEventDispatcher) -> None:
    """Dispatch the reports of a process until it ends. If this is cancelled, it kills the process."""
    rest = ""
    async with process:
        if process.stdout is None:
            raise ValueError("the output of the process is not a pipe")
        async for text in TextReceiveStream(process.stdout):
            # A process that is killed may leave a part of a line.
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                name, order_id = json.loads(line)
                await dispatcher.adispatch(name, Report(order_id))
