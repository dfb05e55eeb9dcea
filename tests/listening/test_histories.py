"""Random long histories of listening and un-listening in every way, against a model that remembers nothing.

A history is a list of steps. Each is done twice: by the `World`, with the dispatchers, and by the `Model`, which has a
list of all that was ever registered and goes through it anew at every dispatch. A listener may take a step itself.
"""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, listens_to
from antiphon._registry.caches import MAX_CACHED_CLASSES_PER_NAME
from tests.helpers import AnyDispatcher
from tests.listening.reference_model import hears


class OrderPlaced(Event): ...


class Carol(OrderPlaced): ...


CLASSES: list[type[Any]] = [Event, OrderPlaced, Carol]
NAMES: list[Hashable] = ["praise.hymn", "praise.psalm", "other", 7, None]
KEYS: list[Hashable] = [*NAMES[:-1], "praise.*", "*.hymn", "**", "*", Event, OrderPlaced, Carol, object]
PRIORITIES = [0, 1, -1]

#: A listener that takes a step may find itself called by it.
DEEPEST, MOST_CALLS = 3, 300


# Steps; what a number means that is too high for what there is, wraps around.


class Add(NamedTuple):
    """Register a listener, a new one or that of an earlier registration."""

    where: int
    key: int
    priority: int = 0
    once: bool = False
    picky: bool = False
    #: Through which block of `temporarily`, None for none.
    block: int | None = None
    again: int | None = None
    #: What the listener does when it is called.
    action: Any = None


class Subscribe(NamedTuple):
    where: int
    kind: int
    block: int | None = None


class Unsubscribe(NamedTuple):
    registration: int


class Leave(NamedTuple):
    subscriber: int


class Remove(NamedTuple):
    """Remove, by its key, the listener of a registration."""

    registration: int


class OpenScope(NamedTuple):
    parent: int


class EndScope(NamedTuple):
    scope: int


class OpenBlock(NamedTuple):
    where: int


class EndBlock(NamedTuple):
    block: int


class Dispatch(NamedTuple):
    where: int
    name: int
    event_class: int
    accepted: bool = True


Step: TypeAlias = (
    Add | Subscribe | Unsubscribe | Leave | Remove | OpenScope | EndScope | OpenBlock | EndBlock | Dispatch
)

#: What each kind of subscriber is marked with: key, priority, whether once.
MARKS: list[list[tuple[int, int, bool]]] = [
    [(0, 0, False)],
    [(4, 1, False), (0, 0, True), (8, -1, False)],
    [(7, 0, True), (9, 0, False)],
]


# The model


@dataclass
class Registration:
    number: int
    voice: int
    where: int
    key: Hashable
    priority: int
    once: bool
    picky: bool
    action: Step | None
    there: bool = True


@dataclass
class Model:
    """What should happen, recomputed at each step."""

    registrations: list[Registration] = field(default_factory=list)
    parents: list[int | None] = field(default_factory=lambda: [None])
    ended: set[int] = field(default_factory=set)
    #: For each block: where it registers, and what it registered; None when it has ended.
    blocks: list[tuple[int, list[Registration] | None]] = field(default_factory=list)
    subscribers: list[list[Registration]] = field(default_factory=list)
    voices: int = 0
    log: list[Any] = field(default_factory=list)
    depth: int = 0
    calls: int = 0

    def take(self, step: Step) -> None:
        match step:
            case Add():
                self.add(step)
            case Subscribe():
                self.subscribe(step)
            case Unsubscribe(number) if self.registrations:
                self.forget("unsubscribed", self.registrations[number % len(self.registrations)])
            case Leave(number) if self.subscribers:
                self.forget("left", *self.subscribers[number % len(self.subscribers)])
            case Remove(number) if self.registrations:
                self.remove(self.registrations[number % len(self.registrations)])
            case OpenScope(parent):
                self.open_scope(parent % len(self.parents))
            case EndScope(number) if len(self.parents) > 1:
                self.end_scope(1 + number % (len(self.parents) - 1))
            case OpenBlock(where):
                self.blocks.append((where % len(self.parents), []))
            case EndBlock(number) if self.blocks:
                self.end_block(number % len(self.blocks))
            case Dispatch():
                self.dispatch(step)
            case _:
                pass

    def place(self, where: int, block: int | None) -> tuple[int, list[Registration] | None]:
        if block is None or not self.blocks:
            return where % len(self.parents), []
        return self.blocks[block % len(self.blocks)]

    def register(self, where: int, kept: list[Registration], **what: Any) -> Registration:
        registration = Registration(number=len(self.registrations), where=where, **what)
        self.registrations.append(registration)
        kept.append(registration)
        return registration

    def add(self, step: Add) -> None:
        where, kept = self.place(step.where, step.block)
        voice, action = self.voices, step.action
        if step.again is not None and self.registrations:
            same = self.registrations[step.again % len(self.registrations)]
            voice, action = same.voice, same.action
        else:
            self.voices += 1
        if kept is None or where in self.ended:
            self.log.append("refused")
            return
        key, priority = KEYS[step.key % len(KEYS)], PRIORITIES[step.priority % len(PRIORITIES)]
        self.register(
            where, kept, voice=voice, key=key, priority=priority, once=step.once, picky=step.picky, action=action
        )

    def subscribe(self, step: Subscribe) -> None:
        where, kept = self.place(step.where, step.block)
        voice, marks = self.voices, MARKS[step.kind % len(MARKS)]
        self.voices += 1
        if kept is None or where in self.ended:
            self.log.append("refused")
            return
        self.subscribers.append(
            [
                self.register(
                    where, kept, voice=voice, key=KEYS[key], priority=priority, once=once, picky=False, action=None
                )
                for key, priority, once in marks
            ]
        )

    def forget(self, how: str, *registrations: Registration) -> None:
        self.log.append((how, any(registration.there for registration in registrations)))
        for registration in registrations:
            registration.there = False

    def remove(self, wanted: Registration) -> None:
        equal = [
            registration
            for registration in self.registrations
            if (registration.voice, registration.where, registration.key) == (wanted.voice, wanted.where, wanted.key)
        ]
        self.forget("removed", *equal)

    def open_scope(self, parent: int) -> None:
        if parent in self.ended:
            self.log.append("refused")
        else:
            self.parents.append(parent)

    def end_scope(self, number: int) -> None:
        self.ended.add(number)
        for registration in self.registrations:
            registration.there = registration.there and registration.where != number

    def end_block(self, number: int) -> None:
        where, kept = self.blocks[number]
        for registration in kept or ():
            registration.there = False
        self.blocks[number] = (where, None)

    def heard(self, where: int, name: Hashable, event_class: type[Any]) -> list[Registration]:
        chain: list[int] = []
        ancestor: int | None = where
        while ancestor is not None:
            chain.append(ancestor)
            ancestor = self.parents[ancestor]
        heard = [each for each in self.registrations if each.there and each.where in chain]
        heard = [each for each in heard if hears(each.key, name, event_class)]
        return sorted(heard, key=lambda each: (each.priority, each.number))

    def dispatch(self, step: Dispatch) -> None:
        if self.depth >= DEEPEST:
            return
        where, name = step.where % len(self.parents), NAMES[step.name % len(NAMES)]
        event_class = CLASSES[step.event_class % len(CLASSES)]
        heard = self.heard(where, name, event_class)
        if name is not None:
            self.log.append(("would run", [each.voice for each in heard]))
        self.depth += 1
        for registration in heard:
            if registration.there and (step.accepted or not registration.picky):
                registration.there = not registration.once
                self.call(registration, name, where)
        self.depth -= 1

    def call(self, registration: Registration, name: Hashable, where: int) -> None:
        self.log.append(("heard", registration.voice, name, where))
        self.calls += 1
        if registration.action is not None and self.calls < MOST_CALLS:
            self.take(registration.action)


# The world


class Subscriber:
    """Two of them are never equal, and neither are their methods."""

    def __init__(self, hear: Callable[[Any], Any]) -> None:
        self.hear = hear


def subscriber_class(marks: list[tuple[int, int, bool]], *, sync: bool) -> type[Subscriber]:
    class Marked(Subscriber):
        def sing(self, event: Any) -> None:
            self.hear(event)

        async def sing_async(self, event: Any) -> None:
            await self.hear(event)

    method: Any = Marked.sing if sync else Marked.sing_async
    for key, priority, once in reversed(marks):
        method = listens_to(KEYS[key], priority=priority, once=once)(method)
    return Marked


KINDS = {sync: [subscriber_class(marks, sync=sync) for marks in MARKS] for sync in (False, True)}


def now(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


class World:
    """What does happen."""

    def __init__(self, dispatcher: AnyDispatcher) -> None:
        self.sync = isinstance(dispatcher, EventDispatcher)
        self.dispatchers: list[Any] = [dispatcher]
        self.registrations: list[Any] = []
        self.places: list[int] = []
        self.blocks: list[tuple[int, Any]] = []
        self.subscribers: list[Any] = []
        self.voices: list[Any] = []
        #: Which voice a listener is, by its identity; those of subscribers by that of the subscriber.
        self.numbers: dict[int, int] = {}
        self.witnesses: list[weakref.ref[Any]] = []
        self.log: list[Any] = []
        self.depth = 0
        self.calls = 0

    async def take(self, step: Step) -> None:
        match step:
            case Add():
                self.add(step)
            case Subscribe():
                self.subscribe(step)
            case Unsubscribe(number) if self.registrations:
                handle = self.registrations[number % len(self.registrations)]
                self.log.append(("unsubscribed", handle.unsubscribe()))
            case Leave(number) if self.subscribers:
                self.log.append(("left", self.subscribers[number % len(self.subscribers)].unsubscribe()))
            case Remove(number) if self.registrations:
                self.remove(number % len(self.registrations))
            case OpenScope(parent):
                self.open_scope(self.dispatchers[parent % len(self.dispatchers)])
            case EndScope(number) if len(self.dispatchers) > 1:
                self.dispatchers[1 + number % (len(self.dispatchers) - 1)].__exit__(None, None, None)
            case OpenBlock(where):
                where %= len(self.dispatchers)
                self.blocks.append((where, self.dispatchers[where].temporarily().__enter__()))
            case EndBlock(number) if self.blocks:
                self.blocks[number % len(self.blocks)][1].__exit__(None, None, None)
            case Dispatch():
                await self.dispatch(step)
            case _:
                pass

    def place(self, where: int, block: int | None) -> tuple[int, Any]:
        if block is None or not self.blocks:
            where %= len(self.dispatchers)
            return where, self.dispatchers[where]
        return self.blocks[block % len(self.blocks)]

    def add(self, step: Add) -> None:
        where, registrar = self.place(step.where, step.block)
        if step.again is not None and self.registrations:
            listener = self.registrations[step.again % len(self.registrations)].listener
        else:
            listener = self.make_voice(step.action)
        options: dict[str, Any] = {"priority": PRIORITIES[step.priority % len(PRIORITIES)], "once": step.once}
        if step.picky:
            options["where"] = lambda event: event.accepted
        try:
            handle = registrar.add_listener(KEYS[step.key % len(KEYS)], listener, **options)
        except RuntimeError:
            self.log.append("refused")
        else:
            self.registrations.append(handle)
            self.places.append(where)

    def subscribe(self, step: Subscribe) -> None:
        where, registrar = self.place(step.where, step.block)
        number = len(self.voices)
        kind = KINDS[self.sync][step.kind % len(MARKS)]
        subscriber = kind(lambda event: self.heard(number, None, event))
        if self.sync:
            subscriber.hear = lambda event: now(self.heard(number, None, event))
        self.voices.append(subscriber)
        self.numbers[id(subscriber)] = number
        self.witnesses.append(weakref.ref(subscriber))
        try:
            handle = registrar.add_subscriber(subscriber)
        except RuntimeError:
            self.log.append("refused")
        else:
            self.subscribers.append(handle)
            self.registrations.extend(handle)
            self.places.extend([where] * len(handle))

    def remove(self, number: int) -> None:
        registration = self.registrations[number]
        try:
            self.dispatchers[self.places[number]].remove_listener(registration.key, registration.listener)
        except ValueError:
            self.log.append(("removed", False))
        else:
            self.log.append(("removed", True))

    def open_scope(self, parent: AnyDispatcher) -> None:
        try:
            scoped = parent.scope()
        except RuntimeError:
            self.log.append("refused")
        else:
            self.dispatchers.append(scoped.__enter__())

    def make_voice(self, action: Step | None) -> Any:
        number = len(self.voices)

        async def listener(event: Any) -> None:
            await self.heard(number, action, event)

        def sync_listener(event: Any) -> None:
            now(self.heard(number, action, event))

        voice = sync_listener if self.sync else listener
        self.voices.append(voice)
        self.numbers[id(voice)] = number
        self.witnesses.append(weakref.ref(voice))
        return voice

    async def heard(self, number: int, action: Step | None, event: Any) -> None:
        self.log.append(("heard", number, event.name, self.dispatchers.index(event.dispatcher)))
        self.calls += 1
        if action is not None and self.calls < MOST_CALLS:
            await self.take(action)

    async def dispatch(self, step: Dispatch) -> None:
        if self.depth >= DEEPEST:
            return
        dispatcher = self.dispatchers[step.where % len(self.dispatchers)]
        name, event_class = NAMES[step.name % len(NAMES)], CLASSES[step.event_class % len(CLASSES)]
        event = event_class()
        event.accepted = step.accepted
        if name is not None:
            found = dispatcher.get_listeners(name, event_class)
            assert dispatcher.has_listeners(name, event_class) is bool(found)
            self.log.append(("would run", [self.numbers[id(getattr(each, "__self__", each))] for each in found]))
        self.depth += 1
        if self.sync:
            _ = dispatcher.dispatch(event) if name is None else dispatcher.dispatch(name, event)
        else:
            _ = await (dispatcher.adispatch(event) if name is None else dispatcher.adispatch(name, event))
        self.depth -= 1

    def leave_nothing(self) -> None:
        """End what is still open, in no particular order, and take back what is left."""
        for number, (_, block) in enumerate(self.blocks):
            if number % 2:
                block.__exit__(None, None, None)
        for scoped in self.dispatchers[1:]:
            scoped.__exit__(None, None, None)
        for _, block in self.blocks:
            block.__exit__(None, None, None)
        for handle in self.registrations:
            handle.unsubscribe()


def check_that_nothing_is_left(world: World) -> None:
    for dispatcher in world.dispatchers:
        registry = dispatcher._registry
        assert dispatcher.get_listeners() == {}
        assert not dispatcher.has_listeners()
        assert (registry._buckets, registry._matchers) == ({}, {})
        assert all(not route.plan for by_class in registry.cached_plans.values() for route in by_class.values())
        assert len(registry.cached_plans) <= len(NAMES)
        assert all(len(by_class) < MAX_CACHED_CLASSES_PER_NAME for by_class in registry.cached_plans.values())


# Histories

numbers = st.integers(0, 9)
sometimes = st.none() | numbers
dispatches = st.builds(Dispatch, numbers, numbers, numbers, st.booleans())
removals = st.one_of(
    st.builds(Unsubscribe, numbers), st.builds(Remove, numbers), st.builds(Leave, numbers), st.builds(EndBlock, numbers)
)
additions = st.builds(Add, numbers, numbers, numbers, st.booleans(), st.booleans(), sometimes, sometimes, st.none())
actions = st.one_of(dispatches, removals, additions, st.builds(EndScope, numbers), st.builds(OpenScope, numbers))
steps: st.SearchStrategy[Any] = st.one_of(
    st.builds(
        Add,
        numbers,
        st.integers(0, 11),
        numbers,
        st.booleans(),
        st.booleans(),
        sometimes,
        sometimes,
        st.none() | actions,
    ),
    additions,
    dispatches,
    dispatches,
    removals,
    st.builds(Subscribe, numbers, numbers, sometimes),
    st.builds(OpenScope, numbers),
    st.builds(EndScope, numbers),
    st.builds(OpenBlock, numbers),
)
histories = st.lists(steps, min_size=5, max_size=40)


async def perform(dispatcher: AnyDispatcher, history: list[Any]) -> World:
    model, world = Model(), World(dispatcher)
    for step in history:
        model.take(step)
        await world.take(step)
        assert world.log == model.log, f"after {step}"
    world.leave_nothing()
    check_that_nothing_is_left(world)
    return world


@given(histories)
async def test_who_hears_is_who_a_naive_model_says(history: list[Any]) -> None:
    await perform(AsyncEventDispatcher(), history)


@given(histories)
def test_who_hears_is_who_a_naive_model_says_without_an_event_loop(history: list[Any]) -> None:
    now(perform_sync(history))


async def perform_sync(history: list[Any]) -> None:
    await perform(EventDispatcher(), history)


@pytest.mark.parametrize("strategy", [Concurrent(), Concurrent(limit=2), Race()], ids=repr)
@settings(max_examples=30)
@given(history=histories)
async def test_who_hears_together_is_who_a_naive_model_says(strategy: Any, history: list[Any]) -> None:
    model, world = Model(), World(AsyncEventDispatcher(strategy=strategy))
    for step in history:
        # Together nobody knows who comes first: a listener that changes something would change it for some.
        step = step._replace(action=None) if isinstance(step, Add) else step
        model.log.clear()
        world.log.clear()
        model.take(step)
        await world.take(step)
        assert sorted(world.log, key=repr) == sorted(model.log, key=repr), f"after {step}"
    world.leave_nothing()
    check_that_nothing_is_left(world)


# What is left behind


@pytest.fixture
def frozen_garbage() -> None:
    """Let the collector look at nothing but what a test makes."""
    gc.collect()
    gc.freeze()


def long_history(seed: int, length: int) -> list[Any]:
    dice = random.Random(seed)

    def number() -> int:
        return dice.randrange(10_000)

    def maybe() -> int | None:
        return number() if dice.random() < 0.3 else None

    def add(action: Any = None) -> Add:
        return Add(number(), number(), number(), dice.random() < 0.5, dice.random() < 0.3, maybe(), maybe(), action)

    makers: list[tuple[int, Callable[[], Any]]] = [
        (3, add),
        (2, lambda: add(dice.choice([Unsubscribe(number()), Remove(number()), add(), Leave(number())]))),
        (5, lambda: Dispatch(number(), number(), number(), dice.random() < 0.8)),
        (4, lambda: dice.choice([Unsubscribe(number()), Remove(number()), Leave(number()), EndBlock(number())])),
        (1, lambda: Subscribe(number(), number(), maybe())),
        (1, lambda: dice.choice([OpenScope(number()), EndScope(number()), OpenBlock(number())])),
    ]
    weights = [weight for weight, _ in makers]
    return [dice.choices(makers, weights)[0][1]() for _ in range(length)]


@pytest.mark.parametrize("seed", range(4))
async def test_a_long_history_leaves_no_listener_no_task_and_no_reference(
    dispatcher: AnyDispatcher, seed: int, frozen_garbage: None
) -> None:
    tasks = len(anyio.get_running_tasks())

    world = await perform(dispatcher, long_history(seed, 400))
    witnesses = [*world.witnesses, *(weakref.ref(scoped) for scoped in world.dispatchers[1:])]
    heard = sum(entry[0] == "heard" for entry in world.log)
    del world
    gc.collect()

    assert heard > 50
    assert [witness() for witness in witnesses if witness() is not None] == []
    assert len(anyio.get_running_tasks()) == tasks


async def test_the_memory_of_a_dispatcher_does_not_grow_with_its_history(
    dispatcher: AnyDispatcher, frozen_garbage: None
) -> None:
    sizes: list[int] = []

    for seed in range(4):
        await perform(dispatcher, long_history(seed, 150))
        gc.collect()
        sizes.append(len(gc.get_objects()))

    assert sizes[-1] <= sizes[0] + 50
