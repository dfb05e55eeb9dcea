"""Hypothesis strategies that make programs."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.properties.scenarios import (
    Add,
    Dispatch,
    Fail,
    How,
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

__all__ = ("VOICES", "adds", "dispatches", "hows", "nesting", "programs", "removals", "steps", "voices")

#: How many different voices a program has.
VOICES = 4

_voice = st.integers(0, VOICES - 1)
_name = st.sampled_from(["x", "x", "x", "y"])
_dispatcher = st.sampled_from([0, 0, 0, 1])
_sometimes = st.sampled_from([False, False, True])

hows: st.SearchStrategy[How] = st.builds(
    How,
    strategy=st.sampled_from(["sequential", "sequential", "concurrent", "race"]),
    errors=st.sampled_from(["raise", "raise", "collect", "tell", "tell and raise"]),
    limit=st.sampled_from([None, 1, 2]),
)
adds: st.SearchStrategy[Add] = st.builds(
    Add, voice=_voice, name=_name, priority=st.integers(-1, 1), once=_sometimes, dispatcher=_dispatcher
)
removals: st.SearchStrategy[Remove | Unsubscribe] = st.one_of(
    st.builds(Remove, voice=_voice, name=_name, dispatcher=_dispatcher),
    st.builds(Unsubscribe, registration=st.integers(0, 5)),
)
dispatches: st.SearchStrategy[Dispatch] = st.builds(
    Dispatch,
    name=_name,
    how=st.none() | hows,
    again=st.sampled_from([False, True, True]),
    caught=st.booleans(),
    dispatcher=_dispatcher,
)
_pauses = st.builds(Pause, seconds=st.integers(0, 2))
_simple: st.SearchStrategy[Step] = st.one_of(
    _pauses,
    _pauses,
    st.builds(Stop, by_attribute=st.booleans()),
    st.just(Fail()),
    adds,
    removals,
    dispatches,
)


def _some(step: st.SearchStrategy[Step], most: int) -> st.SearchStrategy[Steps]:
    return st.lists(step, max_size=most).map(tuple)


steps: st.SearchStrategy[Step] = st.one_of(
    _simple,
    _simple,
    st.builds(Together, steps=_some(_simple, 3)),
    st.builds(Within, seconds=st.integers(0, 2), steps=_some(_simple, 3)),
)
voices: st.SearchStrategy[tuple[Steps, ...]] = st.tuples(*[_some(steps, 4)] * VOICES)

_opening: st.SearchStrategy[Add] = st.builds(Add, voice=_voice, priority=st.integers(-1, 1), once=_sometimes)
_central: st.SearchStrategy[Step] = st.one_of(
    st.just(Dispatch()),
    st.builds(Within, seconds=st.integers(1, 3), steps=st.tuples(dispatches, st.just(Dispatch()))),
    st.builds(Together, steps=st.tuples(st.just(Dispatch()), _simple, dispatches)),
)


_again: st.SearchStrategy[Step] = st.builds(
    Dispatch, name=st.sampled_from(["x", "y"]), how=st.none() | hows, again=st.just(True), caught=st.just(True)
)
_stop: st.SearchStrategy[Step] = st.builds(Stop, by_attribute=st.booleans())
_nested_voice: st.SearchStrategy[Steps] = _some(st.one_of(_again, _again, _stop, st.just(Fail())), 3)


@st.composite
def nesting(draw: st.DrawFn) -> Program:
    """Make a program in which listeners dispatch their own event again, which others stop."""
    listeners = st.builds(Add, voice=_voice, name=st.sampled_from(["x", "y"]), priority=st.integers(-1, 1))
    return Program(
        voices=draw(st.tuples(*[_nested_voice] * VOICES)),
        script=(*draw(st.lists(listeners, min_size=3, max_size=5)), Dispatch(), Dispatch("y", again=True)),
        event=draw(st.sampled_from(["plain", "frozen", "duck"])),
    )


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Make a program that registers some voices, dispatches to them, does anything, and dispatches that event again."""
    return Program(
        voices=draw(voices),
        script=(
            *draw(st.lists(_opening, min_size=2, max_size=5)),
            draw(_central),
            *draw(_some(steps, 2)),
            Dispatch(again=True),
        ),
        default=draw(hows),
        event=draw(st.sampled_from(["plain", "plain", "frozen", "duck"])),
    )
