"""Checks of the arguments of the bridge. Each raises a `ConfigurationError` that shows what is accepted."""

from __future__ import annotations

import math
import re
from typing import Final

from antiphon.bridges._errors import ConfigurationError

__all__ = ("check_count", "check_name", "check_seconds", "check_source", "describe", "show")

#: Brokers use these names in keys, in which braces, colons and asterisks have a meaning.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def show(thing: object) -> str:
    """Return the repr of an object for a message, also if its ``__repr__`` raises."""
    try:
        return repr(thing)
    except Exception:
        return object.__repr__(thing)


def describe(thing: object) -> str:
    """Return the repr and the type of an object for a message."""
    return f"{show(thing)} ({type(thing).__name__})"


def check_name(name: object, what: str) -> str:
    """Return a name that every broker accepts.

    Raises:
        ConfigurationError: If it is not a string of 1 to 128 letters, digits, dots, dashes and underscores that starts
            with a letter or a digit.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{what} is up to 128 letters, digits, dots, dashes and underscores, and starts with a letter or a digit; "
            f"got {show(name)}"
        )
    return name


def check_count(number: object, what: str, *, most: int | None = None) -> int:
    """Return a number that is an int of at least 1.

    Raises:
        ConfigurationError: If it is not, or if it is greater than ``most``.
    """
    if type(number) is not int or number < 1 or (most is not None and number > most):
        limit = "of at least 1" if most is None else f"from 1 to {most}"
        raise ConfigurationError(f"{what} is an int {limit}; got {show(number)}")
    return number


def check_seconds(seconds: object, what: str, *, zero: bool = False) -> float:
    """Return a finite number of seconds.

    Raises:
        ConfigurationError: If it is not a finite number greater than 0, or, with ``zero``, of at least 0.
    """
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not math.isfinite(seconds)
        or seconds < 0
        or (seconds == 0 and not zero)
    ):
        least = "of at least 0" if zero else "greater than 0"
        raise ConfigurationError(f"{what} is a finite number of seconds {least}; got {show(seconds)}")
    return float(seconds)


def check_source(source: object) -> str:
    """Return the source of a bridge.

    Raises:
        ConfigurationError: If it is not a string without spaces.
    """
    if not isinstance(source, str) or not source or any(character.isspace() for character in source):
        raise ConfigurationError(f"source= is a URI reference without spaces, such as '/shop/web'; got {show(source)}")
    return source
