"""Modules of antiphon that are imported on first use, because many programs never need them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ("LazyModule",)


class LazyModule:
    """A module that is imported when one of its attributes is first read.

    An annotation can name a class through it. An import under ``TYPE_CHECKING`` is not enough there, because
    `typing.get_type_hints` looks the class up when the program runs.

    Args:
        module: The full name of the module.
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            # Do not import anything for tools that ask every object for its special attributes.
            raise AttributeError(attribute)
        found = getattr(import_module(self._module), attribute)
        setattr(self, attribute, found)
        return found
