"""What a dispatch does with the event."""

from __future__ import annotations

from typing import Any

from antiphon import Event
from tests.cancellation.tasks import left_by
from tests.guarantees.checking import ALL, IN_TURN, NAME, TOGETHER, Subject, Waiting, check, failing, stop


@check("same-event", *ALL)
async def _(subject: Subject) -> None:
    event, dispatcher = Event(), subject.of(lambda event: Event())
    assert await subject.dispatch(dispatcher, NAME, event) is event
    assert await subject.dispatch(dispatcher, event) is event


@check("event-attributes", *ALL)
async def _(subject: Subject) -> None:
    seen: list[Any] = []
    dispatcher = subject.of(lambda event: seen.append((event.name, event.dispatcher)))
    event = await subject.dispatch(dispatcher, NAME, Event())
    assert seen == [(NAME, dispatcher)] == [(event.name, event.dispatcher)]


@check("nested", *IN_TURN)
async def _(subject: Subject) -> None:
    log: list[Any] = []
    outer, inner = subject.dispatcher(), subject.dispatcher()

    def look(event: Event) -> None:
        log.append((event.name, event.dispatcher, event.propagation_stopped))

    inner.add_listener("inner", look)
    inner.add_listener("inner", stop)
    outer.add_listener("outer", lambda event: subject.dispatching(inner)("inner", event))
    outer.add_listener("outer", look)
    await subject.dispatch(outer, "outer")
    assert log == [("inner", inner, False), ("outer", outer, False)]

    # Also when the inner dispatch ends badly.
    log.clear()
    inner.add_listener("fails", failing(ValueError()))

    def dispatch_and_go_on(event: Event) -> Any:
        if subject.column != "sync":
            return left_by(lambda: inner.adispatch("fails", event))
        try:
            inner.dispatch("fails", event)
        except ValueError:
            return None

    outer.add_listener("badly", dispatch_and_go_on)
    outer.add_listener("badly", look)
    await subject.dispatch(outer, "badly")
    assert log == [("badly", outer, False)]


@check("nested", *TOGETHER)
async def _(subject: Subject) -> None:
    log: list[Any] = []
    dispatcher, inside = subject.dispatcher(), Waiting()
    dispatcher.add_listener("inner", inside)

    @dispatcher.listen("outer")
    async def dispatches_again(event: Event) -> None:
        await dispatcher.adispatch("inner", event)
        log.append((inside.ended, event.name))

    @dispatcher.listen("outer")
    async def beside(event: Event) -> None:
        await inside.started.wait()
        log.append(("beside", event.name))
        inside.released.set()

    await subject.dispatch(dispatcher, "outer")
    assert log == [("beside", "inner"), ("finished", "outer")]


@check("nobody", *ALL)
async def _(subject: Subject) -> None:
    event = Event()
    assert await subject.dispatch(subject.dispatcher(), NAME, event) is event
    assert not event.propagation_stopped


class Slotted:
    __slots__ = ("order",)


@check("bare", *ALL)
async def _(subject: Subject) -> None:
    calls, event = list[Any](), Slotted()
    dispatcher = subject.of(
        calls.append,
        lambda event: hasattr(event, "stop_propagation") and event.stop_propagation(),
        later=calls.append,
    )
    assert await subject.dispatch(dispatcher, NAME, event) is event
    assert calls == [event, event]
    assert not any(hasattr(event, attribute) for attribute in ("name", "dispatcher", "propagation_stopped"))
