"""Interpreting a scenario with real dispatchers, and writing down its history."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Final

import anyio

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential, Strategy, listens_to
from antiphon._instrumentation.attached import INSTRUMENT_METHODS
from antiphon.testing import Backend
from tests.properties.scenarios import (
    KEYS,
    NAMES,
    Add,
    AddSubscriber,
    CloseBlock,
    CloseScope,
    Dispatch,
    Fail,
    GiftOrderPlaced,
    LookUp,
    OpenBlock,
    OpenScope,
    OrderPlaced,
    Pause,
    Remove,
    RemoveSubscriber,
    Scenario,
    Step,
    Steps,
    Stop,
    Together,
    Unsubscribe,
    Within,
)
from tests.properties.trace import Call, Dispatched, History, Moment, PolicyCall, Registered, Seen, get_leaves

__all__ = ("Boom", "Interpreter", "interpret", "interpret_observed")

#: Listeners may dispatch to each other, and register more and more: what goes beyond these numbers is skipped.
MAX_DEPTH = 3
MAX_DISPATCHES = 25
MAX_LISTENERS = 10
MAX_SUBSCRIBERS = 6

_dispatch: ContextVar[Dispatched] = ContextVar("dispatch")
_last_call: ContextVar[Call | None] = ContextVar("last_call", default=None)


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


EVENTS: Final[dict[str, tuple[type[Any], ...]]] = {
    "plain": (Event, OrderPlaced, GiftOrderPlaced),
    "frozen": (FrozenEvent,),
    "duck": (DuckEvent,),
}


def complete(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


class Listener:
    """A listener. Two of them are equal if they have the same behavior, whatever they were registered for."""

    def __init__(self, interpreter: Interpreter, behavior: int, registration: Registered | None = None) -> None:
        self.interpreter = interpreter
        self.behavior = behavior
        self.registration: Any = registration

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Listener) and self.behavior == other.behavior

    def __hash__(self) -> int:
        return hash(self.behavior)

    def __repr__(self) -> str:
        return f"<behavior {self.behavior} of {self.registration and self.registration.number}>"

    async def __call__(self, event: Any) -> None:
        await self.interpreter.call(self.registration, event)


class SyncListener(Listener):
    def __call__(self, event: Any) -> None:  # type: ignore[override]  # of a sync dispatcher
        complete(self.interpreter.call(self.registration, event))


class Subscriber:
    """Two of them are never equal, and neither are their methods."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self.registrations: list[Registered] = []


#: What the methods of each kind of subscriber are marked with: key, priority, whether once.
MARKS: Final[tuple[tuple[tuple[str, int, bool], ...], ...]] = (
    (("order.placed", 0, False),),
    (("order.*", 1, False), ("order.placed", 0, True), ("Event", -1, False)),
    (("*", 0, True), ("OrderPlaced", 0, False)),
)


def make_subscriber_class(marks: tuple[tuple[str, int, bool], ...], *, sync: bool) -> type[Subscriber]:
    def make_method(number: int, key: str, priority: int, once: bool) -> Any:
        def method(self: Subscriber, event: Any) -> None:
            complete(self.interpreter.call(self.registrations[number], event))

        async def async_method(self: Subscriber, event: Any) -> None:
            await self.interpreter.call(self.registrations[number], event)

        marked: Any = listens_to(KEYS[key], priority=priority, once=once)(method if sync else async_method)
        marked.number = number
        return marked

    return type(
        "Subscriber", (Subscriber,), {f"on_{number}": make_method(number, *mark) for number, mark in enumerate(marks)}
    )


SUBSCRIBERS: Final = {sync: [make_subscriber_class(marks, sync=sync) for marks in MARKS] for sync in (False, True)}


def get_registration(listener: Any) -> Registered:
    """Return the registration that a listener was made for."""
    if isinstance(listener, Listener):
        found: Registered = listener.registration
        return found
    found = listener.__self__.registrations[listener.__func__.number]
    return found


class RecordWriter:
    """An instrument that writes down the records it receives."""

    def __init__(self, history: History) -> None:
        for method in INSTRUMENT_METHODS:
            setattr(self, method, partial(self._write, history, method))

    def _write(self, history: History, method: str, record: Any) -> None:
        history.records.append((method, record))


class Interpreter:
    """Takes the steps of a scenario on two dispatchers and their scopes, with an instrument if it is to be observed."""

    def __init__(self, scenario: Scenario, *, observed: bool = False, dispatchers: list[Any] | None = None) -> None:
        self.scenario = scenario
        self.history = History()
        self.dispatchers: list[Any] = list(dispatchers or self._make_dispatchers())
        if observed:
            writer = RecordWriter(self.history)
            for dispatcher in self.dispatchers:
                dispatcher.add_instrument(writer)
        #: References to what must not be kept when all has been closed: listeners, subscribers and scopes.
        self.references: list[weakref.ref[Any]] = []
        self._index = 0
        # The event that the script dispatched last, and those that `where` rejects.
        self._latest: Any = None
        self._rejected: list[Any] = []
        self._most_dispatches = 0
        self._handles: list[Any] = []
        self._subscribers: list[tuple[Any, list[Registered]]] = []
        self._closed: set[int] = set()
        # For each block where it registers, its registrar, and what it registered; None when it is closed.
        self._blocks: list[tuple[int, Any, list[Registered] | None]] = []

    def _make_dispatchers(self) -> list[Any]:
        names = ("first", "second")
        if self.scenario.sync:
            errors: Any = self._get_policy(self.scenario.default, None)
            return [EventDispatcher(errors=errors, name=name) for name in names]
        strategy = self._make_strategy(self.scenario.default, None)
        return [AsyncEventDispatcher(strategy=strategy, name=name) for name in names]

    # Taking steps

    async def run_script(self) -> None:
        """Take the steps of the script. An error in one step does not skip the next."""
        for step in self.scenario.script:
            await self.run_outermost(step)

    async def run_outermost(self, step: Step) -> None:
        """Take one step of the script."""
        self._most_dispatches = len(self.history.dispatches) + MAX_DISPATCHES
        try:
            await self._run((step,), None, alone=True)
        except Exception as exc:
            if not all(isinstance(leaf, Boom) for leaf in get_leaves(exc)):
                raise

    async def call(self, registration: Registered, event: Any) -> None:
        """Do what a listener does that was called."""
        dispatch = _dispatch.get()
        call = Call(registration, dispatch, event, self._now(), context_before=_last_call.get())
        registration.calls.append(call)
        dispatch.calls.append(call)
        _last_call.set(call)
        self._look(call)
        try:
            if registration.behavior is not None:
                await self._run(self.scenario.behaviors[registration.behavior], call, alone=True)
        except BaseException as exc:
            call.error = exc
            call.cancelled, call.requested = _is_cancelled(exc), _is_requested()
            raise
        finally:
            call.ended = self._now()
            call.context_after = _last_call.get()

    async def _run(self, steps: Steps, call: Call | None, *, alone: bool) -> None:
        for step in steps:
            try:
                await self._run_one(step, call, alone=alone)
            finally:
                if call is not None and alone:
                    self._look(call)

    async def _run_one(self, step: Step, call: Call | None, *, alone: bool) -> None:
        match step:
            case Pause(seconds):
                await anyio.sleep(seconds)
            case Stop():
                self._stop(step, call, alone=alone)
            case Fail():
                raise Boom
            case Dispatch():
                await self._dispatch(step, call, alone=alone)
            case Together(steps):
                async with anyio.create_task_group() as group:
                    for each in steps:
                        group.start_soon(self._run_one_aside, each, call)
            case Within(seconds, steps):
                with anyio.move_on_after(seconds):
                    await self._run(steps, call, alone=alone)
            case _:
                self._change(step)

    async def _run_one_aside(self, step: Step, call: Call | None) -> None:
        await self._run((step,), call, alone=False)

    def _stop(self, step: Stop, call: Call | None, *, alone: bool) -> None:
        # From a task beside the listener, a race sees a stop at once only where the method of `Event` reports it.
        if call is None or not (alone or isinstance(call.event, Event)):
            return
        if call.dispatch.stopped is None:
            call.dispatch.stopped_by, call.dispatch.stopped = call, self._now()
        if step.by_attribute and alone and not isinstance(call.event, FrozenEvent):
            call.event.propagation_stopped = True
        else:
            call.event.stop_propagation()

    # Registering, removing and looking up

    def _change(self, step: Any) -> None:
        match step:
            case Add() if len(self.history.get_own(self._get_place(step)[0], KEYS[step.key])) < MAX_LISTENERS:
                self._add(step)
            case AddSubscriber() if len(self._subscribers) < MAX_SUBSCRIBERS:
                self._add_subscriber(step)
            case Remove(behavior, key, on):
                self._remove(step, behavior, KEYS[key], on % len(self.dispatchers))
            case Unsubscribe(number) if self._handles:
                number %= len(self._handles)
                self._use_handle(step, self._handles[number], [self.history.registrations[number]])
            case RemoveSubscriber(number) if self._subscribers:
                self._use_handle(step, *self._subscribers[number % len(self._subscribers)])
            case OpenScope(parent):
                self._open_scope(step, parent % len(self.dispatchers))
            case CloseScope(number) if len(self.dispatchers) > 2:
                self._close_scope(2 + number % (len(self.dispatchers) - 2))
            case OpenBlock(on):
                on %= len(self.dispatchers)
                self._blocks.append((on, self.dispatchers[on].temporarily().__enter__(), []))
            case CloseBlock(number) if self._blocks:
                self._close_block(number % len(self._blocks))
            case LookUp(name, on, event):
                self._look_up(step, name, on % len(self.dispatchers), self._get_event_class(event))
            case _:
                pass

    def _get_place(self, step: Add | AddSubscriber) -> tuple[int, Any, list[Registered] | None]:
        if step.block is None or not self._blocks:
            on = step.on % len(self.dispatchers)
            return on, self.dispatchers[on], []
        return self._blocks[step.block % len(self._blocks)]

    def _add(self, step: Add) -> None:
        on, registrar, kept = self._get_place(step)
        registration = self._make_registration(0, step.behavior, on, step.key, step.priority, step.once, step.where)
        make = SyncListener if self.scenario.sync else Listener
        registration.listener = make(self, step.behavior, registration)
        self.references.append(weakref.ref(registration.listener))

        def register() -> list[Any]:
            where = self._accepts if step.where else None
            options: dict[str, Any] = {"priority": step.priority, "once": step.once, "where": where}
            return [registrar.add_listener(registration.key, registration.listener, **options)]

        self._register(step, register, [registration], on, kept)

    def _add_subscriber(self, step: AddSubscriber) -> None:
        on, registrar, kept = self._get_place(step)
        kind = step.kind % len(MARKS)
        subscriber = SUBSCRIBERS[self.scenario.sync][kind](self)
        self.references.append(weakref.ref(subscriber))
        registrations = [
            self._make_registration(number, None, on, key, priority, once, False)
            for number, (key, priority, once) in enumerate(MARKS[kind])
        ]
        subscriber.registrations = registrations
        handle = self._register(step, lambda: registrar.add_subscriber(subscriber), registrations, on, kept)
        if handle is not None:
            self._subscribers.append((handle, registrations))

    def _make_registration(
        self, ahead: int, behavior: int | None, on: int, key: str, priority: int, once: bool, where: bool
    ) -> Registered:
        number = len(self.history.registrations) + ahead
        return Registered(number, behavior, on, KEYS[key], priority, once, where, self._now())

    def _register(
        self,
        step: Step,
        register: Callable[[], Any],
        registrations: list[Registered],
        on: int,
        kept: list[Registered] | None,
    ) -> Any:
        try:
            handles = register()
        except RuntimeError:
            self.history.outcomes.append((step, "refused", self._get_expected(on, kept)))
            return None
        self.history.outcomes.append((step, "registered", self._get_expected(on, kept)))
        for registration, handle in zip(registrations, handles, strict=True):
            registration.listener = handle.listener
        self.history.registrations += registrations
        self._handles += handles
        if kept is not None:
            kept += registrations
        return handles

    def _get_expected(self, on: int, kept: list[Registered] | None) -> str:
        return "refused" if on in self._closed or kept is None else "registered"

    def _remove(self, step: Step, behavior: int, key: Any, on: int) -> None:
        equal = [each for each in self.history.get_own(on, key) if each.behavior == behavior]
        try:
            self.dispatchers[on].remove_listener(key, Listener(self, behavior))
        except ValueError:
            self.history.outcomes.append((step, False, bool(equal)))
        else:
            self.history.outcomes.append((step, True, bool(equal)))
        self._mark_removed(equal)

    def _use_handle(self, step: Step, handle: Any, registrations: list[Registered]) -> None:
        was_there = any(each.gone is None for each in registrations)
        self.history.outcomes.append((step, handle.unsubscribe(), was_there))
        self._mark_removed(registrations)

    def _open_scope(self, step: Step, parent: int) -> None:
        expected = "refused" if parent in self._closed else "opened"
        try:
            scoped = self.dispatchers[parent].scope().__enter__()
        except RuntimeError:
            self.history.outcomes.append((step, "refused", expected))
            return
        self.history.outcomes.append((step, "opened", expected))
        self.dispatchers.append(scoped)
        self.history.parents.append(parent)
        self.references.append(weakref.ref(scoped))

    def _close_scope(self, number: int) -> None:
        self.dispatchers[number].__exit__(None, None, None)
        ended = self.history.find_scopes_within(number)
        self._closed |= ended
        self._mark_removed([each for each in self.history.registrations if each.on in ended])

    def _close_block(self, number: int) -> None:
        on, registrar, kept = self._blocks[number]
        registrar.__exit__(None, None, None)
        self._mark_removed(kept or [])
        self._blocks[number] = (on, registrar, None)

    def _mark_removed(self, registrations: list[Registered]) -> None:
        for registration in registrations:
            registration.removed = registration.removed or self._now()

    def _look_up(self, step: Step, name: str | None, on: int, cls: type[Any]) -> None:
        dispatcher = self.dispatchers[on]
        asked = (cls,) if name is None else (KEYS[name], cls)
        expected = self.history.find_listeners(on, None if name is None else KEYS[name], cls)
        found = [get_registration(listener) for listener in dispatcher.get_listeners(*asked)]
        self.history.outcomes.append((step, found, expected))
        self.history.outcomes.append((step, dispatcher.has_listeners(*asked), bool(expected)))

    def check_lookups(self) -> None:
        """Check what all dispatchers say of all names, and of all that is registered."""
        for on, dispatcher in enumerate(self.dispatchers):
            for name in NAMES:
                self._look_up(LookUp(name, on), name, on, Event)
            alive = self.history.get_all(on)
            assert set(dispatcher.get_listeners()) == {each.key for each in alive}
            assert dispatcher.has_listeners() is bool(alive)

    def close(self) -> None:
        """Close what is open, in no particular order, take back what is left, and check that nothing is."""
        for number in (*range(1, len(self._blocks), 2), *range(len(self._blocks))):
            self._close_block(number)
        for number in range(2, len(self.dispatchers)):
            self._close_scope(number)
        for handle in self._handles:
            handle.unsubscribe()
        # The context may outlive this run, whose history it would keep.
        _last_call.set(None)
        for dispatcher in self.dispatchers:
            registry = dispatcher._registry
            assert dispatcher.get_listeners() == {}
            assert not dispatcher.has_listeners()
            assert (registry._buckets, registry._matchers) == ({}, {})
            assert len(registry.cached_plans) <= len(NAMES)
            assert all(not route.plan for by_class in registry.cached_plans.values() for route in by_class.values())

    # Dispatching

    async def _dispatch(self, step: Dispatch, call: Call | None, *, alone: bool) -> None:
        depth = call.dispatch.depth + 1 if call is not None else 0
        if depth > MAX_DEPTH or len(self.history.dispatches) >= self._most_dispatches:
            return
        on = step.on % len(self.dispatchers)
        event = self._get_event(step, call, alone=alone)
        if on in self._closed:
            await self._dispatch_on_closed_scope(step, self.dispatchers[on], event)
            return
        how = self.scenario.default if step.how is None or self.scenario.sync else step.how
        dispatch = Dispatched(
            on=on,
            dispatcher=self.dispatchers[on],
            name=None if step.name is None else KEYS[step.name],
            how=how,
            event=event,
            accepted=self._accepts(event),
            nested=call is not None and event is call.event,
            depth=depth,
            began=self._now(),
            context_before=_last_call.get(),
            within=call,
        )
        self.history.dispatches.append(dispatch)
        arguments = [event] if dispatch.name is None else [dispatch.name, event]
        token = _dispatch.set(dispatch)
        try:
            if self.scenario.sync:
                dispatch.returned = dispatch.dispatcher.dispatch(*arguments)
            else:
                strategy = None if step.how is None else self._make_strategy(step.how, dispatch)
                dispatch.returned = await dispatch.dispatcher.adispatch(*arguments, strategy=strategy)
        except BaseException as exc:
            dispatch.error = exc
            dispatch.cancelled, dispatch.requested = _is_cancelled(exc), _is_requested()
            if not (step.caught and isinstance(exc, Exception)):
                raise
        finally:
            dispatch.ended = self._now()
            dispatch.view_after = self._see(event)
            dispatch.context_after = _last_call.get()
            _dispatch.reset(token)

    async def _dispatch_on_closed_scope(self, step: Dispatch, scoped: Any, event: Any) -> None:
        arguments = [event] if step.name is None else [KEYS[step.name], event]
        outcome = "dispatched"
        try:
            if self.scenario.sync:
                scoped.dispatch(*arguments)
            else:
                await scoped.adispatch(*arguments)
        except RuntimeError:
            outcome = "refused"
        self.history.outcomes.append((step, outcome, "refused"))

    def _get_event(self, step: Dispatch, call: Call | None, *, alone: bool) -> Any:
        if step.again and alone:
            if call is None and self._latest is not None:
                return self._latest
            if call is not None and call.dispatch.is_sequential:
                return call.event
        event = self._get_event_class(step.event)()
        if not step.accepted:
            self._rejected.append(event)
        if call is None:
            self._latest = event
        return event

    def _get_event_class(self, number: int) -> type[Any]:
        classes = EVENTS[self.scenario.event]
        return classes[number % len(classes)]

    def _accepts(self, event: Any) -> bool:
        return all(rejected is not event for rejected in self._rejected)

    def _make_strategy(self, how: Any, dispatch: Dispatched | None) -> Strategy:
        errors: Any = self._get_policy(how, dispatch)
        if how.strategy == "sequential":
            return Sequential(errors=errors)
        if how.strategy == "concurrent":
            return Concurrent(how.limit, errors=errors)
        return Race(errors=errors)

    @staticmethod
    def _get_policy(how: Any, dispatch: Dispatched | None) -> object:
        def handle(error: Exception, event: Any, listener: Any) -> None:
            raised = Boom("from the policy") if how.errors == "replace" else None
            (dispatch or _dispatch.get()).policy_calls.append(PolicyCall(error, event, listener, raised))
            if raised is not None:
                raise raised

        return how.errors if how.errors in ("raise", "collect") else handle

    # Looking

    def _look(self, call: Call) -> None:
        dispatch = call.dispatch
        call.views.append(
            (self._see(call.event), Seen(dispatch.name, dispatch.dispatcher, dispatch.stopped is not None))
        )

    def _see(self, event: Any) -> Seen:
        return Seen(event.name, event.dispatcher, event.propagation_stopped)

    def _now(self) -> Moment:
        self._index += 1
        return Moment(self._index, anyio.current_time())


def _is_cancelled(exc: BaseException) -> bool:
    return any(isinstance(leaf, anyio.get_cancelled_exc_class()) for leaf in get_leaves(exc))


def _is_requested() -> bool:
    return anyio.current_effective_deadline() == -inf


def interpret(scenario: Scenario, backend: Backend, *, observed: bool = False) -> History:
    """Interpret a scenario, close what it opened, and return its history."""
    interpreter = Interpreter(scenario, observed=observed)

    async def main() -> None:
        await interpreter.run_script()
        interpreter.close()

    backend.run(main)
    return interpreter.history


def interpret_observed(scenario: Scenario, backend: Backend) -> History:
    """Interpret a scenario before an instrument, and return its history."""
    return interpret(scenario, backend, observed=True)
