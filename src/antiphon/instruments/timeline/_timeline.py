"""Records what is dispatched in a block, and writes it down when the block ends."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack, suppress
from os import PathLike
from pathlib import Path
from threading import Lock
from time import perf_counter
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, cast

from antiphon import AsyncEventDispatcher, EventDispatcher
from antiphon.instruments import DispatchRecord, Instrument, everywhere
from antiphon.instruments.timeline._chart import By
from antiphon.instruments.timeline._chrome_trace import as_chrome_trace
from antiphon.instruments.timeline._svg import as_svg
from antiphon.instruments.timeline._text import as_text

__all__ = ("Timeline", "timeline")

AnyDispatcher: TypeAlias = AsyncEventDispatcher | EventDispatcher

#: How wide a text is that goes to a file and not to a terminal, in columns.
FILE_WIDTH: Final = 120


def timeline(
    path: str | PathLike[str] | None = None, /, *dispatchers: AnyDispatcher, max_dispatches: int | None = 10_000
) -> Timeline:
    """Record the dispatches of a ``with`` block, and write them to a file when it ends.

    The file is written also if the block raises, and the error leaves unchanged. It is a trace for Perfetto; if its
    name ends in ``.svg`` it is a picture, and if in ``.txt`` a picture in characters.

    Args:
        path: The file; None for none.
        *dispatchers: Whose dispatches to record, those of their scopes included. Without any it is those of
            all dispatchers of the process, also of those that are made in the block.
        max_dispatches: How many dispatches to keep, with their events; the oldest ones are dropped, and
            counted. None keeps all.

    Returns:
        A context manager that gives itself to the block.

    Raises:
        TypeError: The path is no path, one of the dispatchers is none, or ``max_dispatches`` is no int.
        ValueError: ``max_dispatches`` is less than 1.
    """
    return Timeline(path, *dispatchers, max_dispatches=max_dispatches)


class Timeline(Instrument):
    """What was dispatched, and when: what `timeline` gives.

    It is an instrument, too: ``dispatcher.add_instrument(Timeline(max_dispatches=100))`` keeps the latest dispatches of
    a program that runs on. The arguments are those of `timeline`.

    Raises:
        TypeError: As `timeline`.
        ValueError: As `timeline`.
    """

    __slots__ = ("_dispatchers", "_ended", "_entered", "_kept", "_lock", "_path", "_seen", "_watching")

    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        /,
        *dispatchers: AnyDispatcher,
        max_dispatches: int | None = 10_000,
    ) -> None:
        self._path = None if path is None else _checked_path(path)
        self._dispatchers = tuple({id(each): _checked_dispatcher(each) for each in dispatchers}.values())
        self._kept: deque[DispatchRecord] = deque(maxlen=_checked_number(max_dispatches))
        self._seen = 0
        self._watching = ExitStack()
        self._entered = False
        self._ended: float | None = None
        # Dispatches come from any thread, and a text may be drawn meanwhile.
        self._lock = Lock()

    # Recording

    def dispatch_started(self, record: DispatchRecord, /) -> None:
        """Keep the record, which the dispatch fills in until it ends."""
        if self._ended is not None:
            return
        with self._lock:
            self._kept.append(record)
            self._seen += 1

    def __enter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a timeline records one block; write a new `with timeline(...)`")
        if self._path is not None:
            # A path that cannot be written says so now, and not when there is something to lose.
            self._path.touch()
        self._entered = True
        with ExitStack() as watching:
            if not self._dispatchers:
                watching.enter_context(everywhere(self))
            for dispatcher in self._dispatchers:
                dispatcher.add_instrument(self)
                watching.callback(_let_go, dispatcher, self)
            self._watching = watching.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self._ended = perf_counter()
        self._watching.close()
        if self._path is None:
            return
        try:
            self.write(self._path)
        except Exception as error:
            if exc is None:
                raise
            # The error of the block leaves unchanged.
            exc.add_note(f"the timeline could not be written to {self._path}: {error!r}")

    # What was recorded

    @property
    def records(self) -> tuple[DispatchRecord, ...]:
        """The dispatches, in the order in which they began."""
        with self._lock:
            return tuple(self._kept)

    @property
    def dropped(self) -> int:
        """How many dispatches were dropped, because there were more than ``max_dispatches``."""
        with self._lock:
            return self._seen - len(self._kept)

    def text(self, *, width: int | None = None, ascii: bool = False, by: By | None = None) -> str:  # noqa: A002
        """Draw them in characters; the arguments are those of `as_text`.

        Returns:
            Lines of text, each with its end.

        Raises:
            ValueError: As `as_text`.
        """
        return as_text(self.records, width=width, ascii=ascii, by=by, until=self._until, dropped=self.dropped)

    def svg(self, *, width: int = 960, by: By | None = None) -> str:
        """Draw them as SVG; the arguments are those of `as_svg`.

        Returns:
            The text of the file.

        Raises:
            ValueError: As `as_svg`.
        """
        return as_svg(self.records, width=width, by=by, until=self._until, dropped=self.dropped)

    def chrome_trace(self) -> str:
        """Write them as a trace for Perfetto, as `as_chrome_trace` does.

        Returns:
            The text of the JSON file.
        """
        return as_chrome_trace(self.records, until=self._until, dropped=self.dropped)

    def write(self, path: str | PathLike[str], /) -> None:
        """Write them to a file: ``.svg`` and ``.txt`` are pictures, all else is a trace for Perfetto.

        Raises:
            OSError: The file cannot be written.
            TypeError: The path is no path.
        """
        path = _checked_path(path)
        match path.suffix.lower():
            case ".svg":
                text = self.svg()
            case ".txt":
                text = self.text(width=FILE_WIDTH)
            case _:
                text = self.chrome_trace()
        path.write_text(text, encoding="utf-8", newline="\n")

    @property
    def _until(self) -> float:
        return perf_counter() if self._ended is None else self._ended

    def __repr__(self) -> str:
        return f"<Timeline, dispatches: {len(self.records)}>"


def _let_go(dispatcher: AnyDispatcher, instrument: Timeline) -> None:
    # Somebody may have taken it out by hand.
    with suppress(ValueError):
        dispatcher.remove_instrument(instrument)


def _checked_path(path: object) -> Path:
    if not isinstance(path, (str, PathLike)):
        raise TypeError(f"the path of the file comes first, None for no file, then the dispatchers; got {path!r}")
    return Path(cast("str | PathLike[str]", path))


def _checked_dispatcher(dispatcher: Any) -> AnyDispatcher:
    if not isinstance(dispatcher, (AsyncEventDispatcher, EventDispatcher)):
        raise TypeError(f"a timeline watches dispatchers; got {dispatcher!r} ({type(dispatcher).__name__})")
    return dispatcher


def _checked_number(number: object) -> int | None:
    if number is None:
        return None
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"max_dispatches= is how many dispatches are kept, an int or None; got {number!r}")
    if number < 1:
        raise ValueError(f"max_dispatches= is how many dispatches are kept, at least 1 (None for all); got {number}")
    return number
