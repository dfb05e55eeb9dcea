"""Histories: what was seen to happen when a scenario was interpreted.

`History.find_listeners` says which listeners a dispatch is to reach: it goes through the list of all that was ever
registered, with the naive reference.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.properties.reference import key_matches, sort_listeners
from tests.properties.scenarios import How, Step

__all__ = ("Call", "Dispatched", "History", "Moment", "PolicyCall", "Registered", "Seen", "get_leaves")


class Moment(NamedTuple):
    """A place in the order of all that happened, and the virtual time at it."""

    at: int
    time: float


class Seen(NamedTuple):
    """What an event showed to a listener, or after a dispatch."""

    name: Any
    dispatcher: Any
    stopped: Any


@dataclass(eq=False, repr=False)
class Registered:
    """A registration: the n-th of its history."""

    number: int
    #: None for a method of a subscriber, which does nothing.
    behavior: int | None
    on: int
    key: Hashable
    priority: int
    once: bool
    where: bool
    added: Moment
    removed: Moment | None = None
    calls: list[Call] = field(default_factory=list)
    listener: Any = None

    def __repr__(self) -> str:
        return f"<registration {self.number}>"

    @property
    def place(self) -> tuple[int, int]:
        """The place in the order: by priority, then by registration."""
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
    requested: bool = False
    #: What the event showed, and what it should have shown: at the start, and after each step.
    views: list[tuple[Seen, Seen]] = field(default_factory=list)
    #: The call that was last in the context, at the start and at the end.
    context_before: Call | None = None
    context_after: Call | None = None

    def __repr__(self) -> str:
        return f"<call of {self.registration} in {self.dispatch}>"


class PolicyCall(NamedTuple):
    """A call of an error policy."""

    error: Exception
    event: Any
    listener: Any
    raised: Exception | None


@dataclass(eq=False, repr=False)
class Dispatched:
    """A dispatch; a nested one if it is of the event that the listener around it was given."""

    on: int
    dispatcher: Any
    name: Hashable
    how: How
    event: Any
    accepted: bool
    nested: bool
    depth: int
    began: Moment
    ended: Moment | None = None
    returned: Any = None
    error: BaseException | None = None
    cancelled: bool = False
    requested: bool = False
    calls: list[Call] = field(default_factory=list)
    policy_calls: list[PolicyCall] = field(default_factory=list)
    #: The call that stopped it first, and when.
    stopped_by: Call | None = None
    stopped: Moment | None = None
    view_after: Seen | None = None
    context_before: Call | None = None
    context_after: Call | None = None
    #: The call that it was started in, if it was.
    within: Call | None = None

    def __repr__(self) -> str:
        return f"<dispatch that began at {self.began.at}, {self.how}>"

    @property
    def is_sequential(self) -> bool:
        """Whether listeners run one after another."""
        return self.how.strategy == "sequential"

    def get_effect(self, call: Call) -> Exception | None:
        """Return what the error of a call means under the policy: an error of the dispatch, or None."""
        if not isinstance(call.error, Exception):
            return None
        if self.how.errors in ("raise", "collect"):
            return call.error
        return next((policy.raised for policy in self.policy_calls if policy.error is call.error), None)

    @property
    def ending(self) -> Call | None:
        """The first call whose error ended the dispatch, if one did."""
        if self.how.errors == "collect":
            return None
        failed = [call for call in self.calls if self.get_effect(call) is not None]
        return min(failed, key=lambda call: get_end(call.ended), default=None)


@dataclass(repr=False)
class History:
    """All that happened, in order."""

    registrations: list[Registered] = field(default_factory=list)
    dispatches: list[Dispatched] = field(default_factory=list)
    #: For each dispatcher its parent; None if it is not a scope.
    parents: list[int | None] = field(default_factory=lambda: [None, None])
    #: What removals, refusals and look-ups gave, and what they should have given.
    outcomes: list[tuple[Step, Any, Any]] = field(default_factory=list)
    #: What an instrument received, if there was one: the method and the record.
    records: list[tuple[str, Any]] = field(default_factory=list)

    def get_own(self, on: int, key: Hashable) -> list[Registered]:
        """Return what is registered now on a dispatcher under a key."""
        return [each for each in self.registrations if each.gone is None and (each.on, each.key) == (on, key)]

    def get_all(self, on: int) -> list[Registered]:
        """Return what is registered now on a dispatcher and the dispatchers that it extends."""
        chain = self._get_chain(on)
        return [each for each in self.registrations if each.gone is None and each.on in chain]

    def find_listeners(self, on: int, name: Hashable, cls: type[Any], moment: Moment | None = None) -> list[Registered]:
        """Return what a dispatch reaches that begins at a moment, or now, in order."""
        chain = self._get_chain(on)
        return sort_listeners(
            [
                each
                for each in self.registrations
                if each.on in chain
                and key_matches(each.key, name, cls)
                and (moment is None or each.added < moment)
                and (each.gone is None or (moment is not None and each.gone > moment))
            ]
        )

    def find_listeners_of(self, dispatch: Dispatched) -> list[Registered]:
        """Return what was registered for a dispatch when it began, in order."""
        return self.find_listeners(dispatch.on, dispatch.name, type(dispatch.event), dispatch.began)

    def _get_chain(self, on: int | None) -> list[int]:
        return [] if on is None else [on, *self._get_chain(self.parents[on])]

    def find_scopes_within(self, on: int) -> set[int]:
        """Return a scope and the scopes that end with it."""
        return {number for number in range(len(self.parents)) if on in self._get_chain(number)}

    @property
    def calls(self) -> list[Call]:
        """All calls of all dispatches."""
        return [call for dispatch in self.dispatches for call in dispatch.calls]


def get_end(moment: Moment | None) -> Moment:
    """Return the end of something that must have ended."""
    assert moment is not None, "it never ended"
    return moment


def get_leaves(error: BaseException) -> list[BaseException]:
    """Return the errors in a group, and in the groups in it; of any other error, itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in get_leaves(each)]
    return [error]
