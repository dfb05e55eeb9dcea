"""Kinds of keys: what a pattern or a class costs beside the exact name, and how much more when it is first asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count as counter
from typing import Any

from antiphon import Event, EventDispatcher
from benchmarks.cases import Absent, Candidate, Case, Stage
from benchmarks.events import NAME, event_class
from benchmarks.listeners import listeners
from benchmarks.timing import timed, timed_loop

#: How many other keys there are, of the same kind, which do not hear the event.
SIZES = (0, 10, 100)

LIMIT = "exact name"

DISPATCH = "dispatcher.dispatch({name}, event)"


def cases(backends: tuple[str, ...], quick: bool) -> Iterator[Case]:
    """Yields a case for what is known and for what is new, for each number of other keys."""
    workloads: dict[str, Callable[[int], list[Candidate | Absent]]] = {
        "a name dispatched before": known,
        "a new name each time": new,
    }
    for workload, build in workloads.items():
        for size in SIZES:
            yield Case(
                stage="keys",
                workload=workload,
                size=size,
                build=partial(build, size),
                limit=LIMIT if build is known else f"{LIMIT}s",
                goal=1.05 if build is known else None,
                listeners_run=1,
            )


def known(size: int) -> list[Candidate | Absent]:
    """Builds dispatches under one name to one listener, which hears it by the name, by a pattern or by its class."""
    return [
        again(LIMIT, lambda _cls: NAME, names(size)),
        again("pattern", lambda _cls: "order.*", patterns(size)),
        again("pattern, **", lambda _cls: "**.placed", patterns(size)),
        again("class", lambda cls: cls, classes(size)),
    ]


def new(size: int) -> list[Candidate | Absent]:
    """Builds dispatches under names that were never seen; the one listener hears all names, the others none of them."""
    return [
        first(f"{LIMIT}s", names(size)),
        first("patterns", patterns(size)),
        first("classes", classes(size)),
    ]


def names(size: int) -> list[Any]:
    """Makes names that are not dispatched."""
    return [f"stock.{index}" for index in range(size)]


def patterns(size: int) -> list[Any]:
    """Makes patterns of names that are not dispatched."""
    return [f"stock.*.{index}" for index in range(size)]


def classes(size: int) -> list[Any]:
    """Makes classes of which no event is dispatched."""
    return [event_class(Event) for _ in range(size)]


def again(name: str, heard: Callable[[type[Any]], Any], others: list[Any]) -> Candidate:
    """Dispatches under a name that was dispatched before.

    Args:
        name: What the table calls it.
        heard: Gives the key of the one listener, from the class of the event.
        others: The other keys.
    """
    order_placed = event_class(Event)
    dispatcher = listening(heard(order_placed), others)
    event = order_placed(1, 2)
    # Once before, or the calibration would take the first dispatch, which asks each key, for one like the others.
    dispatcher.dispatch(NAME, event)
    bound = {"dispatcher": dispatcher, "name": NAME, "event": event}
    return Candidate(name, timed(DISPATCH.format(name="name"), bound), role(name))


def first(name: str, others: list[Any]) -> Candidate:
    """Dispatches each time under a name that is new to the dispatcher, which forgets some of the earlier ones."""
    dispatcher = listening("*", others)
    event = event_class(Event)(1, 2)
    loop = timed_loop(DISPATCH.format(name="item"), "dispatcher", "event")
    numbers = counter()

    async def sampler(count: int) -> float:
        items = [f"order.{next(numbers)}" for _ in range(count)]
        return await loop(items, dispatcher=dispatcher, event=event)

    return Candidate(name, sampler, role(name))


def listening(heard: Any, others: list[Any]) -> EventDispatcher:
    """Makes a dispatcher with one listener that hears the event, and others that do not."""
    dispatcher = EventDispatcher()
    (listener,) = listeners("synchronous", 1)
    dispatcher.add_listener(heard, listener)
    for key in others:
        dispatcher.add_listener(key, listener)
    return dispatcher


def role(name: str) -> Any:
    """Tells what a candidate is: all are antiphon's, and the exact names are what the others are compared with."""
    return "limit" if name.startswith(LIMIT) else "antiphon"


STAGE = Stage("keys", "Kinds of keys (synchronous dispatch to one listener)", "other keys, which do not hear", cases)
