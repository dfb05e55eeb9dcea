"""The command ``python -m examples.orders``. Run it from the root of the repository.

It starts a Redis server and both programs, kills one of them with SIGKILL, starts it again, and prints what has
happened.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from subprocess import DEVNULL
from tempfile import TemporaryDirectory
from time import perf_counter

import anyio
from anyio.abc import Process

from antiphon import AsyncEventDispatcher, named
from examples.orders.billing import make_bridge
from examples.orders.ledger import Ledger
from examples.orders.reports import dispatch_reports
from examples.orders.server import find_server, running_server
from examples.orders.story import Story

#: The seconds that everything may take. Orders that are not paid then count as lost.
LIMIT = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the example. Return the exit status: 0 if all orders are paid and none is charged twice, 1 if not.

    Args:
        arguments: The arguments of the command. By default, those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m examples.orders",
        description="Kill one of two programs that exchange events through Redis, and count what is lost.",
    )
    parser.add_argument("--orders", type=int, default=200, metavar="N", help="how many; default: %(default)s")
    count: int = parser.parse_args(arguments).orders
    server = find_server()
    if server is None:
        print("the example needs redis-server or valkey-server, and neither is installed", file=sys.stderr)
        return 2
    story = Story()
    with TemporaryDirectory() as folder:
        anyio.run(run, server, Path(folder), count, story)
    print(f"\n{story.format()}")
    return 0 if (story.payments, story.lost, story.charged_twice) == (count, 0, 0) else 1


async def run(server: str, folder: Path, count: int, story: Story) -> None:
    """Run both programs, kill billing when it has charged a third of the orders, and start it again."""
    started = perf_counter()
    reports = AsyncEventDispatcher(name="reports")
    reports.add_listener("*", named(story.add))
    ledger = folder / "ledger.sqlite"

    def show(line: str) -> None:
        print(f"{perf_counter() - started:6.2f} s  {line}", flush=True)

    with anyio.move_on_after(LIMIT):
        async with running_server(server, folder) as url, anyio.create_task_group() as tasks:
            show(f"{server} runs")

            async def start(module: str, argument: object) -> Process:
                command = [sys.executable, "-m", f"examples.orders.{module}", url, str(argument)]
                process = await anyio.open_process(command, stdin=DEVNULL, stderr=None)
                tasks.start_soon(dispatch_reports, process, reports)
                return process

            # The group of billing must exist before the first order is placed.
            async with reports.expect("ready"):
                billing = await start("billing", ledger)
            show(f"billing runs on Trio, process {billing.pid}")
            async with reports.expect("charged", where=lambda _: story.count("charged") == max(count // 3, 1)):
                web = await start("web", count)
                show(f"web runs on asyncio, process {web.pid}")

            billing.kill()
            await billing.wait()
            bridge = make_bridge(url, AsyncEventDispatcher())
            async with bridge.connected():
                (state,) = (await bridge.health()).receives
            story.pending = state.pending
            show(f"kill -9 {billing.pid}: of its orders, {state.pending} are not acknowledged")

            async with reports.expect("ready"):
                billing = await start("billing", ledger)
            show(f"billing runs again, process {billing.pid}")
            status = await web.wait()
            show("web has seen that all orders are paid" if status == 0 else f"web has failed with the status {status}")
            billing.terminate()
    with closing(Ledger(ledger)) as payments:
        story.payments = payments.count()


if __name__ == "__main__":
    sys.exit(main())
