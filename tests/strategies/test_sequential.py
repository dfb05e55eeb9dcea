"""Rule 14: one listener after another, in the caller's task and context, also under a policy."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Event, Sequential, Strategy

variable: ContextVar[str] = ContextVar("variable", default="unset")

# The one that the dispatcher runs itself, and those that run under a policy.
pytestmark = pytest.mark.parametrize(
    "strategy", [None, Sequential(errors="collect"), Sequential(errors=print)], ids=["plain", "collect", "callable"]
)


async def test_listeners_run_in_turn_in_the_callers_task_and_context(strategy: Strategy | None) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[Any]()

    def listener(name: str) -> Any:
        async def listen(event: Event) -> None:
            log.append((name, variable.get(), anyio.get_current_task().id))
            await checkpoint()
            variable.set(f"set by {name}")

        return listen

    for name, priority in (("c", 5), ("a", -5), ("d", 5), ("b", 0)):
        dispatcher.add_listener("order.placed", listener(name), priority=priority)
    token = variable.set("set by the caller")
    await dispatcher.adispatch("order.placed", strategy=strategy)
    seen = ["set by the caller", "set by a", "set by b", "set by c"]
    task = anyio.get_current_task().id
    assert log == [(name, value, task) for name, value in zip("abcd", seen, strict=True)]
    assert variable.get() == "set by d"
    variable.reset(token)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_dispatch_adds_no_checkpoint(strategy: Strategy | None, cancelled: bool) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()

    def logging(name: str) -> Any:
        async def listener(event: Event) -> None:
            log.append(name)

        return listener

    async def other() -> None:
        log.append("another task")

    dispatcher.add_listener("order.placed", logging("first"))
    dispatcher.add_listener("order.placed", logging("second"), priority=1)
    async with anyio.create_task_group() as group:
        group.start_soon(other)
        with anyio.CancelScope() as scope:
            if cancelled:
                scope.cancel()
            await dispatcher.adispatch("order.placed", strategy=strategy)
            await dispatcher.adispatch("order.paid", strategy=strategy)
            log.append("dispatched")
    assert log == ["first", "second", "dispatched", "another task"]
