"""`resolved`: a listener that is made for each dispatch, by a context manager."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any

import anyio
import pytest

from antiphon import (
    AsyncEventDispatcher,
    Event,
    EventDispatcher,
    in_thread,
    inline,
    listener_name,
    named,
    resolved,
)
from tests.cancellation.listeners import Make, every_strategy
from tests.cancellation.tasks import leaves, left_by

log: list[Any] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    log.clear()


class Charge:
    """Charge the card."""

    async def __call__(self, event: Any) -> None:
        log.append(self)
        await anyio.lowlevel.checkpoint()
        error: Exception | None = getattr(event, "error", None)
        if error is not None:
            raise error


class ChargePlainly:
    def __call__(self, event: Any) -> None:
        log.append(self)


class Named:
    async def __call__(self, event: Any, name: Any) -> None:
        log.append(name)


@asynccontextmanager
async def open_async(cls: Any) -> AsyncIterator[Any]:
    log.append("opened")
    try:
        yield cls()
    except BaseException as exc:
        log.append(type(exc))
        raise
    finally:
        log.append("closed")


@asynccontextmanager
async def open_otherwise(cls: Any) -> AsyncIterator[Any]:
    try:
        yield cls()
    except LookupError:
        log.append("handled")


@contextmanager
def open_plainly(cls: Any) -> Iterator[Any]:
    log.append("opened")
    try:
        yield cls()
    finally:
        log.append("closed")


@every_strategy
async def test_each_dispatch_has_an_instance_of_its_own(make: Make) -> None:
    dispatcher = AsyncEventDispatcher(strategy=make())
    dispatcher.add_listener("order.placed", resolved(Charge, open_async), timeout=60)

    for _ in range(2):
        await dispatcher.adispatch("order.placed")

    first, second = log[1], log[4]
    assert log == ["opened", first, "closed", "opened", second, "closed"]
    assert isinstance(first, Charge)
    assert first is not second


@every_strategy
async def test_an_error_passes_through_the_context_manager(make: Make) -> None:
    dispatcher, event, error = AsyncEventDispatcher(strategy=make()), Event(), LookupError("no such card")
    event.error = error  # type: ignore[attr-defined]
    dispatcher.add_listener("order.placed", resolved(Charge, open_async))

    (left,) = leaves(await left_by(lambda: dispatcher.adispatch("order.placed", event)))

    assert left is error
    assert log[2:] == [LookupError, "closed"]
    assert f"in listener {__name__}.Charge, while" in left.__notes__[0]


async def test_the_context_manager_may_handle_an_error() -> None:
    dispatcher, event = AsyncEventDispatcher(), Event()
    event.error = LookupError()  # type: ignore[attr-defined]
    dispatcher.add_listener("order.placed", resolved(Charge, open_otherwise))

    await dispatcher.adispatch("order.placed", event)

    assert log[1:] == ["handled"]


async def test_a_cancellation_passes_through_the_context_manager() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", resolved(Charge, open_async))

    with anyio.CancelScope() as scope:
        scope.cancel()
        await dispatcher.adispatch("order.placed")

    assert scope.cancelled_caught
    assert log[2:] == [anyio.get_cancelled_exc_class(), "closed"]


def test_a_plain_class_has_a_plain_context_manager() -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener("order.placed", resolved(ChargePlainly, open_plainly))

    dispatcher.dispatch("order.placed")

    assert log == ["opened", log[1], "closed"]
    assert isinstance(log[1], ChargePlainly)


@pytest.mark.parametrize("adapt", [inline, in_thread])
async def test_a_plain_class_is_adapted(adapt: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    with pytest.raises(TypeError, match="is not known to be async"):
        dispatcher.add_listener("order.placed", resolved(ChargePlainly, open_plainly))
    dispatcher.add_listener("order.placed", adapt(resolved(ChargePlainly, open_plainly)))

    await dispatcher.adispatch("order.placed")

    assert isinstance(log[1], ChargePlainly)


def test_an_awaitable_of_a_plain_class_is_refused() -> None:
    class Returning:
        def __call__(self, event: Any) -> Any:
            return Charge()(event)

    dispatcher = EventDispatcher()
    dispatcher.add_listener("order.placed", resolved(Returning, open_plainly))

    with pytest.raises(TypeError, match="returned something to await, which is not awaited: make the `__call__`"):
        dispatcher.dispatch("order.placed")


async def test_it_returns_the_result_of_its_instance() -> None:
    class Total:
        def __call__(self, event: Any) -> int:
            return 7

    class AsyncTotal:
        async def __call__(self, event: Any) -> int:
            return 7

    assert resolved(Total, open_plainly)(Event()) == 7
    assert await inline(resolved(Total, open_plainly))(Event()) == 7
    assert await resolved(AsyncTotal, open_async)(Event()) == 7


def test_in_a_class_body_it_stays_as_it_is() -> None:
    class Shop:
        charge = resolved(Charge, open_async)

    assert Shop.charge == Shop().charge == resolved(Charge, open_async)


def test_a_plain_context_manager_without_an_instance_is_explained() -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener("order.placed", resolved(ChargePlainly, lambda cls: nullcontext()))  # type: ignore[arg-type,return-value]

    with pytest.raises(TypeError, match=r"an instance of ChargePlainly, which is then called; .* returned None"):
        dispatcher.dispatch("order.placed")


def test_it_equals_another_of_the_same_arguments() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", resolved(Charge, open_async))

    assert resolved(Charge, open_async) == resolved(Charge, open_async)
    assert resolved(Charge, open_async) != resolved(Charge, open_otherwise)
    assert resolved(Charge, open_async) != resolved(Named, open_async)
    dispatcher.remove_listener("order.placed", resolved(Charge, open_async))
    assert not dispatcher.has_listeners()


def test_it_is_shown_under_the_name_of_the_class() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", resolved(Charge, open_async))
    (described,) = dispatcher.describe().listeners

    assert listener_name(resolved(Charge, open_async)) == f"{__name__}.Charge"
    assert (described.name, described.adapter) == ("Charge", "resolved")
    assert described.definition.line == inspect.getsourcelines(Charge)[1]
    assert described.definition.doc == "Charge the card."
    assert repr(resolved(Charge, open_async)) == f"resolved({Charge!r}, {open_async!r})"
    assert list(inspect.signature(resolved(Charge, open_async)).parameters) == ["event"]


async def test_an_instance_receives_the_name() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", named(resolved(Named, open_async)))

    await dispatcher.adispatch("order.placed", object())

    assert log == ["opened", "order.placed", "closed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Charge(), open_async), "resolved() takes a class, and a function that opens an instance of it"),
        ((Event, open_async), "Event has no `__call__`: add `async def __call__(self, event)`"),
        (
            (Charge, None),
            "returns a context manager, such as one that is decorated with @asynccontextmanager; got None",
        ),
        ((Charge, Charge()), "returns a context manager"),
        ((Charge, lambda: Charge()), "which takes (): it is called with (cls)"),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        resolved(*arguments)

    assert message in str(caught.value)


@asynccontextmanager
async def open_nothing(cls: type[Any]) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("opener", "message"),
    [
        (lambda cls: cls(), "returns an async context manager, such as a function that is decorated with @async"),
        (contextmanager(lambda cls: iter([cls()])), "returned <contextlib._GeneratorContextManager"),
        (open_nothing, "returns an instance of Charge, which is then called; <function open_nothing"),
    ],
    ids=["instance", "plain context manager", "nothing"],
)
async def test_a_wrong_context_manager_is_explained_in_the_dispatch(opener: Any, message: str) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", resolved(Charge, opener))

    with pytest.raises(TypeError) as caught:
        await dispatcher.adispatch("order.placed")

    assert message in str(caught.value)


def test_an_async_context_manager_of_a_plain_class_is_explained() -> None:
    opener: Any = open_async
    dispatcher = EventDispatcher()
    dispatcher.add_listener("order.placed", resolved(ChargePlainly, opener))

    with pytest.raises(
        TypeError, match="returns a context manager, such as a function that is decorated with @context"
    ):
        dispatcher.dispatch("order.placed")


def test_a_class_with_another_signature_is_refused() -> None:
    with pytest.raises(TypeError, match=r"register named\(resolved\(Named, \.\.\.\)\)"):
        AsyncEventDispatcher().add_listener("order.placed", resolved(Named, open_async))
