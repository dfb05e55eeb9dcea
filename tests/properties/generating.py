"""Hypothesis strategies that make scenarios."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.properties.scenarios import (
    KEYS,
    NAMES,
    Add,
    AddSubscriber,
    CloseBlock,
    CloseScope,
    Dispatch,
    Fail,
    How,
    LookUp,
    OpenBlock,
    OpenScope,
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

__all__ = (
    "BEHAVIORS",
    "behaviors",
    "changes",
    "dispatches",
    "hows",
    "nested_scenarios",
    "ordered_scenarios",
    "registration_scenarios",
    "scenarios",
    "steps",
)

#: How many different behaviors a scenario has.
BEHAVIORS = 4

_number = st.integers(0, 9)
_behavior = st.integers(0, BEHAVIORS - 1)
_sometimes = st.sampled_from([False, False, True])
_maybe_block = st.none() | st.none() | _number
_priority = st.integers(-1, 1)

hows: st.SearchStrategy[How] = st.builds(
    How,
    strategy=st.sampled_from(["sequential", "sequential", "concurrent", "race"]),
    errors=st.sampled_from(["raise", "raise", "collect", "handle", "replace"]),
    limit=st.sampled_from([None, 1, 2]),
)


# The steps are made for one name and few dispatchers, so that listeners meet, or for all keys and any dispatcher.


def _some(step: st.SearchStrategy[Any], most: int, least: int = 0) -> st.SearchStrategy[Steps]:
    return st.lists(step, min_size=least, max_size=most).map(tuple)


def _adds(keys: Any, on: Any) -> st.SearchStrategy[Add]:
    return st.builds(
        Add,
        behavior=_behavior,
        key=keys,
        priority=_priority,
        once=_sometimes,
        where=_sometimes,
        on=on,
        block=_maybe_block,
    )


def _dispatches(names: Any, on: Any, how: Any) -> st.SearchStrategy[Dispatch]:
    return st.builds(
        Dispatch,
        name=names,
        how=how,
        again=st.sampled_from([False, True, True]),
        caught=st.booleans(),
        on=on,
        event=st.integers(0, 2),
        accepted=st.sampled_from([True, True, False]),
    )


def _removals(keys: Any, on: Any) -> st.SearchStrategy[Step]:
    return st.one_of(
        st.builds(Remove, behavior=_behavior, key=keys, on=on), st.builds(Unsubscribe, registration=_number)
    )


_near: Any = st.sampled_from(["order.placed"] * 3 + ["order.paid"]), st.sampled_from([0, 0, 0, 1])
_far: Any = st.sampled_from(sorted(KEYS)), _number
_far_names = st.sampled_from(NAMES)

dispatches = _dispatches(*_near, st.none() | hows)
_far_dispatches = _dispatches(_far_names, _number, st.none())
_frames: st.SearchStrategy[Step] = st.one_of(
    st.builds(AddSubscriber, kind=_number, on=_number, block=_maybe_block),
    st.builds(RemoveSubscriber, subscriber=_number),
    st.builds(OpenScope, parent=_number),
    st.builds(CloseScope, scope=_number),
    st.builds(OpenBlock, on=_number),
    st.builds(CloseBlock, block=_number),
    st.builds(LookUp, name=_far_names, on=_number, event=st.integers(0, 2)),
)
#: Steps that change what is registered.
changes: st.SearchStrategy[Step] = st.one_of(_adds(*_near), _adds(*_far), _removals(*_near), _removals(*_far), _frames)

_pauses = st.builds(Pause, seconds=st.integers(0, 2))
_stops: st.SearchStrategy[Step] = st.builds(Stop, by_attribute=st.booleans())
_simple: st.SearchStrategy[Step] = st.one_of(
    _pauses, _pauses, _stops, st.just(Fail()), _adds(*_near), _removals(*_near), dispatches, changes
)
steps: st.SearchStrategy[Step] = st.one_of(
    _simple,
    _simple,
    st.builds(Together, steps=_some(_simple, 3)),
    st.builds(Within, seconds=st.integers(0, 2), steps=_some(_simple, 3)),
)
behaviors: st.SearchStrategy[tuple[Steps, ...]] = st.tuples(*[_some(steps, 4)] * BEHAVIORS)

_opening: st.SearchStrategy[Add] = st.builds(Add, behavior=_behavior, priority=_priority, once=_sometimes)
_central: st.SearchStrategy[Step] = st.one_of(
    st.just(Dispatch()),
    st.builds(Within, seconds=st.integers(1, 3), steps=st.tuples(dispatches, st.just(Dispatch()))),
    st.builds(Together, steps=st.tuples(st.just(Dispatch()), _simple, dispatches)),
)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Make a scenario that registers some listeners, dispatches, does anything, and dispatches that event again."""
    return Scenario(
        behaviors=draw(behaviors),
        script=(
            *draw(_some(_opening, 5, 2)),
            draw(_central),
            *draw(_some(steps, 2)),
            Dispatch(again=True),
        ),
        default=draw(hows),
        event=draw(st.sampled_from(["plain", "plain", "frozen", "duck"])),
    )


@st.composite
def nested_scenarios(draw: st.DrawFn) -> Scenario:
    """Make a scenario in which listeners dispatch their own event again, which others stop."""
    names = st.sampled_from(["order.placed", "order.paid"])
    again = st.builds(Dispatch, name=names, how=st.none() | hows, again=st.just(True), caught=st.just(True))
    listeners = st.builds(Add, behavior=_behavior, key=names, priority=_priority)
    return Scenario(
        behaviors=draw(st.tuples(*[_some(st.one_of(again, again, _stops, st.just(Fail())), 3)] * BEHAVIORS)),
        script=(*draw(_some(listeners, 5, 3)), Dispatch(), Dispatch("order.paid", again=True)),
        event=draw(st.sampled_from(["plain", "frozen", "duck"])),
    )


@st.composite
def registration_scenarios(draw: st.DrawFn, *, sync: bool) -> Scenario:
    """Make a scenario that registers and removes in every way, also in listeners, and waits for nothing."""
    taken = st.one_of(changes, changes, _far_dispatches, _adds(*_far))
    default = draw(hows)
    return Scenario(
        behaviors=((), *draw(st.tuples(*[_some(taken, 1)] * (BEHAVIORS - 1)))),
        script=draw(_some(st.one_of(taken, _far_dispatches), 40, 5)),
        default=How(errors=default.errors) if sync else default,
        sync=sync,
    )


@st.composite
def ordered_scenarios(draw: st.DrawFn, *, waits: bool = True) -> Scenario:
    """Make a scenario with one listener for each behavior, of which some stop the event, and no dispatch yet."""
    pauses = st.lists(st.just(Pause()), max_size=2 if waits else 0)
    stops = st.sampled_from([(), (), (Stop(),), (Stop(by_attribute=True),)])
    listeners = draw(st.lists(st.tuples(st.integers(-2, 2), stops, pauses), max_size=8))
    return Scenario(
        behaviors=tuple((*stop, *pauses) for _, stop, pauses in listeners),
        script=tuple(Add(number, priority=priority) for number, (priority, _, _) in enumerate(listeners)),
        sync=not waits,
    )
