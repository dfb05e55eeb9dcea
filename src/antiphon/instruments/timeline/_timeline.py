"""The recorder of a timeline, which writes a file when its block ends."""

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
from antiphon._util.arguments import hides_parameters
from antiphon._util.naming import describe_value, safe_repr
from antiphon.instruments import DispatchRecord, Instrument, everywhere
from antiphon.instruments.timeline._chart import GroupBy
from antiphon.instruments.timeline._chrome_trace import as_chrome_trace
from antiphon.instruments.timeline._svg import as_svg
from antiphon.instruments.timeline._text import as_text

__all__ = ("Timeline", "timeline")

AnyDispatcher: TypeAlias = AsyncEventDispatcher | EventDispatcher

#: The width of a chart in a text file, in columns.
FILE_WIDTH: Final = 120


def timeline(
    path: str | PathLike[str] | None = None, /, *dispatchers: AnyDispatcher, max_dispatches: int | None = 10_000
) -> Timeline:
    """Record the dispatches in a ``with`` block, and write them to a file when the block ends.

    The file is a trace for Perfetto. If its name ends in ``.svg`` or ``.txt``, it is a chart. It is also written if the
    block raises, and the exception is raised unchanged.

    Args:
        path: The file; None to write no file.
        *dispatchers: The dispatchers to record, including their scopes. By default all dispatchers of the process,
            including those that are created in the block.
        max_dispatches: The number of dispatches to keep, with their events. Older ones are dropped and counted. None
            keeps all.

    Returns:
        A context manager that returns itself on entry.

    Raises:
        TypeError: If ``path`` is not a path, another argument is not a dispatcher, or ``max_dispatches`` is not an int.
        ValueError: If ``max_dispatches`` is less than 1.
    """
    return Timeline(path, *dispatchers, max_dispatches=max_dispatches)


class Timeline(Instrument):
    """The recorded dispatches, and their charts and traces.

    A timeline is an instrument. To keep the latest dispatches of a running program, use
    ``dispatcher.add_instrument(Timeline(max_dispatches=100))``. The arguments are those of `timeline`.

    Raises:
        TypeError: As `timeline`.
        ValueError: As `timeline`.
    """

    __slots__ = (
        "_dispatchers",
        "_end_time",
        "_exit_stack",
        "_is_entered",
        "_lock",
        "_path",
        "_records",
        "_started_count",
    )

    @hides_parameters
    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        /,
        *dispatchers: AnyDispatcher,
        max_dispatches: int | None = 10_000,
    ) -> None:
        self._path = None if path is None else _check_path(path)
        self._dispatchers = tuple({id(each): _check_dispatcher(each) for each in dispatchers}.values())
        self._records: deque[DispatchRecord] = deque(maxlen=_check_max_dispatches(max_dispatches))
        self._started_count = 0
        self._exit_stack = ExitStack()
        self._is_entered = False
        self._end_time: float | None = None
        # Threads may dispatch while another thread reads the records.
        self._lock = Lock()

    # Recording

    def dispatch_started(self, record: DispatchRecord, /) -> None:
        """Keep the record. The dispatch updates it until it finishes."""
        if self._end_time is not None:
            return
        with self._lock:
            self._records.append(record)
            self._started_count += 1

    def __enter__(self) -> Self:
        if self._is_entered:
            raise RuntimeError("a timeline can be entered only once: use a new `with timeline(...)`")
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
            exc.add_note(f"the timeline could not be written to {self._path}: {error!r}")

    # The recording

    @property
    def records(self) -> tuple[DispatchRecord, ...]:
        """The dispatches, in the order in which they started."""
        with self._lock:
            return tuple(self._records)

    @property
    def dropped(self) -> int:
        """The number of dispatches that were dropped because of ``max_dispatches``."""
        with self._lock:
            return self._started_count - len(self._records)

    def text(self, *, width: int | None = None, ascii: bool = False, by: GroupBy | None = None) -> str:  # noqa: A002
        """Return a chart as text. The arguments are those of `as_text`.

        Returns:
            Lines of text, each with a line break at its end.

        Raises:
            ValueError: As `as_text`.
        """
        return as_text(self.records, width=width, ascii=ascii, by=by, until=self._until, dropped=self.dropped)

    def svg(self, *, width: int = 960, by: GroupBy | None = None) -> str:
        """Return a chart as SVG. The arguments are those of `as_svg`.

        Returns:
            The text of the file.

        Raises:
            ValueError: As `as_svg`.
        """
        return as_svg(self.records, width=width, by=by, until=self._until, dropped=self.dropped)

    def _repr_svg_(self) -> str:
        # The notebooks of Jupyter call this method.
        return self.svg()

    def chrome_trace(self) -> str:
        """Return a trace for Perfetto, as `as_chrome_trace` does.

        Returns:
            The text of the JSON file.
        """
        return as_chrome_trace(self.records, until=self._until, dropped=self.dropped)

    def write(self, path: str | PathLike[str], /) -> None:
        """Write a chart if the path ends in ``.svg`` or ``.txt``, and a trace for Perfetto otherwise.

        Raises:
            OSError: If the file cannot be written.
            TypeError: If ``path`` is not a path.
        """
        path = _check_path(path)
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
        return perf_counter() if self._end_time is None else self._end_time

    def __repr__(self) -> str:
        return f"<Timeline, dispatches: {len(self.records)}>"


def _remove_instrument(dispatcher: AnyDispatcher, instrument: Timeline) -> None:
    # The program may have removed the instrument already.
    with suppress(ValueError):
        dispatcher.remove_instrument(instrument)


def _check_path(path: object) -> Path:
    if not isinstance(path, (str, PathLike)):
        raise TypeError(f"the first argument must be the path of the file, or None for no file; got {safe_repr(path)}")
    return Path(cast("str | PathLike[str]", path))


def _check_dispatcher(dispatcher: Any) -> AnyDispatcher:
    if not isinstance(dispatcher, (AsyncEventDispatcher, EventDispatcher)):
        raise TypeError(f"a timeline records dispatchers; got {describe_value(dispatcher)}")
    return dispatcher


def _check_max_dispatches(number: object) -> int | None:
    if number is None:
        return None
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"max_dispatches= must be an int, or None to keep all dispatches; got {safe_repr(number)}")
    if number < 1:
        raise ValueError(f"max_dispatches= must be at least 1, or None to keep all dispatches; got {number}")
    return number
