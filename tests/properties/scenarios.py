"""Scenarios: what listeners and the code around them do, as plain data.

A scenario has some behaviors (what its listeners do when they are called) and a script (what the code around them does).
Both are tuples of steps. The ``repr`` of a scenario is Python that makes it again.
A number that is too high for what it counts (dispatchers, registrations, blocks and so on) wraps around.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, Literal, TypeAlias

from antiphon import Event

__all__ = (
    "KEYS",
    "NAMES",
    "Add",
    "AddSubscriber",
    "CloseBlock",
    "CloseScope",
    "Dispatch",
    "Fail",
    "How",
    "LookUp",
    "OpenBlock",
    "OpenScope",
    "Pause",
    "Remove",
    "RemoveSubscriber",
    "Scenario",
    "Step",
    "Steps",
    "Stop",
    "Together",
    "Unsubscribe",
    "Within",
)


class OrderPlaced(Event): ...


class GiftOrderPlaced(OrderPlaced): ...


#: The keys and names of scenarios, by what they are called there.
KEYS: Final[dict[str, Hashable]] = {
    **{text: text for text in ("order.placed", "order.paid", "other", "order.*", "*.placed", "**", "*")},
    "7": 7,
    **{cls.__name__: cls for cls in (Event, OrderPlaced, GiftOrderPlaced, object)},
}
#: None is a dispatch without a name.
NAMES: Final = ("order.placed", "order.paid", "other", "7", None)


class Brief:
    """Dataclasses whose repr leaves out defaults."""

    def arguments(self) -> list[tuple[str, Any]]:
        """Return the names and values of the fields that do not have their defaults."""
        mine = [(field, getattr(self, field.name)) for field in fields(self)]  # type: ignore[arg-type]
        return [(field.name, value) for field, value in mine if field.default is MISSING or value != field.default]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.arguments())})"


step = dataclass(frozen=True, repr=False)


@step
class How(Brief):
    """A strategy and its error policy.

    ``"handle"`` is a function that takes the error and returns, ``"replace"`` one that raises another error.
    """

    strategy: Literal["sequential", "concurrent", "race"] = "sequential"
    errors: Literal["raise", "collect", "handle", "replace"] = "raise"
    limit: int | None = None


@step
class Pause(Brief):
    """Sleep for some seconds of virtual time; 0 is a bare checkpoint."""

    seconds: int = 0


@step
class Stop(Brief):
    """Stop the propagation of the event, by the method or by setting the attribute."""

    by_attribute: bool = False


@step
class Fail(Brief):
    """Raise an error."""


@step
class Add(Brief):
    """Register a listener with a behavior, on a dispatcher or through a block of ``temporarily``.

    Two listeners are equal if they have the same behavior. With ``where``, only accepted events reach the listener.
    """

    behavior: int
    key: str = "order.placed"
    priority: int = 0
    once: bool = False
    where: bool = False
    on: int = 0
    block: int | None = None


@step
class AddSubscriber(Brief):
    """Register a subscriber of one of the kinds of the interpreter."""

    kind: int = 0
    on: int = 0
    block: int | None = None


@step
class Remove(Brief):
    """Remove all registrations of equal listeners under a key."""

    behavior: int
    key: str = "order.placed"
    on: int = 0


@step
class Unsubscribe(Brief):
    """Use the handle of one registration; the number counts all registrations so far."""

    registration: int


@step
class RemoveSubscriber(Brief):
    """Use the handle of a subscriber."""

    subscriber: int


@step
class OpenScope(Brief):
    """Open a scope; it is one more dispatcher."""

    parent: int = 0


@step
class CloseScope(Brief):
    """Close a scope; it may be closed already."""

    scope: int = 0


@step
class OpenBlock(Brief):
    """Open a block of ``temporarily`` on a dispatcher."""

    on: int = 0


@step
class CloseBlock(Brief):
    """Close a block; it may be closed already."""

    block: int = 0


@step
class LookUp(Brief):
    """Ask which listeners a dispatch would run."""

    name: str | None = "order.placed"
    on: int = 0
    event: int = 0


@step
class Dispatch(Brief):
    """Dispatch an event.

    Attributes:
        name: Under which name; None for the event alone.
        how: With which strategy; None for the dispatcher's own.
        again: Whether a listener dispatches the very event that it was given, and the script the event it dispatched
            before. Where others could see it at the same time (in concurrent dispatches and in `Together`), a fresh
            event is dispatched instead.
        caught: Whether the code around catches an ``Exception`` that leaves.
        on: On which dispatcher.
        event: Of which of the scenario's classes a fresh event is.
        accepted: Whether listeners with ``where`` accept a fresh event.
    """

    name: str | None = "order.placed"
    how: How | None = None
    again: bool = False
    caught: bool = False
    on: int = 0
    event: int = 0
    accepted: bool = True


@step
class Together(Brief):
    """Take several steps at the same time, each in a task."""

    steps: Steps


@step
class Within(Brief):
    """Take steps one after another, until they are cancelled after some seconds of virtual time."""

    seconds: int
    steps: Steps


Step: TypeAlias = (
    Pause
    | Stop
    | Fail
    | Add
    | AddSubscriber
    | Remove
    | Unsubscribe
    | RemoveSubscriber
    | OpenScope
    | CloseScope
    | OpenBlock
    | CloseBlock
    | LookUp
    | Dispatch
    | Together
    | Within
)
Steps: TypeAlias = tuple[Step, ...]


@step
class Scenario(Brief):
    """What to interpret.

    Attributes:
        behaviors: What each listener does when it is called.
        script: What the code around them does.
        default: The strategy of the dispatchers.
        event: Of which kind events are: `Event` and subclasses, a frozen dataclass that inherits from it, or a class
            that only looks like one.
        sync: Whether the dispatchers are sync; then no step waits, and each dispatch has the default policy.
    """

    behaviors: tuple[Steps, ...]
    script: Steps
    default: How = How()
    event: Literal["plain", "frozen", "duck"] = "plain"
    sync: bool = False
