"""What type checkers know of antiphon. Read by mypy and basedpyright, never executed."""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, assert_type

from antiphon import (
    AsyncEventDispatcher,
    AsyncScope,
    Concurrent,
    Event,
    EventDispatcher,
    IAsyncEventDispatcher,
    IDispatchedEvent,
    IEvent,
    IEventDispatcher,
    IListener,
    Plan,
    Race,
    Sequential,
    Strategy,
    Subscription,
    event_name,
    in_thread,
    inline,
    listens_to,
    named,
    outside_dispatch,
    resolved,
)
from antiphon.testing import Backend, Recording, backends, record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from antiphon import ErrorPolicy
    from antiphon.instruments import DispatchRecord, ListenerRecord
    from antiphon.typing import EventName


@dataclass(frozen=True, slots=True)
class OrderReturned(Event):
    name = "order.returned"
    number: int


class OrderPlaced(Event):
    name = "order.placed"

    def __init__(self, order: int) -> None:
        self.order = order


class OrderPlacedAgain(OrderPlaced): ...


@dataclass(frozen=True)
class UserJoined:
    user: str


class Shape(ABC):
    @abstractmethod
    def area(self) -> int: ...


ORDER_PLACED = event_name("order.placed", OrderPlaced)
USER_JOINED = event_name("user.joined", UserJoined)
SHOP_OPENED = event_name("shop.opened", Event)


class Names(Enum):
    PLACED = "order.placed"


E = TypeVar("E")
T = TypeVar("T")


async def listener(event: OrderPlaced) -> None: ...


async def on_any_event(event: Event) -> None: ...


async def on_shape(event: Shape) -> None: ...


async def listener_with_result(event: OrderPlaced) -> int:
    return event.order


async def listener_with_option(option: str, event: OrderPlaced) -> None: ...


def plain(event: OrderPlaced) -> int:
    return event.order


class Service:
    def __init__(self, dispatcher: IAsyncEventDispatcher) -> None:
        self.dispatcher = dispatcher

    async def on_placed(self, event: OrderPlaced) -> None: ...

    async def __call__(self, event: OrderPlaced) -> None: ...


async def dispatch_gives_back_the_class_of_the_event(dispatcher: AsyncEventDispatcher) -> None:
    assert_type(await dispatcher.adispatch("order.placed", OrderPlaced(1)), OrderPlaced)
    assert_type(await dispatcher.adispatch(OrderPlaced(1)), OrderPlaced)
    assert_type(await dispatcher.adispatch("user.joined", UserJoined("ann")), UserJoined)
    assert_type(await dispatcher.adispatch(UserJoined("ann")), UserJoined)
    assert_type(await dispatcher.adispatch(("order", 1), OrderPlaced(1)), OrderPlaced)
    assert_type(await dispatcher.adispatch(Names.PLACED, OrderPlaced(1)), OrderPlaced)
    assert_type(await dispatcher.adispatch("order.placed"), Event)
    assert_type(await dispatcher.adispatch(Names.PLACED), Event)
    assert_type(await dispatcher.adispatch("order.placed", OrderPlaced(1), strategy=Concurrent(limit=8)), OrderPlaced)
    assert_type(await dispatcher.adispatch(OrderPlaced(1), strategy=Race()), OrderPlaced)


def sync_dispatch_does_too(dispatcher: EventDispatcher) -> None:
    assert_type(dispatcher.dispatch("order.placed", OrderPlaced(1)), OrderPlaced)
    assert_type(dispatcher.dispatch(OrderPlaced(1)), OrderPlaced)
    assert_type(dispatcher.dispatch("order.placed"), Event)


def listeners_of_every_kind_are_taken(dispatcher: AsyncEventDispatcher, service: Service) -> None:
    assert_type(dispatcher.add_listener("order.placed", listener), Subscription)
    dispatcher.add_listener("order.placed", listener_with_result, priority=-10, once=True)
    dispatcher.add_listener("order.placed", partial(listener_with_option, "option"))
    dispatcher.add_listener("order.placed", service.on_placed)
    dispatcher.add_listener("order.placed", service)
    dispatcher.add_listener("order.placed", inline(plain))
    dispatcher.add_listener("order.placed", in_thread(plain, abandon_on_cancel=True))
    with dispatcher.add_listener("order.placed", listener) as subscription:
        assert_type(subscription, Subscription)
        assert_type(subscription.unsubscribe(), bool)


def the_decorator_gives_the_function_back(dispatcher: AsyncEventDispatcher, sync_dispatcher: EventDispatcher) -> None:
    @dispatcher.listen("order.placed", priority=1)
    async def decorated(event: OrderPlaced) -> str:
        return str(event.order)

    expected: Callable[[OrderPlaced], Awaitable[str]] = decorated
    del expected

    @sync_dispatcher.listen("order.placed")
    def decorated_plain(event: OrderPlaced) -> str:
        return str(event.order)

    assert_type(decorated_plain(OrderPlaced(1)), str)


def look_ups_know_what_they_give(dispatcher: AsyncEventDispatcher) -> None:
    assert_type(dispatcher.get_listeners("order.placed"), tuple[Any, ...])
    assert_type(dispatcher.get_listeners(), dict[Hashable, tuple[Any, ...]])
    assert_type(dispatcher.has_listeners("order.placed"), bool)
    assert_type(dispatcher.has_listeners(), bool)


def the_name_of_a_class_is_its_type(event: OrderPlaced) -> None:
    assert_type(event.order, int)
    assert_type(event.propagation_stopped, bool)


def whistles_protocols_fit(dispatcher: AsyncEventDispatcher, sync_dispatcher: EventDispatcher) -> None:
    as_key: IAsyncEventDispatcher = dispatcher
    as_sync_key: IEventDispatcher = sync_dispatcher
    event: IEvent = OrderPlaced(1)
    dispatched: IDispatchedEvent = OrderPlaced(1)
    anything: IListener = listener
    del as_key, as_sync_key, event, dispatched, anything


def a_typed_name_is_a_string(names: dict[str, int], parts: list[str]) -> None:
    assert_type(ORDER_PLACED, "EventName[OrderPlaced]")
    as_string: str = ORDER_PLACED
    assert_type(names[ORDER_PLACED], int)
    assert_type(f"{ORDER_PLACED}!", str)
    assert_type(ORDER_PLACED.split("."), list[str])
    assert_type(ORDER_PLACED == "order.placed", bool)
    assert_type({ORDER_PLACED: 1}, "dict[EventName[OrderPlaced], int]")
    assert_type(hash(ORDER_PLACED), int)
    assert_type(ORDER_PLACED in parts, bool)
    del as_string


def keys_give_listeners_their_class(dispatcher: AsyncEventDispatcher, sync_dispatcher: EventDispatcher) -> None:
    assert_type(dispatcher.add_listener(ORDER_PLACED, listener, where=lambda event: event.order > 1), Subscription)
    assert_type(dispatcher.add_listener(OrderPlaced, listener, where=lambda event: event.order > 1), Subscription)
    assert_type(sync_dispatcher.add_listener(ORDER_PLACED, plain, where=lambda event: event.order > 1), Subscription)
    dispatcher.add_listener(OrderPlaced, on_any_event)
    dispatcher.add_listener(ORDER_PLACED, on_any_event)
    dispatcher.add_listener(Shape, on_shape)  # an abstract class
    for key in ("order.*", 404, ("order", 1), b"order", Names.PLACED, frozenset({"order"})):
        dispatcher.add_listener(key, listener, where=lambda event: event.order > 1)

    @dispatcher.listen(ORDER_PLACED, where=lambda event: event.order > 1)
    @dispatcher.listen(USER_JOINED)
    async def on_both(event: OrderPlaced | UserJoined) -> str:
        return str(event)

    decorated: Callable[[OrderPlaced | UserJoined], Coroutine[Any, Any, str]] = on_both
    del decorated

    class Shop:
        @listens_to(ORDER_PLACED, where=lambda event: event.order > 1)
        @listens_to("order.paid", where=lambda event: event.order > 1)
        async def on_order(self, event: OrderPlaced) -> int:
            return event.order

    marked: Callable[[OrderPlaced], Coroutine[Any, Any, int]] = Shop().on_order
    del marked


def plain_functions_may_return_anything(dispatcher: EventDispatcher, log: list[OrderPlaced], unknown: Any) -> None:
    def count(event: OrderPlaced) -> object:
        return event.order

    listeners: list[Callable[[OrderPlaced], object]] = [count, log.append]
    for key in ("order.placed", OrderPlaced, ORDER_PLACED):
        dispatcher.add_listener(key, plain)
        dispatcher.add_listener(key, count)
        dispatcher.add_listener(key, log.append)
        dispatcher.add_listener(key, listeners[0])
        dispatcher.add_listener(key, unknown)
        dispatcher.listen(key)(unknown)
    dispatcher.add_listener(OrderPlaced, lambda event: event.order)
    dispatcher.add_listener(OrderPlaced, lambda event: log.append(event))
    dispatcher.add_listener("order.placed", lambda event: event.stop_propagation())


async def a_typed_name_gives_dispatches_their_class(
    dispatcher: AsyncEventDispatcher, sync_dispatcher: EventDispatcher, unknown: Any
) -> None:
    assert_type(await dispatcher.adispatch(ORDER_PLACED, OrderPlaced(1)), OrderPlaced)
    assert_type(await dispatcher.adispatch(ORDER_PLACED, OrderPlacedAgain(1)), OrderPlacedAgain)
    assert_type(await dispatcher.adispatch(ORDER_PLACED, OrderPlaced(1), strategy=Race()), OrderPlaced)
    assert_type(await dispatcher.adispatch(SHOP_OPENED), Event)
    assert_type(await dispatcher.adispatch("order.placed", unknown), Any)
    assert_type(await dispatcher.adispatch(unknown), Any)
    assert_type(sync_dispatcher.dispatch(ORDER_PLACED, OrderPlaced(1)), OrderPlaced)
    assert_type(sync_dispatcher.dispatch(ORDER_PLACED, OrderPlacedAgain(1)), OrderPlacedAgain)
    assert_type(sync_dispatcher.dispatch(SHOP_OPENED), Event)
    assert_type(await dispatcher.prepare(ORDER_PLACED)(OrderPlaced(1)), OrderPlaced)
    assert_type(await dispatcher.prepare("order.placed")(OrderPlaced(1)), OrderPlaced)
    assert_type(sync_dispatcher.prepare(ORDER_PLACED)(OrderPlaced(1)), OrderPlaced)


async def a_function_passes_a_typed_name_on(dispatcher: AsyncEventDispatcher, name: EventName[E], event: E) -> E:
    assert_type(await dispatcher.wait_for(name), E)
    return await dispatcher.adispatch(name, event)


async def a_service_needs_nothing_but_the_protocol(dispatcher: IAsyncEventDispatcher) -> None:
    assert_type(await dispatcher.adispatch(ORDER_PLACED, OrderPlaced(1), strategy=Concurrent()), OrderPlaced)
    assert_type(await dispatcher.adispatch("order.placed", OrderPlaced(1)), OrderPlaced)
    assert_type(await dispatcher.adispatch(OrderPlaced(1)), OrderPlaced)
    assert_type(await dispatcher.adispatch("shop.opened"), Event)
    assert_type(await dispatcher.prepare(ORDER_PLACED)(OrderPlaced(1)), OrderPlaced)
    assert_type(dispatcher.add_listener(ORDER_PLACED, listener, once=True, timeout=1, limit=2), Subscription)
    assert_type(dispatcher.get_listeners("order.placed"), tuple[Any, ...])
    dispatcher.listen(OrderPlaced, where=lambda event: event.order > 1)(listener)
    dispatcher.remove_listener(ORDER_PLACED, listener)
    with dispatcher.scope() as scoped, dispatcher.temporarily() as registrar:
        assert_type(scoped, AsyncScope)
        registrar.add_listener(ORDER_PLACED, listener).unsubscribe()
        as_key: IAsyncEventDispatcher = scoped
        del as_key


class ShopOpened(Event): ...


async def on_either(event: OrderPlaced | UserJoined) -> None: ...


async def on_three(event: OrderPlaced | UserJoined | ShopOpened) -> int:
    return 3


async def on_six(event: OrderPlaced | UserJoined | ShopOpened | OrderReturned | OrderPlacedAgain | Shape) -> None: ...


def on_three_plainly(event: OrderPlaced | UserJoined | ShopOpened) -> int:
    return 3


async def three_to_six_keys_give_a_union_too(
    dispatcher: AsyncEventDispatcher,
    service: IAsyncEventDispatcher,
    sync_dispatcher: EventDispatcher,
    sync_service: IEventDispatcher,
) -> None:
    for either in (dispatcher, service, dispatcher.temporarily()):
        either.listen(OrderPlaced, UserJoined, ShopOpened)(on_three)
        either.listen(ORDER_PLACED, UserJoined, ShopOpened, where=lambda event: event.order > 1)(on_three)
        either.listen(OrderPlaced, UserJoined, ShopOpened, OrderReturned, OrderPlacedAgain, Shape)(on_six)
    for sync in (sync_dispatcher, sync_service):
        sync.listen(OrderPlaced, UserJoined, ShopOpened, priority=1)(on_three_plainly)
    for waiting in (dispatcher, service):
        assert_type(await waiting.wait_for(OrderPlaced, USER_JOINED, ShopOpened), OrderPlaced | UserJoined | ShopOpened)
        async with waiting.expect(ORDER_PLACED, UserJoined, ShopOpened) as expected:
            pass
        assert_type(expected.event, OrderPlaced | UserJoined | ShopOpened)
        async with waiting.stream(OrderPlaced, UserJoined, ShopOpened, OrderReturned) as stream:
            assert_type(await anext(stream), OrderPlaced | UserJoined | ShopOpened | OrderReturned)
    handled: Callable[[ShopOpened], Coroutine[Any, Any, int]] = dispatcher.listen(OrderPlaced, UserJoined, ShopOpened)(
        on_three
    )
    del handled


async def several_keys_give_a_union(
    dispatcher: AsyncEventDispatcher, service: IAsyncEventDispatcher, sync_dispatcher: EventDispatcher
) -> None:
    dispatcher.listen(OrderPlaced, UserJoined)(on_either)
    dispatcher.listen(ORDER_PLACED, UserJoined, priority=1)(on_either)
    dispatcher.listen("order.*", UserJoined, 404, once=True)(on_either)
    dispatcher.listen(OrderPlaced | UserJoined, limit=1)(on_either)
    dispatcher.add_listener(OrderPlaced | UserJoined, on_either).unsubscribe()
    dispatcher.remove_listener(OrderPlaced | UserJoined, on_either)
    service.listen(OrderPlaced, USER_JOINED)(on_either)
    sync_dispatcher.listen(OrderPlaced, UserJoined)(on_either_plain)
    with dispatcher.temporarily() as registrar:
        registrar.listen(OrderPlaced, UserJoined)(on_either)
    assert_type(await dispatcher.wait_for(OrderPlaced, USER_JOINED), OrderPlaced | UserJoined)
    async with dispatcher.expect(ORDER_PLACED, UserJoined) as expected:
        pass
    assert_type(expected.event, OrderPlaced | UserJoined)
    async with dispatcher.stream(OrderPlaced, UserJoined) as stream:
        assert_type([event async for event in stream], list[OrderPlaced | UserJoined])

    class Shop:
        @listens_to(OrderPlaced, "order.*", priority=1)
        @listens_to(OrderPlaced | UserJoined)
        async def on_order(self, event: OrderPlaced) -> None: ...

    dispatcher.add_subscriber(Shop())


def on_either_plain(event: OrderPlaced | UserJoined) -> None: ...


async def what_waits_gives_the_class_of_its_key(
    dispatcher: AsyncEventDispatcher, service: IAsyncEventDispatcher
) -> None:
    assert_type(await dispatcher.wait_for(OrderPlaced, where=lambda event: event.order > 1), OrderPlaced)
    assert_type(await dispatcher.wait_for(ORDER_PLACED, where=lambda event: event.order > 1), OrderPlaced)
    assert_type(await dispatcher.wait_for("order.placed", where=lambda event: event.order > 1), Any)
    assert_type(await service.wait_for(ORDER_PLACED), OrderPlaced)
    async with dispatcher.expect(ORDER_PLACED) as expected, service.expect(UserJoined) as other:
        pass
    assert_type((expected.event, other.event), tuple[OrderPlaced, UserJoined])
    async with dispatcher.stream(ORDER_PLACED) as stream, service.stream(OrderPlaced, USER_JOINED) as both:
        assert_type([event async for event in stream], list[OrderPlaced])
        assert_type([event async for event in both], list[OrderPlaced | UserJoined])
        assert_type([event async for _, event in stream.items()], list[OrderPlaced])
    async with dispatcher.stream("order.*", ORDER_PLACED, OrderPlaced, max_buffer_size=8) as mixed:
        assert_type([event async for event in mixed], list[Any])
    async with dispatcher.queue() as queue:
        await queue.post(ORDER_PLACED, OrderPlaced(1))
        await queue.post(OrderPlaced(1))
        await queue.post("order.placed")
        queue.post_nowait(SHOP_OPENED)


# The dispatcher of HARP, an application that uses whistle. The ignores are needed because its overrides accept fewer
# arguments than the methods of antiphon.
class LoggingDispatcher(AsyncEventDispatcher):
    def add_listener(self, event_id: str, listener: IListener, /, *, priority: int = 0) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        super().add_listener(event_id, listener, priority=priority)

    async def adispatch(self, event_id: str, event: Any = None, /) -> IDispatchedEvent:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        dispatched: IDispatchedEvent = await super().adispatch(event_id, event)
        return dispatched

    async def _adispatch(self, listeners: Any, event: Any) -> None:
        for each in listeners:
            await each(event)


def a_subclass_with_fewer_arguments_fits_the_protocol() -> IAsyncEventDispatcher:
    return LoggingDispatcher()


class Backwards:
    async def run(self, plan: Plan, event: Any, /) -> None:
        for tier in reversed(plan):
            for subscription in reversed(tier):
                await subscription.call(event)


def strategies_are_strategies() -> None:
    strategies: list[Strategy] = [
        Sequential(),
        Sequential(errors="collect"),
        Concurrent(8),
        Concurrent(limit=8, errors=lambda exc, event, listener: print(exc, event, listener)),
        Race(),
        Backwards(),
    ]
    for strategy in strategies:
        AsyncEventDispatcher(strategy=strategy, sync_listeners="inline", name="shop")
    EventDispatcher(errors="collect", name="shop", names=["shop.opened", ORDER_PLACED, Names, OrderPlaced])
    AsyncEventDispatcher(names=typing).scope()


def recordings_give_records(dispatcher: AsyncEventDispatcher, sync_dispatcher: EventDispatcher) -> None:
    with record(dispatcher, sync_dispatcher) as recorded:
        assert_type(recorded, Recording)
    assert_type(recorded.dispatches, tuple[DispatchRecord, ...])
    assert_type(recorded.assert_dispatched("order.*", OrderPlaced, ("order", 1)), tuple[Any, ...])
    assert_type(recorded.assert_called(listener), tuple[ListenerRecord, ...])


def backends_run_what_they_are_given(dispatcher: AsyncEventDispatcher) -> None:
    async def count(to: int) -> str:
        return str(to)

    assert_type(Backend("asyncio").run(count, 3), str)
    assert_type(backends("trio", seeds=range(3)), list[Backend])


async def named_listener(event: OrderPlaced, name: str | None) -> None: ...


class Adapting:
    @listens_to(ORDER_PLACED)
    @named
    async def on_placed(self, event: OrderPlaced, name: object) -> None: ...

    @listens_to(USER_JOINED)
    @inline
    def on_joined(self, event: UserJoined) -> None: ...

    @in_thread
    def on_user_joined(self, event: UserJoined) -> None: ...


async def adapters_keep_the_class_of_the_event(
    dispatcher: AsyncEventDispatcher, service: IAsyncEventDispatcher, sync_dispatcher: EventDispatcher
) -> None:
    assert_type(await named(named_listener)(OrderPlaced(1)), None)
    dispatcher.add_listener(ORDER_PLACED, named(named_listener))
    dispatcher.add_listener(ORDER_PLACED, inline(named(lambda event, name: None)))
    sync_dispatcher.add_listener("order.placed", named(lambda event, name: None))

    @service.listen(ORDER_PLACED)
    @named
    async def on_order_placed(event: OrderPlaced, name: object) -> int:
        return event.order

    adapting = Adapting()
    dispatcher.add_subscriber(adapting)
    await adapting.on_placed(OrderPlaced(1))
    await adapting.on_joined(UserJoined("ann"))
    dispatcher.add_listener(ORDER_PLACED, adapting.on_placed)
    dispatcher.add_listener(USER_JOINED, adapting.on_user_joined)
    await on_order_placed(OrderPlaced(1))


async def what_a_dispatcher_runs_by(
    dispatcher: AsyncEventDispatcher, service: IAsyncEventDispatcher, sync_service: IEventDispatcher
) -> None:
    assert_type(dispatcher.strategy, Strategy)
    assert_type(service.strategy, Strategy)
    policy: ErrorPolicy = sync_service.errors
    del policy
    with outside_dispatch():
        await dispatcher.adispatch("order.placed")


@asynccontextmanager
async def opened(cls: type[T]) -> AsyncGenerator[T, None]:
    yield cls()


async def a_class_is_resolved(dispatcher: AsyncEventDispatcher, service: IAsyncEventDispatcher) -> None:
    dispatcher.add_listener(ORDER_PLACED, resolved(Service, opened))
    service.clear(ORDER_PLACED)
    service.clear()
    dispatcher.temporarily().clear("order.placed")
