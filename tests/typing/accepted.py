"""What type checkers know of antiphon. Read by mypy and basedpyright, never executed."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, assert_type

from antiphon import (
    AsyncEventDispatcher,
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
    in_thread,
    inline,
)
from antiphon.testing import Backend, Recording, backends, record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from antiphon.instruments import DispatchRecord, ListenerRecord


class OrderPlaced(Event):
    name = "order.placed"

    def __init__(self, order: int) -> None:
        self.order = order


@dataclass(frozen=True)
class UserJoined:
    user: str


class Names(Enum):
    PLACED = "order.placed"


async def listener(event: OrderPlaced) -> None: ...


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
    EventDispatcher(errors="collect", name="shop")


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
