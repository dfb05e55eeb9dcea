"""A module of antiphon that is imported on first use, because many programs do not need it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ("LazyModule",)


class LazyModule:
    """A module that is imported when one of its attributes is first read.

    Annotations can refer to its classes. An import under ``TYPE_CHECKING`` would not be enough for them, because
    `typing.get_type_hints` looks the classes up while the program runs.

    Args:
        module: The full name of the module.
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            # Tools read special attributes of every object. Do not import the module for them.
            raise AttributeError(attribute)
        value = getattr(import_module(self._module), attribute)
        setattr(self, attribute, value)
        return value
