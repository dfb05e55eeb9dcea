"""The event loops on which samples are taken, each the way a user of anyio would start it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from typing import Any, TypeAlias, TypeVar

import anyio

__all__ = ("LOOPS", "missing", "run")

T = TypeVar("T")

Main: TypeAlias = Callable[[], Coroutine[Any, Any, T]]

#: The loops a dispatch is measured on. Work that needs no loop has the backend ``"none"``.
LOOPS = ("asyncio", "uvloop", "trio")


def run(backend: str, main: Main[T]) -> T:
    """Runs a coroutine function to its end on a backend.

    Args:
        backend: One of ``LOOPS``, or ``"none"`` to drive the coroutine by hand.
        main: The coroutine function.

    Returns:
        What the coroutine returns.
    """
    match backend:
        case "none":
            return _run_without_loop(main)
        case "uvloop":
            return anyio.run(main, backend="asyncio", backend_options={"use_uvloop": True})
        case _:
            return anyio.run(main, backend=backend)


def missing(backend: str) -> str | None:
    """Says why a backend cannot be measured here, or ``None`` if it can."""
    return None if find_spec(backend) else "not installed"


def _run_without_loop(main: Main[T]) -> T:
    try:
        main().send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise RuntimeError("work of the backend 'none' has suspended")
