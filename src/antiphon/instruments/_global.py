"""The context manager that adds an instrument to all dispatchers of the process."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from antiphon._dispatchers.instruments import InstrumentsMixin, add_global_instrument, remove_global_instrument
from antiphon._instrumentation.attached import AttachedInstrument
from antiphon._util.naming import safe_repr

__all__ = ("everywhere", "find_dispatchers")


@contextmanager
def everywhere(instrument: Any, /) -> Generator[None, None, None]:
    """Add an instrument to all dispatchers of the process, including those that are created in the ``with`` block.

    It is for tools that observe a whole program. In an application, use ``dispatcher.add_instrument``.

    It searches the objects that the garbage collector knows. This takes a few milliseconds in a program of usual size.
    Dispatchers that ``gc.freeze()`` has hidden are not found.

    Args:
        instrument: An object with one or more of the methods of `antiphon.instruments.Instrument`.

    Raises:
        TypeError: If the object is not an instrument.
        ValueError: If the instrument is on all dispatchers already.
    """
    _check_instrument(instrument)
    # First add it to the dispatchers that are created from now on. A dispatcher that another thread creates during the
    # search would be missed otherwise.
    if not add_global_instrument(instrument):
        raise ValueError(f"{safe_repr(instrument)} is on all dispatchers already, and sees each dispatch once")
    already_instrumented: list[InstrumentsMixin] = []
    try:
        for dispatcher in find_dispatchers():
            try:
                dispatcher.add_instrument(instrument)
            except ValueError:
                already_instrumented.append(dispatcher)
            except AttributeError:
                # Another thread is creating this dispatcher, and adds the instrument at the end of `__init__`.
                pass
        yield
    finally:
        remove_global_instrument(instrument)
        for dispatcher in find_dispatchers():
            if all(dispatcher is not other for other in already_instrumented):
                with suppress(ValueError, AttributeError):
                    dispatcher.remove_instrument(instrument)


def _check_instrument(instrument: object) -> None:
    def ignore(attached: AttachedInstrument, /) -> None: ...

    AttachedInstrument(instrument, ignore)


def find_dispatchers() -> Iterator[InstrumentsMixin]:
    """Find the dispatchers of the process, including scopes, and without those that antiphon itself uses."""
    # Search the heap, because dispatchers are not tracked. A `WeakSet` of them would make them slower to create, would
    # reject subclasses that are not hashable, and cannot be iterated while another thread adds to it.
    # Each dispatcher refers to its class, and the garbage collector finds the objects that refer to a class. Do not use
    # `gc.get_objects()`: a reference to a tuple that another thread is filling makes that thread raise SystemError.
    classes: list[type[Any]] = [InstrumentsMixin]
    for cls in classes:
        classes += [
            subclass
            for subclass in type.__subclasses__(cls)
            if not subclass._is_internal  # noqa: SLF001  of a dispatcher
            and all(subclass is not other for other in classes)
        ]
    # Check the type, because `isinstance` reads `__class__`, which may run code of the object.
    return (found for found in gc.get_referrers(*classes) if issubclass(type(found), InstrumentsMixin))
