"""Base classes of context managers that explain the other forms of ``with``.

Python's own message names the object, and not the line that is right.
"""

from __future__ import annotations

import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ("AsyncContext", "PlainContext")


class AsyncContext:
    """An object for ``async with``."""

    __slots__ = ()

    #: How to write it.
    _usage: str

    #: What to write instead of methods that similar objects of other libraries have.
    _fixes = MappingProxyType[str, str]({})

    # For type checkers the methods do not exist, so that they report the mistake.
    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            raise TypeError(f"{self!r} is used with `async with`: write `{self._usage}`")

        def __exit__(self, *exc_info: object) -> NoReturn:
            raise NotImplementedError

        def __await__(self) -> NoReturn:
            raise TypeError(f"{self!r} is not awaited: write `{self._usage}`")

        # Python 3.11 reads all attributes more slowly if there is a `__getattr__`.
        if sys.version_info >= (3, 12):

            def __getattr__(self, attribute: str) -> Any:
                try:
                    # It raises again, and with its own error if a property raised.
                    return object.__getattribute__(self, attribute)
                except AttributeError as error:
                    fix = self._fixes.get(attribute)
                    if fix is None:
                        raise
                    raise AttributeError(f"{error}: {fix}", name=attribute, obj=self) from None


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
