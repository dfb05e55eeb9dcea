"""The event loops on which samples are taken, each started as an application would start it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from typing import Any, TypeVar

import anyio

__all__ = ("LOOPS", "missing", "run")

T = TypeVar("T")

#: The event loops of asynchronous dispatches. Work that needs no event loop has the backend ``"none"``.
LOOPS = ("asyncio", "uvloop", "trio")


def run(backend: str, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function on a backend, and return its result.

    Args:
        backend: One of ``LOOPS``, or ``"none"`` to run the coroutine without an event loop.
        main: The coroutine function.

    Raises:
        RuntimeError: If work of the backend ``"none"`` suspends.
    """
    if backend == "none":
        try:
            main().send(None)
        except StopIteration as end:
            result: T = end.value
            return result
        raise RuntimeError("work of the backend 'none' must not suspend")
    if backend == "uvloop":
        return anyio.run(main, backend="asyncio", backend_options={"use_uvloop": True})
    return anyio.run(main, backend=backend)


def missing(backend: str) -> str | None:
    """Return why a backend cannot be measured here, or None if it can."""
    return None if find_spec(backend) else "not installed"
