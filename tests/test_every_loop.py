"""The same program on every kind of event loop, in every way to run one, and under the options of Python.

``python -m tests.test_every_loop LOOP`` runs it in one way.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest
import trio

from antiphon import AsyncEventDispatcher, Concurrent, Event, Race, Sequential, in_thread

PAGE = Path(__file__).parents[1] / "docs" / "how-it-is-tested.md"


def describe_loop() -> str:
    """Describe the event loop that runs, so that each test shows that it uses the loop in its name."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        words = ["Trio"]
    else:
        # While Trio runs as a guest, both are running.
        words = ["Trio", "guest"] if trio.lowlevel.in_trio_run() else [type(loop).__module__.partition(".")[0]]
        words += ["debug"] if loop.get_debug() else []
        words += ["eager"] if loop.get_task_factory() is not None else []
    if threading.current_thread() is not threading.main_thread():
        words.append("thread")
    return " ".join(words)


async def program() -> list[str]:
    """Use every part of a dispatcher that depends on the event loop, and return what happened."""
    log: list[str] = [describe_loop()]
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("order.placed", priority=-1)
    async def wait(event: Event) -> None:
        await anyio.sleep(0)
        log.append("waited")

    @dispatcher.listen("order.placed", priority=-1)
    async def wait_too(event: Event) -> None:
        await anyio.sleep(0)
        log.append("waited")

    @dispatcher.listen("order.placed")
    @in_thread
    def work(event: Event) -> None:
        log.append("worked in a thread")

    for strategy in (Sequential(), Concurrent(), Race()):
        await dispatcher.adispatch("order.placed", strategy=strategy)

    waiting = anyio.Event()

    @dispatcher.listen("order.failed")
    async def fail(event: Event) -> None:
        await waiting.wait()
        raise ValueError

    @dispatcher.listen("order.failed")
    async def wait_forever(event: Event) -> None:
        try:
            waiting.set()
            await anyio.sleep_forever()
        finally:
            log.append("cancelled")

    try:
        await dispatcher.adispatch("order.failed", strategy=Concurrent())
    except ExceptionGroup as error:
        log.append(repr(error.exceptions))
    with anyio.move_on_after(0):  # no listener starts
        await dispatcher.adispatch("order.failed", strategy=Concurrent(errors="collect"))

    async with dispatcher.expect("order.paid") as expected:
        await dispatcher.adispatch("order.paid")
    log.append(str(expected.name))
    async with dispatcher.stream("order.sent") as stream:
        await dispatcher.adispatch("order.sent", Event())
        log.append(str((await anext(stream)).name))
    async with dispatcher.queue(max_buffer_size=4) as queue:
        await queue.post("order.placed")
    with dispatcher.scope() as scope:
        await scope.adispatch("order.placed")
    return log


EXPECTED = [
    *["waited", "waited", "worked in a thread"] * 3,
    "cancelled",
    "(ValueError(),)",
    "order.paid",
    "order.sent",
    *["waited", "waited", "worked in a thread"] * 2,
]


def run_with_uvloop() -> Any:
    import uvloop

    return (
        asyncio.run(program(), loop_factory=uvloop.new_event_loop)
        if sys.version_info >= (3, 12)
        else uvloop.run(program())
    )


def run_with_eager_tasks() -> Any:
    async def main() -> list[str]:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]  # Python 3.12
        return await asyncio.create_task(program())

    return asyncio.run(main())


def run_as_a_guest() -> Any:
    """Run Trio as a guest of asyncio, which runs in the same thread."""

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        trio.lowlevel.start_guest_run(
            program,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=lambda outcome: done.set_result(outcome),
            host_uses_signal_set_wakeup_fd=True,
        )
        return (await done).unwrap()

    return asyncio.run(main())


def run_in_a_portal(backend: str) -> Any:
    with anyio.from_thread.start_blocking_portal(backend) as portal:
        return portal.call(program)


def run_in_a_thread() -> Any:
    """Run asyncio in another thread than the main thread."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(program())))
    thread.start()
    thread.join()
    return results[0]


#: What `describe_loop` returns.
LOOPS = {
    "asyncio": "asyncio",
    "asyncio, debug mode": "asyncio debug",
    "asyncio, eager tasks": "asyncio eager",
    "uvloop": "uvloop",
    "Trio": "Trio",
    "Trio, guest of asyncio": "Trio guest",
    "AnyIO's blocking portal, asyncio": "asyncio thread",
    "AnyIO's blocking portal, Trio": "Trio thread",
    "asyncio in a thread": "asyncio thread",
}
WAYS: dict[str, Callable[[], Any]] = {
    "asyncio": lambda: asyncio.run(program()),
    "asyncio, debug mode": lambda: asyncio.run(program(), debug=True),
    "asyncio, eager tasks": run_with_eager_tasks,
    "uvloop": run_with_uvloop,
    "Trio": lambda: trio.run(program),
    "Trio, guest of asyncio": run_as_a_guest,
    "AnyIO's blocking portal, asyncio": lambda: run_in_a_portal("asyncio"),
    "AnyIO's blocking portal, Trio": lambda: run_in_a_portal("trio"),
    "asyncio in a thread": run_in_a_thread,
}
OPTIONS = {"python -O": ["-O"], "python -OO": ["-OO"], "python -X dev": ["-X", "dev", "-W", "error"]}
#: `sys.flags.optimize`, and whether the development mode is on.
FLAGS = {"python -O": (1, False), "python -OO": (2, False), "python -X dev": (0, True)}
MISSING = {
    "asyncio, eager tasks": not hasattr(asyncio, "eager_task_factory"),
    "uvloop": find_spec("uvloop") is None,
}


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, marks=pytest.mark.skipif(MISSING.get(way, False), reason=f"this Python has no {way}"))
        for way in WAYS
    ],
)
def test_the_program_runs_on_every_loop(way: str) -> None:
    assert WAYS[way]() == [LOOPS[way], *EXPECTED]


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("way", ["asyncio", "Trio"])
def test_the_program_runs_under_the_options_of_python(way: str, option: str) -> None:
    command = [sys.executable, *OPTIONS[option], "-m", "tests.test_every_loop", way]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=PAGE.parents[1])

    # The debug mode of asyncio also reports what takes long.
    assert "Warning" not in done.stderr and "Traceback" not in done.stderr, done.stderr
    loop = "asyncio debug" if way == "asyncio" and option == "python -X dev" else LOOPS[way]
    assert (done.returncode, done.stdout) == (0, f"{FLAGS[option]}\n{[loop, *EXPECTED]}\n")


@pytest.mark.skipif(not PAGE.exists(), reason="needs the checkout")
def test_the_docs_list_every_loop() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("## Event loops")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| ([^|]+?) \|", table, re.MULTILINE)[2:]

    assert [row.replace("`", "") for row in listed] == [*WAYS, *OPTIONS]


if __name__ == "__main__":
    print((sys.flags.optimize, sys.flags.dev_mode))
    print(WAYS[sys.argv[1]]())
