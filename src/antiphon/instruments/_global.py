"""One instrument on all dispatchers of the process."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from antiphon._dispatchers.instruments import InstrumentsMixin, add_global_instrument, remove_global_instrument
from antiphon._instrumentation.attached import AttachedInstrument
from antiphon._util.naming import safe_repr

__all__ = ("everywhere",)


@contextmanager
def everywhere(instrument: Any, /) -> Generator[None, None, None]:
    """Add an instrument to all dispatchers, those that there are and those that are made in the ``with`` block.

    It is meant for tools that look at a whole program: an instrument that belongs to an application is better added
    to its dispatchers. Finding the dispatchers takes a look at every object, some milliseconds for a program
    of usual size. Those that ``gc.freeze()`` has hidden are not found.

    Args:
        instrument: As for ``dispatcher.add_instrument``.

    Raises:
        TypeError: It is no instrument.
        ValueError: It is everywhere already.
    """
    _check(instrument)
    # First for the new ones, so that none is missed while the others are looked for.
    if not add_global_instrument(instrument):
        raise ValueError(f"{safe_repr(instrument)} is on all dispatchers already, and sees each dispatch once")
    had_it: list[InstrumentsMixin] = []
    try:
        for dispatcher in _all_dispatchers():
            try:
                dispatcher.add_instrument(instrument)
            except ValueError:
                had_it.append(dispatcher)
            except AttributeError:
                pass  # It is being made, in another thread, and gets it at the end of that.
        yield
    finally:
        remove_global_instrument(instrument)
        for dispatcher in _all_dispatchers():
            if all(dispatcher is not other for other in had_it):
                with suppress(ValueError, AttributeError):
                    dispatcher.remove_instrument(instrument)


def _check(instrument: object) -> None:
    def leave_it(attached: AttachedInstrument, /) -> None: ...

    AttachedInstrument(instrument, leave_it)


def _all_dispatchers() -> Iterator[InstrumentsMixin]:
    # Dispatchers are not tracked, to keep creating them cheap. But each refers to its class, and the collector knows
    # what refers to an object. Not `gc.get_objects()`: a reference to a tuple that another thread is filling makes that
    # thread fail with a SystemError.
    classes: list[type[Any]] = [InstrumentsMixin]
    for cls in classes:
        classes += [known for known in type.__subclasses__(cls) if all(known is not other for other in classes)]
    # By type, because `isinstance` asks the object, which might answer anything.
    return (found for found in gc.get_referrers(*classes) if issubclass(type(found), InstrumentsMixin))
