"""What type checkers refuse. Read by mypy and basedpyright, which both report an ignore that is not needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antiphon import (
    AsyncEventDispatcher,
    Concurrent,
    Event,
    EventDispatcher,
    IAsyncEventDispatcher,
    IEventDispatcher,
    Sequential,
    event_name,
    in_thread,
    named,
)
from antiphon.testing import Backend, backends, record

if TYPE_CHECKING:
    from tests.typing.accepted import (
        ORDER_PLACED,
        USER_JOINED,
        Names,
        OrderPlaced,
        ShopOpened,
        UserJoined,
        on_either,
    )


def plain(event: Event) -> None: ...


async def two_arguments(event: Event, more: int) -> None: ...


async def no_argument() -> None: ...


async def keyword_only(*, event: Event) -> None: ...


def listeners_of_a_wrong_shape(dispatcher: AsyncEventDispatcher, sync_dispatcher: EventDispatcher) -> None:
    dispatcher.add_listener("order.placed", plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.add_listener("order.placed", two_arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.add_listener("order.placed", no_argument)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.add_listener("order.placed", keyword_only)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.add_listener("order.placed", "listener")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.listen("order.placed")(plain)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    sync_dispatcher.add_listener("order.placed", no_argument)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    in_thread(42)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def keys_and_options_of_a_wrong_type(dispatcher: AsyncEventDispatcher) -> None:
    async def listener(event: Event) -> None: ...

    dispatcher.add_listener([], listener)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.add_listener("order.placed", listener, priority="high")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.add_listener("order.placed", listener, 5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def on_order(event: OrderPlaced) -> None: ...


async def on_user(event: UserJoined) -> None: ...


def on_user_plain(event: UserJoined) -> int:
    return len(event.user)


def listeners_of_events_of_another_class(dispatcher: AsyncEventDispatcher, sync_dispatcher: EventDispatcher) -> None:
    dispatcher.add_listener(OrderPlaced, on_user)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.add_listener(ORDER_PLACED, on_user)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.listen(OrderPlaced)(on_user)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dispatcher.listen(ORDER_PLACED)(on_user)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dispatcher.add_listener(ORDER_PLACED, on_order, where=lambda event: event.user)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownLambdaType, reportUnknownMemberType]
    dispatcher.listen(ORDER_PLACED, where=lambda event: event.user)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownLambdaType, reportUnknownMemberType]
    sync_dispatcher.add_listener(OrderPlaced, on_user_plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    sync_dispatcher.add_listener(ORDER_PLACED, on_user_plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    sync_dispatcher.listen(ORDER_PLACED)(on_user_plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


def listeners_of_only_one_of_several_keys(dispatcher: AsyncEventDispatcher, sync_dispatcher: EventDispatcher) -> None:
    dispatcher.listen(OrderPlaced, UserJoined)(on_user)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dispatcher.listen(ORDER_PLACED, USER_JOINED)(on_order)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dispatcher.listen(OrderPlaced, UserJoined, ShopOpened)(on_either)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dispatcher.listen(ORDER_PLACED, USER_JOINED, ShopOpened, OrderPlaced)(on_either)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dispatcher.temporarily().listen(OrderPlaced, UserJoined, ShopOpened)(on_either)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    sync_dispatcher.listen(OrderPlaced, UserJoined, ShopOpened)(on_user_plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    sync_dispatcher.listen(OrderPlaced, UserJoined)(on_user_plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


def async_listeners_of_plain_functions(dispatcher: EventDispatcher, service: IEventDispatcher) -> None:
    dispatcher.add_listener("order.placed", on_order)  # type: ignore[deprecated]  # pyright: ignore[reportDeprecated]
    dispatcher.add_listener(OrderPlaced, on_order)  # type: ignore[deprecated]  # pyright: ignore[reportDeprecated]
    dispatcher.add_listener(ORDER_PLACED, on_order)  # type: ignore[deprecated]  # pyright: ignore[reportDeprecated]
    service.add_listener("order.placed", on_order)  # type: ignore[deprecated]  # pyright: ignore[reportDeprecated]
    # basedpyright does not report what a call of a decorator deprecates.
    dispatcher.listen("order.placed")(on_order)  # type: ignore[deprecated]
    dispatcher.listen(ORDER_PLACED)(on_order)  # type: ignore[deprecated]
    dispatcher.add_listener("order.placed", plain, timeout=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


def objects_that_are_not_keys(dispatcher: AsyncEventDispatcher, service: IAsyncEventDispatcher) -> None:
    dispatcher.add_listener(None, on_order)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.listen(None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.listen(on_order)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.remove_listener(None, on_order)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dispatcher.clear(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dispatcher.expect(None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.stream(None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.prepare(None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    service.add_listener(None, on_order)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    service.listen(on_order)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    event_name("order.placed", "OrderPlaced")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    event_name(Names.PLACED, OrderPlaced)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def events_of_another_class(
    dispatcher: AsyncEventDispatcher, service: IAsyncEventDispatcher, sync_dispatcher: EventDispatcher, user: UserJoined
) -> None:
    await dispatcher.adispatch(ORDER_PLACED, user)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await dispatcher.adispatch(ORDER_PLACED)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    await dispatcher.adispatch("order.placed", OrderPlaced)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    await dispatcher.adispatch(OrderPlaced)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    await dispatcher.adispatch(user, "user.joined")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await service.adispatch(ORDER_PLACED, user)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await service.adispatch("order.placed", OrderPlaced)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    await dispatcher.prepare(ORDER_PLACED)(user)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    sync_dispatcher.dispatch(ORDER_PLACED, user)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    sync_dispatcher.dispatch(user, "user.joined")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    sync_dispatcher.dispatch("user.joined", UserJoined).user  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    async with dispatcher.queue() as queue:
        await queue.post(ORDER_PLACED, user)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
        queue.post_nowait(ORDER_PLACED, user)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.dispatch("user.joined", user)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def waiting_for_another_class(dispatcher: AsyncEventDispatcher) -> None:
    await dispatcher.wait_for(ORDER_PLACED, where=lambda event: event.user)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownLambdaType, reportUnknownMemberType]
    order: OrderPlaced = await dispatcher.wait_for(USER_JOINED)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    async with dispatcher.expect(USER_JOINED) as expected:
        order = expected.event  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    async with dispatcher.stream(ORDER_PLACED, USER_JOINED) as stream:
        async for order in stream:  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
            del order


async def dispatches_of_a_wrong_type(dispatcher: AsyncEventDispatcher, event: OrderPlaced) -> None:
    await dispatcher.adispatch("order.placed", event, Concurrent())  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await dispatcher.adispatch("order.placed", event, strategy="concurrent")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await dispatcher.adispatch()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    dispatched = await dispatcher.adispatch("order.placed", event)
    wrong: int = dispatched  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    del wrong


async def named_listeners_of_a_wrong_type(dispatcher: AsyncEventDispatcher) -> None:
    async def on_user(event: UserJoined, name: object) -> None: ...

    async def without_name(event: OrderPlaced) -> None: ...

    dispatcher.add_listener(ORDER_PLACED, named(on_user))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.add_listener(ORDER_PLACED, on_user)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    dispatcher.add_listener(ORDER_PLACED, named(without_name))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownArgumentType]
    dispatcher.strategy = Concurrent()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


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
