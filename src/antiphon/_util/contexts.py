"""Base classes of context managers that explain the other forms of ``with``.

Python's own message names the object, and not the line that is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

__all__ = ("AsyncContext", "PlainContext")


class AsyncContext:
    """An object for ``async with``."""

    __slots__ = ()

    #: How to write it.
    _usage: str

    # For type checkers the methods do not exist, so that they report the mistake.
    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            raise TypeError(f"{self!r} is used with `async with`: write `{self._usage}`")

        def __exit__(self, *exc_info: object) -> NoReturn:
            raise NotImplementedError

        def __await__(self) -> NoReturn:
            raise TypeError(f"{self!r} is not awaited: write `{self._usage}`")


class PlainContext:
    """An object for ``with``."""

    __slots__ = ()

    #: How to write it.
    _usage: str

    if not TYPE_CHECKING:

        async def __aenter__(self) -> NoReturn:
            raise TypeError(f"{self!r} is used with a plain `with`: write `{self._usage}`")

        async def __aexit__(self, *exc_info: object) -> NoReturn:
            raise NotImplementedError
