"""Look-up: a dispatch among many names must cost what it costs among few."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from random import Random

from antiphon import Event, EventDispatcher
from benchmarks.cases import Absent, Candidate, Case, Stage
from benchmarks.events import event_class
from benchmarks.listeners import listeners
from benchmarks.timing import timed

#: How many names take turns.
TURNS = (1, 512)

LIMIT = "antiphon, no other names"


def cases(backends: tuple[str, ...], quick: bool) -> Iterator[Case]:
    """Yields a case for each number of names that take turns."""
    for turns in TURNS:
        yield Case(
            stage="lookup",
            workload="among other names",
            size=turns,
            build=partial(candidates, turns, 100_000 if quick else 1_000_000),
            limit=LIMIT,
            goal=1.05,
            listeners_run=1,
            most_passes=1,
        )


def candidates(turns: int, others: int) -> list[Candidate | Absent]:
    """Builds dispatchers that know only the names in turn, and such that know many others; so with dictionaries."""
    few, many = key_names(turns), key_names(turns, others)
    among = f"{others:,} other names"
    return [
        antiphon(LIMIT, few, turns),
        antiphon(f"antiphon, {among}", many, turns),
        by_hand("dict, no other names", few, turns),
        by_hand(f"dict, {among}", many, turns),
    ]


def key_names(turns: int, others: int = 0) -> list[str]:
    """Makes names, in no order."""
    names = [f"order.{index}" for index in range(turns + others)]
    Random(turns).shuffle(names)
    return names


def antiphon(name: str, keys: list[str], turns: int) -> Candidate:
    """Dispatches under some names in turn, on a dispatcher that knows all of them."""
    dispatcher = EventDispatcher()
    (listener,) = listeners("synchronous", 1)
    for key in keys:
        dispatcher.add_listener(key, listener)
    bound = {"dispatcher": dispatcher, "event": event_class(Event)(1, 2)}
    return Candidate(name, timed("dispatcher.dispatch(item, event)", bound, over=keys[:turns]), "antiphon")


def by_hand(name: str, keys: list[str], turns: int) -> Candidate:
    """Calls the listeners that a dictionary has for a name; it tells what of a difference is the machine's."""
    (listener,) = listeners("synchronous", 1)
    bound = {"table": {key: [listener] for key in keys}, "event": event_class()(1, 2)}
    return Candidate(name, timed("for listener in table[item]: listener(event)", bound, over=keys[:turns]))


STAGE = Stage("lookup", "Look-up (synchronous dispatch to one listener)", "names dispatched in turn", cases)
