"""The dispatcher in a container, under its protocol as the key (rodi, the container that HARP uses)."""

from __future__ import annotations

from typing import Any

import pytest
import rodi

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, IAsyncEventDispatcher, IEventDispatcher


class OrderPlaced(Event):
    name = "order.placed"

    def __init__(self, number: int) -> None:
        self.number = number


class Shop:
    """Dispatches."""

    def __init__(self, dispatcher: IAsyncEventDispatcher) -> None:
        self.dispatcher = dispatcher

    async def place(self, number: int) -> None:
        await self.dispatcher.adispatch(OrderPlaced.name, OrderPlaced(number))


class Warehouse:
    """Listens."""

    def __init__(self, dispatcher: IAsyncEventDispatcher) -> None:
        self.dispatcher = dispatcher
        self.placed: list[int] = []
        dispatcher.add_listener(OrderPlaced.name, self.on_order_placed)

    async def on_order_placed(self, event: OrderPlaced) -> None:
        self.placed.append(event.number)


class Bell:
    """Listens to a dispatcher of plain functions."""

    def __init__(self, dispatcher: IEventDispatcher) -> None:
        self.dispatcher = dispatcher


@pytest.fixture
def dispatcher() -> AsyncEventDispatcher:
    return AsyncEventDispatcher()


@pytest.fixture
def services(dispatcher: AsyncEventDispatcher) -> Any:
    container = rodi.Container()
    container.add_instance(dispatcher, IAsyncEventDispatcher)
    container.add_singleton(Shop)
    container.add_singleton(Warehouse)
    return container.build_provider()


async def test_services_share_the_dispatcher_of_a_container(services: Any, dispatcher: AsyncEventDispatcher) -> None:
    shop, warehouse = services.get(Shop), services.get(Warehouse)
    assert shop.dispatcher is warehouse.dispatcher is services.get(IAsyncEventDispatcher) is dispatcher

    await shop.place(7)

    assert warehouse.placed == [7]


def test_an_empty_dispatcher_is_registered_as_any_object() -> None:
    container, dispatcher = rodi.Container(), EventDispatcher()

    container.add_instance(dispatcher, IEventDispatcher)
    container.add_transient(Bell)

    assert container.build_provider().get(Bell).dispatcher is dispatcher


def test_both_kinds_of_dispatcher_have_their_own_key(dispatcher: AsyncEventDispatcher) -> None:
    container, sync_dispatcher = rodi.Container(), EventDispatcher()
    container.add_instance(dispatcher, IAsyncEventDispatcher)
    container.add_instance(sync_dispatcher, IEventDispatcher)

    services = container.build_provider()

    assert (services.get(IAsyncEventDispatcher), services.get(IEventDispatcher)) == (dispatcher, sync_dispatcher)


def test_a_subclass_is_registered_under_the_protocol() -> None:
    class ShopDispatcher(AsyncEventDispatcher): ...

    container, dispatcher = rodi.Container(), ShopDispatcher()
    container.add_instance(dispatcher, IAsyncEventDispatcher)
    container.add_singleton(Shop)

    assert container.build_provider().get(Shop).dispatcher is dispatcher


def test_the_container_may_make_the_dispatcher_itself() -> None:
    container = rodi.Container()
    container.add_singleton_by_factory(lambda: AsyncEventDispatcher(), IAsyncEventDispatcher)
    container.add_singleton(Shop)
    container.add_singleton(Warehouse)

    services = container.build_provider()

    assert services.get(Shop).dispatcher is services.get(Warehouse).dispatcher
