"""Listeners that several tests of strategies use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from anyio.lowlevel import checkpoint

from antiphon import Event

Listener: TypeAlias = Callable[[Any], Awaitable[None]]


def failing(error: BaseException) -> Listener:
    async def fail(event: Event) -> None:
        raise error

    return fail


def logging(log: list[str], name: str) -> Listener:
    """Make a listener that waits once, and then logs its name."""

    async def listener(event: Event) -> None:
        await checkpoint()
        log.append(name)

    return listener
