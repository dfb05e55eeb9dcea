"""Histories: what was seen to happen when a program was performed.

The model of the dispatcher is here, and in ``invariants.py``: `History.heard_by` says who is to hear a dispatch, by going
through the list of all that was ever registered. Nothing is cached, and nothing is shared with the dispatcher.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.properties.scenarios import How

__all__ = ("Call", "Dispatched", "History", "Moment", "Registered", "Told", "View", "leaves")


class Moment(NamedTuple):
    """A place in the order of all that happened, and the virtual time at it."""

    at: int
    time: float


class View(NamedTuple):
    """What an event showed to a listener, or after a dispatch."""

    name: Any
    dispatcher: Any
    stopped: Any


@dataclass(eq=False, repr=False)
class Registered:
    """A registration: the n-th of its history."""

    number: int
    voice: int
    dispatcher: int
    name: str
    priority: int
    once: bool
    added: Moment
    removed: Moment | None = None
    calls: list[Call] = field(default_factory=list)
    listener: Any = None

    def __repr__(self) -> str:
        return f"<registration {self.number}>"

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in the order: by priority, then by registration."""
        return self.priority, self.number

    @property
    def gone(self) -> Moment | None:
        """When it was removed, or claimed by its only call."""
        claimed = self.calls[0].began if self.once and self.calls else None
        return min((moment for moment in (self.removed, claimed) if moment), default=None)


@dataclass(eq=False, repr=False)
class Call:
    """A call of a listener."""

    registration: Registered
    dispatch: Dispatched
    event: Any
    began: Moment
    ended: Moment | None = None
    #: What left the listener.
    error: BaseException | None = None
    #: Whether a cancellation left it, and whether a scope around it was cancelled then.
    cancelled: bool = False
    asked: bool = False
    #: What the event showed, and what it should have shown: at the start, and after each step.
    views: list[tuple[View, View]] = field(default_factory=list)
    #: The call that left its mark last in the context, at the start and at the end.
    context_before: Call | None = None
    context_after: Call | None = None

    def __repr__(self) -> str:
        return f"<call of {self.registration} in {self.dispatch}>"


class Told(NamedTuple):
    """A call of an error policy."""

    error: Exception
    event: Any
    listener: Any
    raised: Exception | None


@dataclass(eq=False, repr=False)
class Dispatched:
    """A dispatch; a nested one if it is of the event that the listener around it was given."""

    dispatcher: int
    name: str
    how: How
    event: Any
    nested: bool
    depth: int
    began: Moment
    ended: Moment | None = None
    returned: Any = None
    error: BaseException | None = None
    cancelled: bool = False
    asked: bool = False
    calls: list[Call] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    #: Who stopped it first, and when.
    stopped_by: Call | None = None
    stopped: Moment | None = None
    view_after: View | None = None
    context_before: Call | None = None
    context_after: Call | None = None
    #: The call that it was started in, if it was.
    within: Call | None = None

    def __repr__(self) -> str:
        return f"<dispatch that began at {self.began.at}, {self.how}>"

    @property
    def sequential(self) -> bool:
        """Whether listeners run one after another."""
        return self.how.strategy == "sequential"

    def effect(self, call: Call) -> Exception | None:
        """What the error of a call means under the policy: an error of the dispatch, or nothing."""
        if not isinstance(call.error, Exception):
            return None
        if self.how.errors in ("raise", "collect"):
            return call.error
        return next((told.raised for told in self.told if told.error is call.error), None)

    @property
    def ending(self) -> Call | None:
        """The first call whose error ended the dispatch, if one did."""
        if self.how.errors == "collect":
            return None
        failed = [call for call in self.calls if self.effect(call) is not None]
        return min(failed, key=lambda call: end(call.ended), default=None)


@dataclass(repr=False)
class History:
    """All that happened, in order."""

    registrations: list[Registered] = field(default_factory=list)
    dispatches: list[Dispatched] = field(default_factory=list)
    #: For each removal whether it found something, and whether there was something to find.
    removals: list[tuple[bool, bool]] = field(default_factory=list)
    #: What an instrument was told, if there was one: the method and the record.
    told: list[tuple[str, Any]] = field(default_factory=list)

    def alive(self, dispatcher: int, name: str) -> list[Registered]:
        """Who listens to a name now, in order."""
        alive = [each for each in self.registrations if each.gone is None]
        return sorted((each for each in alive if (each.dispatcher, each.name) == (dispatcher, name)), key=place)

    def heard_by(self, dispatch: Dispatched) -> list[Registered]:
        """Who listened to a dispatch when it began, in order."""
        heard = [
            each
            for each in self.registrations
            if (each.dispatcher, each.name) == (dispatch.dispatcher, dispatch.name)
            and each.added < dispatch.began
            and (each.gone is None or each.gone > dispatch.began)
        ]
        return sorted(heard, key=place)

    @property
    def calls(self) -> list[Call]:
        """All calls of all dispatches."""
        return [call for dispatch in self.dispatches for call in dispatch.calls]


def place(registration: Registered) -> tuple[int, int]:
    """The key to sort registrations by."""
    return registration.place


def end(moment: Moment | None) -> Moment:
    """The end of something that must have ended."""
    assert moment is not None, "it never ended"
    return moment


def leaves(error: BaseException) -> list[BaseException]:
    """The errors in a group, and in the groups in it; of any other error, itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]
