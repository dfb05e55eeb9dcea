"""Listeners for the tests that run on both dispatchers, and a silent log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from antiphon import AsyncEventDispatcher, EventDispatcher

AnyDispatcher: TypeAlias = AsyncEventDispatcher | EventDispatcher
Listener: TypeAlias = Callable[[Any], Any]

#: For fixtures; each makes an empty dispatcher. Both have ``adispatch``, so one test can use either.
BOTH: tuple[type[AnyDispatcher], ...] = (AsyncEventDispatcher, EventDispatcher)


def make_listener(dispatcher: AnyDispatcher, function: Callable[[Any], object]) -> Listener:
    """Make a listener that the dispatcher takes and that calls the function; each call makes a new one."""
    if isinstance(dispatcher, EventDispatcher):

        def listener(event: Any) -> None:
            function(event)

        return listener

    async def async_listener(event: Any) -> None:
        function(event)

    return async_listener


def make_recording_listener(dispatcher: AnyDispatcher, log: list[Any], what: Any) -> Listener:
    """Make a listener that appends to a log."""
    return make_listener(dispatcher, lambda event: log.append(what))


@contextmanager
def silent_log() -> Iterator[None]:
    """Log nothing, for programs that fail thousands of times on purpose."""
    logger = logging.getLogger("antiphon")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
