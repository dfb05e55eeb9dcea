"""The catalogue of what a path names: with the modules of events and the sources that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from antiphon.diagrams._catalogue import catalogue
from antiphon.diagrams._locate import AnyDispatcher, find, find_module
from antiphon.diagrams._source_code import files_of

__all__ = ("Reference", "reference_of")


class Reference(NamedTuple):
    """What a catalogue is made of."""

    dispatcher: AnyDispatcher
    events: Sequence[ModuleType]
    sources: Sequence[ModuleType]

    def write(self, level: int = 1) -> str:
        """Write the catalogue; its first heading is of this level."""
        return catalogue(self.dispatcher.describe(), events=self.events, sources=self.sources, level=level)

    def files(self) -> list[Path]:
        """Tell which files have been read."""
        return [file for module in [*self.events, *self.sources] for _, file in files_of(module)]


def reference_of(path: str, *, events: Sequence[str] = (), sources: Sequence[str] = ()) -> Reference:
    """Find what the catalogue of a dispatcher is made of.

    Args:
        path: Where the dispatcher is, as for the command: ``package.module:attribute``.
        events: The modules that define names and classes of events. By default the module ``events`` in the package of
            the path's module; if there is none, this module itself.
        sources: Where to look for dispatches. By default the packages of the modules of events.

    Raises:
        NotFound: Something of this is not there, or raises.
    """
    module, dispatcher = find(path)
    modules = [find_module(name) for name in events] or [_events_beside(module)]
    looked_at = [find_module(name) for name in dict.fromkeys(sources or map(_package_of, modules))]
    return Reference(dispatcher, modules, looked_at)


def _events_beside(module: ModuleType) -> ModuleType:
    package = module.__name__ if "__path__" in vars(module) else module.__name__.rpartition(".")[0]
    name = f"{package}.events"
    return find_module(name) if package and find_spec(name) is not None else module


def _package_of(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[0] or module.__name__
