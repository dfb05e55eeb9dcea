"""Finding the input of a catalogue: the dispatcher at a path, and the modules that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from antiphon.diagrams._catalogue import catalogue
from antiphon.diagrams._locate import AnyDispatcher, find_dispatcher, load_module
from antiphon.diagrams._source_code import find_files

__all__ = ("CatalogueSource", "find_catalogue_source")


class CatalogueSource(NamedTuple):
    """The input of a catalogue."""

    dispatcher: AnyDispatcher
    events: Sequence[ModuleType]
    sources: Sequence[ModuleType]

    def render(self, level: int = 1) -> str:
        """Return the catalogue. The level is that of its first heading."""
        return catalogue(self.dispatcher.describe(), events=self.events, sources=self.sources, level=level)

    def find_files(self) -> list[Path]:
        """Return the files that the catalogue is made from."""
        return [file for module in [*self.events, *self.sources] for _, file in find_files(module)]


def find_catalogue_source(path: str, *, events: Sequence[str] = (), sources: Sequence[str] = ()) -> CatalogueSource:
    """Find the input of the catalogue of a dispatcher.

    Args:
        path: The location of the dispatcher, ``package.module:attribute``, as in the command line.
        events: The modules that define names and classes of events. By default the module ``events`` in the package of
            the module of the dispatcher. If that does not exist, the module of the dispatcher itself.
        sources: The packages and modules in which to search for dispatches. By default the packages of the modules of
            events.

    Raises:
        LocateError: If the dispatcher or one of the modules is not found, or if importing it raises.
    """
    module, dispatcher = find_dispatcher(path)
    event_modules = [load_module(name) for name in events] or [_find_events_module(module)]
    source_names = sources or [_get_package_name(each) for each in event_modules]
    return CatalogueSource(dispatcher, event_modules, [load_module(name) for name in dict.fromkeys(source_names)])


def _find_events_module(module: ModuleType) -> ModuleType:
    package = module.__name__ if "__path__" in vars(module) else module.__name__.rpartition(".")[0]
    name = f"{package}.events"
    return load_module(name) if package and find_spec(name) is not None else module


def _get_package_name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[0] or module.__name__
