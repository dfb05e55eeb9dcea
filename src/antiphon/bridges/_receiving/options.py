"""The options of a receive, and what becomes of a received event."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

from antiphon import AsyncEventDispatcher, Strategy
from antiphon.bridges._channel import Channel
from antiphon.bridges._checks import check_count, check_name, check_seconds, show
from antiphon.bridges._delivery import Delivery
from antiphon.bridges._errors import ConfigurationError
from antiphon.bridges._retry import Retry

__all__ = ("Around", "Bury", "Done", "Later", "Outcome", "Receive", "UnknownPolicy", "make_receive")

#: What happens to events whose type is not registered: they are acknowledged, become dead letters, or wait for a
#: program that knows them.
UnknownPolicy: TypeAlias = Literal["skip", "bury", "wait"]

#: Makes the context manager around the dispatch of a received event.
Around: TypeAlias = Callable[[Delivery], AbstractAsyncContextManager[Any]]

_UNKNOWN: Final = ("skip", "bury", "wait")


class Receive(NamedTuple):
    """The checked options of a receive."""

    channel: Channel
    group: str | None
    only: tuple[type[Any], ...] | None
    concurrency: int
    claim_after: float
    retry: Retry
    ordered: bool
    unknown: UnknownPolicy
    strategy: Strategy | None
    around: Around | None


class Done(NamedTuple):
    """The event is acknowledged."""


class Later(NamedTuple):
    """The event is delivered again after a delay.

    Attributes:
        delay: In seconds.
        attempts: How many attempts count.
        elsewhere: Whether only another program can handle it.
    """

    delay: float
    attempts: int
    elsewhere: bool = False


class Bury(NamedTuple):
    """The event becomes a dead letter."""

    reason: str
    attempts: int


Outcome: TypeAlias = Done | Later | Bury


def make_receive(
    channel: object,
    group: object,
    *,
    only: object,
    concurrency: object,
    claim_after: object,
    retry: object,
    ordered: bool,
    unknown: Any,
    strategy: Strategy | None,
    around: Around | None,
) -> Receive:
    """Check the options of a receive.

    Raises:
        ConfigurationError: If one of them is invalid.
    """
    if not isinstance(channel, Channel):
        raise ConfigurationError(f"receive() takes a Channel; got {show(channel)}")
    if group is not None:
        check_name(group, "group=")
    if unknown not in _UNKNOWN:
        raise ConfigurationError(f'unknown= is "skip", "bury" or "wait"; got {show(unknown)}')
    if retry is None:
        retry = Retry()
    elif group is None:
        raise ConfigurationError("retry= needs a group=, because a fan-out does not deliver an event again")
    if group is None and unknown != "skip":
        raise ConfigurationError(f"unknown={show(unknown)} needs a group=, because a fan-out only skips events")
    if not isinstance(retry, Retry):
        raise ConfigurationError(f"retry= is a Retry, such as Retry(5, first=1, factor=4); got {show(retry)}")
    if around is not None and not callable(around):
        raise ConfigurationError(f"around= is a function that returns an async context manager; got {show(around)}")
    return Receive(
        channel=channel,
        group=group if isinstance(group, str) else None,
        only=_check_only(only),
        concurrency=check_count(concurrency, "concurrency="),
        claim_after=check_seconds(claim_after, "claim_after="),
        retry=retry,
        ordered=bool(ordered),
        unknown=unknown,
        strategy=_check_strategy(strategy),
        around=around,
    )


def _check_only(only: Any) -> tuple[type[Any], ...] | None:
    given: object = only
    if only is not None and (not isinstance(given, tuple) or not given):
        raise ConfigurationError(f"only= is a tuple of classes, such as (OrderPlaced,); got {show(only)}")
    return cast("tuple[type[Any], ...] | None", only)


def _check_strategy(strategy: Strategy | None) -> Strategy | None:
    if strategy is not None:
        try:
            AsyncEventDispatcher(strategy=strategy)
        except TypeError as exc:
            raise ConfigurationError(str(exc)) from exc
    return strategy
