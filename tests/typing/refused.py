"""What type checkers refuse. Read by mypy and basedpyright, which both report an ignore that is not needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Sequential, in_thread
from antiphon.testing import Backend, backends, record

if TYPE_CHECKING:
    from tests.typing.accepted import OrderPlaced


def plain(event: Event) -> None: ...


async def two_arguments(event: Event, more: int) -> None: ...


async def no_argument() -> None: ...


async def keyword_only(*, event: Event) -> None: ...


def listeners_of_a_wrong_shape(dispatcher: AsyncEventDispatcher, sync_dispatcher: EventDispatcher) -> None:
    dispatcher.add_listener("order.placed", plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dispatcher.add_listener("order.placed", two_arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dispatcher.add_listener("order.placed", no_argument)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dispatcher.add_listener("order.placed", keyword_only)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dispatcher.add_listener("order.placed", "listener")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dispatcher.listen("order.placed")(plain)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    sync_dispatcher.add_listener("order.placed", no_argument)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    in_thread(42)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def keys_and_options_of_a_wrong_type(dispatcher: AsyncEventDispatcher) -> None:
    async def listener(event: Event) -> None: ...

    dispatcher.add_listener([], listener)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dispatcher.add_listener("order.placed", listener, priority="high")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dispatcher.add_listener("order.placed", listener, 5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def dispatches_of_a_wrong_type(dispatcher: AsyncEventDispatcher, event: OrderPlaced) -> None:
    await dispatcher.adispatch("order.placed", event, Concurrent())  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await dispatcher.adispatch("order.placed", event, strategy="concurrent")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await dispatcher.adispatch()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    dispatched = await dispatcher.adispatch("order.placed", event)
    wrong: int = dispatched  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    del wrong


def strategies_of_a_wrong_type() -> None:
    AsyncEventDispatcher(strategy=Concurrent)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AsyncEventDispatcher(sync_listeners="ignore")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Concurrent(limit="8")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Sequential(errors="ignore")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Sequential(errors=lambda exc: None)  # type: ignore[arg-type, misc]  # pyright: ignore[reportArgumentType]


def tools_of_a_wrong_type() -> None:
    async def count(to: int) -> None: ...

    record("shop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Backend("uvloop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Backend("trio").run(count, "3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    backends(range(3))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
