"""Performing a program on real dispatchers, and writing down its history."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import anyio

from antiphon import AsyncEventDispatcher, Concurrent, Event, Race, Sequential, Strategy
from antiphon._instrumentation.attached import INSTRUMENT_METHODS
from antiphon.testing import Backend
from tests.properties.scenarios import (
    Add,
    Dispatch,
    Fail,
    Pause,
    Program,
    Remove,
    Step,
    Steps,
    Stop,
    Together,
    Unsubscribe,
    Within,
)
from tests.properties.trace import Call, Dispatched, History, Moment, Registered, Told, View, leaves

__all__ = ("Boom", "Performer", "Voice", "perform", "perform_observed")

#: Voices may dispatch to each other, and register more and more: what goes beyond these numbers is skipped.
MAX_DEPTH = 3
MAX_DISPATCHES = 25
MAX_LISTENERS = 10

_dispatch: ContextVar[Dispatched] = ContextVar("dispatch")
_mark: ContextVar[Call | None] = ContextVar("mark", default=None)


class Boom(Exception):
    """What listeners raise, and policies too."""


@dataclass(frozen=True)
class FrozenEvent(Event):
    """An event that refuses plain assignments."""


class DuckEvent:
    """An event by its looks alone."""

    name: Any = None
    dispatcher: Any = None
    propagation_stopped = False

    def stop_propagation(self) -> None:
        """Stop the dispatch."""
        self.propagation_stopped = True


EVENTS: dict[str, Callable[[], Any]] = {"plain": Event, "frozen": FrozenEvent, "duck": DuckEvent}


class Voice:
    """A listener. Two of them are equal if they do the same, whatever they were registered for."""

    def __init__(self, performer: Performer, number: int, registration: Registered | None = None) -> None:
        self.performer = performer
        self.number = number
        self.registration = registration

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Voice) and self.number == other.number

    def __hash__(self) -> int:
        return hash(self.number)

    def __repr__(self) -> str:
        return f"<voice {self.number} of {self.registration and self.registration.number}>"

    async def __call__(self, event: Any) -> None:
        assert self.registration is not None
        await self.performer.called(self.registration, event)


class Writer:
    """An instrument that writes down what it is told."""

    def __init__(self, history: History) -> None:
        for method in INSTRUMENT_METHODS:
            setattr(self, method, partial(self._write, history, method))

    def _write(self, history: History, method: str, record: Any) -> None:
        history.told.append((method, record))


class Performer:
    """Performs the steps of a program on two dispatchers, with an instrument if it is to be observed."""

    def __init__(self, program: Program, *, observed: bool = False) -> None:
        self.program = program
        self.history = History()
        strategy = self._strategy(program.default, None)
        self.dispatchers = [AsyncEventDispatcher(strategy=strategy, name=name) for name in ("first", "second")]
        if observed:
            writer = Writer(self.history)
            for dispatcher in self.dispatchers:
                dispatcher.add_instrument(writer)
        self._index = 0
        # The event that the script dispatched last.
        self._latest: Any = None
        self._most_dispatches = 0
        self._handles: list[Any] = []

    async def script(self) -> None:
        """Take the steps of the script. An error of one is no reason to skip the next."""
        for step in self.program.script:
            await self.outermost(step)

    async def outermost(self, step: Step) -> None:
        """Take one step of the script."""
        self._most_dispatches = len(self.history.dispatches) + MAX_DISPATCHES
        try:
            await self._take((step,), None, alone=True)
        except Exception as exc:
            if not all(isinstance(leaf, Boom) for leaf in leaves(exc)):
                raise

    async def called(self, registration: Registered, event: Any) -> None:
        """Be a listener that was called."""
        dispatch = _dispatch.get()
        call = Call(registration, dispatch, event, self._now(), context_before=_mark.get())
        registration.calls.append(call)
        dispatch.calls.append(call)
        _mark.set(call)
        self._look(call)
        try:
            await self._take(self.program.voices[registration.voice], call, alone=True)
        except BaseException as exc:
            call.error = exc
            call.cancelled, call.asked = _is_cancelled(exc), _is_asked()
            raise
        finally:
            call.ended = self._now()
            call.context_after = _mark.get()

    async def _take(self, steps: Steps, call: Call | None, *, alone: bool) -> None:
        for step in steps:
            try:
                await self._take_one(step, call, alone=alone)
            finally:
                if call is not None and alone:
                    self._look(call)

    async def _take_one(self, step: Step, call: Call | None, *, alone: bool) -> None:
        match step:
            case Pause(seconds):
                await anyio.sleep(seconds)
            case Stop():
                self._stop(step, call, alone=alone)
            case Fail():
                raise Boom
            case Add():
                self._add(step)
            case Remove():
                self._remove(step)
            case Unsubscribe():
                self._unsubscribe(step)
            case Dispatch():
                await self._dispatch(step, call, alone=alone)
            case Together(steps):
                async with anyio.create_task_group() as group:
                    for each in steps:
                        group.start_soon(self._take_one_aside, each, call)
            case Within(seconds, steps):
                with anyio.move_on_after(seconds):
                    await self._take(steps, call, alone=alone)

    async def _take_one_aside(self, step: Step, call: Call | None) -> None:
        await self._take((step,), call, alone=False)

    def _stop(self, step: Stop, call: Call | None, *, alone: bool) -> None:
        # From a task beside the listener, a race sees a stop at once only where the method of `Event` tells of it.
        if call is None or not (alone or isinstance(call.event, Event)):
            return
        if call.dispatch.stopped is None:
            call.dispatch.stopped_by, call.dispatch.stopped = call, self._now()
        if step.by_attribute and alone and not isinstance(call.event, FrozenEvent):
            call.event.propagation_stopped = True
        else:
            call.event.stop_propagation()

    def _add(self, step: Add) -> None:
        if len(self.history.alive(step.dispatcher, step.name)) >= MAX_LISTENERS:
            return
        number = len(self.history.registrations)
        registration = Registered(number, step.voice, step.dispatcher, step.name, step.priority, step.once, self._now())
        registration.listener = Voice(self, step.voice, registration)
        self.history.registrations.append(registration)
        dispatcher = self.dispatchers[step.dispatcher]
        self._handles.append(
            dispatcher.add_listener(step.name, registration.listener, priority=step.priority, once=step.once)
        )

    def _remove(self, step: Remove) -> None:
        alive = self.history.alive(step.dispatcher, step.name)
        removed = [registration for registration in alive if registration.voice == step.voice]
        try:
            self.dispatchers[step.dispatcher].remove_listener(step.name, Voice(self, step.voice))
        except ValueError:
            self.history.removals.append((False, bool(removed)))
        else:
            self.history.removals.append((True, bool(removed)))
        for registration in removed:
            registration.removed = self._now()

    def _unsubscribe(self, step: Unsubscribe) -> None:
        if not self._handles:
            return
        number = step.registration % len(self._handles)
        registration = self.history.registrations[number]
        self.history.removals.append((self._handles[number].unsubscribe(), registration.gone is None))
        registration.removed = registration.removed or self._now()

    async def _dispatch(self, step: Dispatch, call: Call | None, *, alone: bool) -> None:
        depth = call.dispatch.depth + 1 if call is not None else 0
        if depth > MAX_DEPTH or len(self.history.dispatches) >= self._most_dispatches:
            return
        event = self._event_of(step, call, alone=alone)
        nested = call is not None and event is call.event
        how = step.how or self.program.default
        dispatch = Dispatched(
            step.dispatcher, step.name, how, event, nested, depth, self._now(), context_before=_mark.get(), within=call
        )
        self.history.dispatches.append(dispatch)
        strategy = None if step.how is None else self._strategy(step.how, dispatch)
        token = _dispatch.set(dispatch)
        try:
            dispatch.returned = await self.dispatchers[step.dispatcher].adispatch(step.name, event, strategy=strategy)
        except BaseException as exc:
            dispatch.error = exc
            dispatch.cancelled, dispatch.asked = _is_cancelled(exc), _is_asked()
            if not (step.caught and isinstance(exc, Exception)):
                raise
        finally:
            dispatch.ended = self._now()
            dispatch.view_after = self._view(event)
            dispatch.context_after = _mark.get()
            _dispatch.reset(token)

    def _event_of(self, step: Dispatch, call: Call | None, *, alone: bool) -> Any:
        if step.again and alone:
            if call is None and self._latest is not None:
                return self._latest
            if call is not None and call.dispatch.sequential:
                return call.event
        event = EVENTS[self.program.event]()
        if call is None:
            self._latest = event
        return event

    def _strategy(self, how: Any, dispatch: Dispatched | None) -> Strategy:
        def tell(error: Exception, event: Any, listener: Any) -> None:
            raised = Boom("from the policy") if how.errors == "tell and raise" else None
            (dispatch or _dispatch.get()).told.append(Told(error, event, listener, raised))
            if raised is not None:
                raise raised

        errors: Any = how.errors if how.errors in ("raise", "collect") else tell
        if how.strategy == "sequential":
            return Sequential(errors=errors)
        if how.strategy == "concurrent":
            return Concurrent(how.limit, errors=errors)
        return Race(errors=errors)

    def _look(self, call: Call) -> None:
        dispatch = call.dispatch
        expected = View(dispatch.name, self.dispatchers[dispatch.dispatcher], dispatch.stopped is not None)
        call.views.append((self._view(call.event), expected))

    def _view(self, event: Any) -> View:
        return View(event.name, event.dispatcher, event.propagation_stopped)

    def _now(self) -> Moment:
        self._index += 1
        return Moment(self._index, anyio.current_time())


def _is_cancelled(exc: BaseException) -> bool:
    return any(isinstance(leaf, anyio.get_cancelled_exc_class()) for leaf in leaves(exc))


def _is_asked() -> bool:
    return anyio.current_effective_deadline() == -inf


def perform(program: Program, backend: Backend) -> History:
    """Perform a program, and give its history."""
    performer = Performer(program)
    backend.run(performer.script)
    return performer.history


def perform_observed(program: Program, backend: Backend) -> History:
    """Perform a program before an instrument, and give its history."""
    performer = Performer(program, observed=True)
    backend.run(performer.script)
    return performer.history
