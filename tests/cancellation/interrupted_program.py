"""A program that is interrupted in every way, on the backend named by its argument; run by ``test_interrupts.py``.

It prints one line for each case, as JSON: the case, what left the dispatch, and what left ``anyio.run``.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import anyio

from antiphon import AsyncEventDispatcher, Concurrent, Event, Race, Sequential, Strategy

STRATEGIES: dict[str, Strategy] = {
    "Sequential": Sequential(errors="collect"),
    "Concurrent": Concurrent(errors="collect"),
    "Race": Race(errors="collect"),
}


class _Nothing(BaseException):
    """The outcome of a dispatch that nothing leaves."""


def shape(exc: BaseException) -> str:
    """Return the kind of an exception, and those of its members."""
    if isinstance(exc, BaseExceptionGroup):
        return f"group({', '.join(shape(member) for member in exc.exceptions)})"
    if isinstance(exc, anyio_cancelled):
        return "cancellation"
    return type(exc).__name__


anyio_cancelled: tuple[type[BaseException], ...] = ()


async def interrupt(event: Event) -> None:
    await anyio.lowlevel.checkpoint()
    raise KeyboardInterrupt


async def leave(event: Event) -> None:
    await anyio.lowlevel.checkpoint()
    raise SystemExit(3)


async def press_control_c(event: Event) -> None:
    """Raise the signal while the loop waits and no listener runs."""
    await anyio.to_thread.run_sync(signal.raise_signal, signal.SIGINT)
    await anyio.Event().wait()


async def fail(event: Event) -> None:
    raise ValueError


async def wait(event: Event) -> None:
    await anyio.Event().wait()


SOURCES = {"KeyboardInterrupt": interrupt, "SystemExit": leave, "SIGINT": press_control_c}


async def program(source: str, in_task: bool, strategy: str, errors: bool, left: list[str]) -> None:
    global anyio_cancelled
    anyio_cancelled = (anyio.get_cancelled_exc_class(),)
    dispatcher = AsyncEventDispatcher()
    if errors:
        dispatcher.add_listener("order.placed", fail)
    if in_task:
        # The caller's task waits with the first listener, so that the next one has another task.
        dispatcher.add_listener("order.placed", wait, priority=1)
    dispatcher.add_listener("order.placed", SOURCES[source], priority=1)
    try:
        await dispatcher.adispatch("order.placed", strategy=STRATEGIES[strategy])
    except BaseException as exc:
        left.append(shape(exc))
        raise


def run(backend: str, source: str, in_task: bool, strategy: str, errors: bool) -> dict[str, Any]:
    name, _, loop = backend.partition("+")
    options: dict[str, Any] = {"use_uvloop": True} if loop else {}
    left: list[str] = []
    outcome: BaseException = _Nothing()
    try:
        anyio.run(program, source, in_task, strategy, errors, left, backend=name, backend_options=options)
    except BaseException as exc:
        outcome = exc
    return {
        "strategy": strategy,
        "source": source,
        "in_task": in_task,
        "errors_in_hand": errors,
        "dispatch": left[0] if left else "nothing",
        "run": shape(outcome),
    }


if __name__ == "__main__":
    # A shell starts programs in the background with this signal ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for source in SOURCES:
        for strategy in STRATEGIES:
            for in_task in (False, True):
                if in_task and (source == "SIGINT" or strategy == "Sequential"):
                    continue
                for errors in (False, True):
                    print(json.dumps(run(sys.argv[1], source, in_task, strategy, errors)), flush=True)
