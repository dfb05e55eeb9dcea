"""`listener_name`: one name of a listener for notes, logs, diagrams, the recorder and error policies."""

from __future__ import annotations

import functools
import traceback
from functools import partial
from types import MethodType
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from antiphon import (
    AsyncEventDispatcher,
    EventDispatcher,
    Sequential,
    in_thread,
    inline,
    listener_name,
)
from antiphon.instruments.timeline._labels import listener_label as label_in_timeline
from antiphon.testing import record
from antiphon.testing._transcript import listener_label as label_in_recorder
from tests.cancellation.listeners import Make, every_strategy
from tests.cancellation.tasks import leaves, left_by


async def charge(event: Any) -> None:
    raise ValueError("no such card")


def charge_plainly(event: Any) -> None:
    raise ValueError("no such card")


def through_a_wrapper(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(event: Any) -> Any:
        return function(event)

    return wrapper


class Stock:
    async def reserve(self, event: Any) -> None:
        raise ValueError("sold out")

    @classmethod
    async def count(cls, event: Any) -> None:
        raise ValueError("sold out")

    @staticmethod
    async def order(event: Any) -> None:
        raise ValueError("sold out")

    async def __call__(self, event: Any) -> None:
        raise ValueError("sold out")


class Warehouse(Stock): ...


class Labelled(Stock):
    def __repr__(self) -> str:
        return "the stock of books"


class WithoutRepr(Stock):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class WithoutAttributes(Stock):
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no attributes")


class WithAddress(Stock):
    def __repr__(self) -> str:
        return f"<books at {hex(id(self))}>"


class Retrying:
    """An object around a function, such as those of decorators that are classes."""

    def __init__(self, function: Any) -> None:
        self.function = function
        functools.update_wrapper(self, function)

    async def __call__(self, event: Any) -> Any:
        return await self.function(event)


class Renamed(Retrying):
    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self.__qualname__ = "renamed"


class OnlyWrapped:
    """An object that has `__wrapped__`, and no other attribute of a function."""

    def __init__(self, function: Any) -> None:
        self.__wrapped__ = function

    async def __call__(self, event: Any) -> Any:
        return await self.__wrapped__(event)


class EndlesslyWrapped(Stock):
    @property
    def __wrapped__(self) -> Any:
        return type(self)()


@functools.wraps(Warehouse().reserve)
async def through_a_method(event: Any) -> None:
    await Stock().reserve(event)


HERE = __name__

NAMES = [
    (Retrying(charge), "charge"),
    (Retrying(partial(charge)), "charge"),
    (Retrying(Retrying(Warehouse().reserve)), "Warehouse.reserve"),
    (Renamed(charge), "renamed"),
    (OnlyWrapped(charge), "charge"),
    (OnlyWrapped(Stock()), "Stock"),
    (through_a_method, "Warehouse.reserve"),
    (EndlesslyWrapped(), "EndlesslyWrapped"),
    (charge, "charge"),
    (inline(charge_plainly), "charge_plainly"),
    (in_thread(charge_plainly), "charge_plainly"),
    (inline(partial(charge_plainly)), "charge_plainly"),
    (partial(charge), "charge"),
    (partial(partial(Stock().reserve)), "Stock.reserve"),
    (inline(through_a_wrapper(charge)), "charge"),
    (Stock().reserve, "Stock.reserve"),
    (Warehouse().reserve, "Warehouse.reserve"),
    (Warehouse.count, "Warehouse.count"),
    (Stock.order, "Stock.order"),
    (Stock(), "Stock"),
    (WithoutRepr(), "WithoutRepr"),
    (WithoutAttributes(), "WithoutAttributes"),
]
LISTENERS = [pytest.param(listener, name, id=f"{number} {name}") for number, (listener, name) in enumerate(NAMES)]


@pytest.mark.parametrize(("listener", "name"), LISTENERS)
def test_a_listener_has_the_name_of_what_it_calls(listener: Any, name: str) -> None:
    assert listener_name(listener) == f"{HERE}.{name}"


class Named(Stock):
    listener_name = "stock of books"


class NamedByProperty(Stock):
    @property
    def listener_name(self) -> str:
        return "stock of books"


async def named_function(event: Any) -> None:
    raise ValueError("sold out")


named_function.listener_name = "stock of books"  # type: ignore[attr-defined]

named_partial = partial(charge)
named_partial.listener_name = "stock of books"  # type: ignore[attr-defined]

OWN_NAMES = {
    "attribute": Named(),
    "property": NamedByProperty(),
    "function": named_function,
    "wrapped function": through_a_wrapper(named_function),
    "partial": named_partial,
    "partial of a named object": partial(Named()),
    "adapter": inline(Named()),
    "wrapping object": OnlyWrapped(Named()),
}
every_own_name = pytest.mark.parametrize("listener", OWN_NAMES.values(), ids=OWN_NAMES.keys())


@every_own_name
async def test_a_listener_that_names_itself_has_that_name_everywhere(listener: Any) -> None:
    dispatcher, names = AsyncEventDispatcher(sync_listeners="inline"), list[str]()
    dispatcher.add_listener("order.placed", listener)

    with record(dispatcher) as recorded:
        error = await left_by(lambda: dispatcher.adispatch("order.placed"))
    note_it = Sequential(errors=lambda exc, event, listener: names.append(listener_name(listener)))
    await dispatcher.adispatch("order.placed", strategy=note_it)
    (described,) = dispatcher.describe().listeners

    assert listener_name(listener) == "stock of books"
    assert "in listener stock of books, while" in notes(error)[0]
    assert [call.listener_name for call in recorded.calls] == names == ["stock of books"]
    assert {described.name, label_in_timeline(listener), label_in_recorder(listener)} <= {
        "stock of books",
        "stock of books()",
    }
    assert described.definition.file


@pytest.mark.parametrize("label", ["", 7, None, b"charge"], ids=repr)
def test_a_name_that_is_not_a_text_is_not_used(label: Any) -> None:
    listener = type("Charge", (Stock,), {"listener_name": property(lambda _: label)})()

    assert listener_name(listener) == f"{HERE}.Charge"


@pytest.mark.parametrize(
    ("listener", "name"),
    [
        pytest.param(Labelled(), "the stock of books", id="its own label"),
        pytest.param(inline(Labelled()), "the stock of books", id="the label of what it calls"),
        pytest.param(AsyncMock(), "unittest.mock.AsyncMock", id="a mock"),
        pytest.param(inline(MagicMock(name="charge")), "<MagicMock name='charge'>", id="a mock with a name"),
    ],
)
def test_a_label_belongs_to_no_module(listener: Any, name: str) -> None:
    assert listener_name(listener) == name


def test_a_label_has_no_address_in_it() -> None:
    assert listener_name(WithAddress()) == "<books>"


def test_a_method_of_a_nameless_object_has_its_name() -> None:
    assert listener_name(MethodType(partial(charge), Stock())) == f"{HERE}.charge"


def test_a_builtin_is_called_with_its_module() -> None:
    assert listener_name(inline(print)) == "builtins.print"


def test_a_function_in_a_function_keeps_its_qualified_name() -> None:
    def local(event: Any) -> None: ...

    assert listener_name(inline(local)) == f"{HERE}.{local.__qualname__}"


@pytest.mark.parametrize(("listener", "name"), LISTENERS)
def test_diagrams_and_timelines_omit_the_module(listener: Any, name: str) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", listener)
    (described,) = dispatcher.describe().listeners

    # Diagrams and timelines add the arguments of a partial.
    in_diagrams = described.name.removesuffix("()")
    in_timeline = label_in_timeline(listener).removesuffix("()")

    assert (in_diagrams, in_timeline, label_in_recorder(listener)) == (name, name, name)


@pytest.mark.parametrize(("listener", "name"), LISTENERS)
async def test_notes_records_and_policies_use_one_name(listener: Any, name: str) -> None:
    dispatcher, names = AsyncEventDispatcher(), list[str]()
    dispatcher.add_listener("order.placed", listener)

    with record(dispatcher) as recorded:
        error = await left_by(lambda: dispatcher.adispatch("order.placed"))
    note_it = Sequential(errors=lambda exc, event, listener: names.append(listener_name(listener)))
    await dispatcher.adispatch("order.placed", strategy=note_it)

    assert f"in listener {HERE}.{name}, while" in notes(error)[0]
    assert [call.listener_name for call in recorded.calls] == [f"{HERE}.{name}"]
    assert names == [f"{HERE}.{name}"]


# An error policy that raises


def notes(error: BaseException | None) -> list[str]:
    return getattr(error, "__notes__", [])


def crash(exc: Exception, event: Any, listener: Any) -> None:
    # What the docs once showed: an adapter has no such name.
    listener.__name__


def check_crash(error: BaseException) -> None:
    assert isinstance(error, AttributeError)
    original = error.__context__
    assert isinstance(original, ValueError)
    (of_policy,), (of_listener,) = notes(error), notes(original)
    assert of_policy == (
        f"antiphon: raised by the error policy {HERE}.crash, which handled an error raised in listener {HERE}.charge_plainly, "
        f"while <{of_policy.partition('<')[2].partition('>')[0]}> dispatched 'order.placed' (Event)"
    )
    assert of_listener.startswith(f"antiphon: raised in listener {HERE}.charge_plainly, while")


@every_strategy
async def test_a_policy_error_does_not_blame_the_listener(make: Make) -> None:
    dispatcher = AsyncEventDispatcher(name="shop")
    dispatcher.add_listener("order.placed", inline(charge_plainly))

    left = await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make(errors=crash)))

    (error,) = leaves(left)
    check_crash(error)
    assert "no such card" in "".join(traceback.format_exception(left))


def test_a_sync_policy_error_does_not_blame_the_listener() -> None:
    dispatcher = EventDispatcher(errors=crash, name="shop")
    dispatcher.add_listener("order.placed", partial(charge_plainly))

    with pytest.raises(AttributeError) as caught:
        dispatcher.dispatch("order.placed")

    check_crash(caught.value)
    assert "no such card" in "".join(traceback.format_exception(caught.value))


def test_a_sync_policy_error_keeps_its_cause() -> None:
    cause = KeyError("the log")

    def refuse(exc: Exception, event: Any, listener: Any) -> None:
        raise LookupError from cause

    dispatcher = EventDispatcher(errors=refuse)
    dispatcher.add_listener("order.placed", charge_plainly)

    with pytest.raises(LookupError) as caught:
        dispatcher.dispatch("order.placed")

    assert caught.value.__cause__ is cause


@every_strategy
async def test_a_policy_that_raises_again_keeps_the_note(make: Make) -> None:
    def raise_again(exc: Exception, event: Any, listener: Any) -> None:
        raise exc

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", charge)

    (error,) = leaves(await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make(errors=raise_again))))

    (note,) = notes(error)
    assert note.startswith(f"antiphon: raised in listener {HERE}.charge, while")


def make_labelled(text: str) -> Any:
    async def decline(event: Any) -> None:
        raise ValueError("declined")

    vars(decline)["listener_name"] = text
    return decline


def make_represented(text: str) -> Any:
    class Declining:
        def __repr__(self) -> str:
            return text

        async def __call__(self, event: Any) -> None:
            raise ValueError("declined")

    return Declining()


@pytest.mark.parametrize("make", [make_labelled, make_represented], ids=["label", "repr"])
@pytest.mark.parametrize("odd", ["confirm\nERROR forged", "\ud800", "\x1b[2J", "\u202emrifnoc"], ids=ascii)
async def test_a_name_is_one_printable_line(make: Any, odd: str, caplog: pytest.LogCaptureFixture) -> None:
    """Otherwise a label with a line break forges a line of a log, and a log with a surrogate cannot be stored."""
    listener = make(odd)
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", listener)

    with pytest.raises(ValueError, match="declined") as raised:
        await dispatcher.adispatch("order.placed")
    await dispatcher.adispatch("order.placed", strategy=Sequential(errors="log"))

    assert listener_name(listener) == ascii(odd)[1:-1]
    assert all(text.isprintable() for text in (*raised.value.__notes__, caplog.records[-1].getMessage()))
