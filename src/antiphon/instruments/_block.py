"""The base class of instruments that observe the dispatches in a ``with`` block, and write a file when it ends."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from os import PathLike
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

from antiphon import AsyncEventDispatcher, EventDispatcher
from antiphon._instrumentation.attached import Instrument
from antiphon._util.naming import describe_value, publish
from antiphon.instruments._global import everywhere

__all__ = ("AnyDispatcher", "BlockInstrument", "check_path")

AnyDispatcher: TypeAlias = AsyncEventDispatcher | EventDispatcher


class BlockInstrument(Instrument):
    """An instrument that observes some dispatchers, or all, in a ``with`` block, and writes a file when it ends.

    Abstract: subclasses define `write`, and the name of the instrument in messages.
    """

    __slots__ = ("_dispatchers", "_end_time", "_exit_stack", "_is_entered", "_path")

    #: The name of the instrument in messages, which is also that of the function that makes it.
    _name: str

    def __init__(self, path: str | PathLike[str] | None, dispatchers: tuple[AnyDispatcher, ...]) -> None:
        if isinstance(path, (AsyncEventDispatcher, EventDispatcher)):
            raise TypeError(
                f"the first argument must be the path of the file, or None for no file; got {describe_value(path)}: "
                f"pass dispatchers after it, {self._name}(None, dispatcher)"
            )
        self._path = None if path is None else check_path(path)
        self._dispatchers = tuple({id(each): self._check_dispatcher(each) for each in dispatchers}.values())
        self._exit_stack = ExitStack()
        self._is_entered = False
        self._end_time: float | None = None

    def write(self, path: str | PathLike[str], /) -> None:
        """Write a file, in the format of its suffix."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        if self._is_entered:
            raise RuntimeError(f"a {self._name} can be entered only once: use a new `with {self._name}(...)`")
        if self._path is not None:
            # Raise now if the path is not writable, not after the recording.
            self._path.touch()
        self._is_entered = True
        with ExitStack() as exit_stack:
            if not self._dispatchers:
                exit_stack.enter_context(everywhere(self))
            for dispatcher in self._dispatchers:
                dispatcher.add_instrument(self)
                exit_stack.callback(_remove_instrument, dispatcher, self)
            self._exit_stack = exit_stack.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self._end_time = perf_counter()
        self._exit_stack.close()
        if self._path is None:
            return
        try:
            self.write(self._path)
        except Exception as error:
            if exc is None:
                raise
            # The block raised. Add a note instead of raising, so that its exception stays the same.
            exc.add_note(f"the {self._name} could not be written to {self._path}: {error!r}")

    @property
    def _until(self) -> float:
        return perf_counter() if self._end_time is None else self._end_time

    def _check_dispatcher(self, dispatcher: Any) -> AnyDispatcher:
        if not isinstance(dispatcher, (AsyncEventDispatcher, EventDispatcher)):
            raise TypeError(f"a {self._name} records dispatchers; got {describe_value(dispatcher)}")
        return dispatcher


publish("antiphon.instruments", BlockInstrument)


def check_path(path: object) -> Path:
    """Return the path of a file.

    Raises:
        TypeError: If it is not a path.
    """
    if not isinstance(path, (str, PathLike)):
        raise TypeError(f"the first argument must be the path of the file; got {describe_value(path)}")
    return Path(cast("str | PathLike[str]", path))


def _remove_instrument(dispatcher: AnyDispatcher, instrument: object) -> None:
    # The program may have removed the instrument already.
    with suppress(ValueError):
        dispatcher.remove_instrument(instrument)
