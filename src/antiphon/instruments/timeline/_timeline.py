"""The recorder of a timeline, which writes a file when its block ends."""

from __future__ import annotations

from collections import deque
from os import PathLike
from threading import Lock
from typing import Final

from antiphon._util.arguments import hides_parameters
from antiphon._util.naming import safe_repr
from antiphon.instruments import DispatchRecord
from antiphon.instruments._block import AnyDispatcher, BlockInstrument, check_path
from antiphon.instruments.timeline._chart import GroupBy
from antiphon.instruments.timeline._chrome_trace import as_chrome_trace
from antiphon.instruments.timeline._svg import as_svg
from antiphon.instruments.timeline._text import as_text

__all__ = ("Timeline", "timeline")

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
        OSError: If the file cannot be written. Raised on entry, or when the block ends.
        TypeError: If ``path`` is not a path, another argument is not a dispatcher, or ``max_dispatches`` is not an int.
        ValueError: If ``max_dispatches`` is less than 1.
    """
    return Timeline(path, *dispatchers, max_dispatches=max_dispatches)


class Timeline(BlockInstrument):
    """The recorded dispatches, and their charts and traces.

    A timeline is an instrument. To keep the latest dispatches of a running program, use
    ``dispatcher.add_instrument(Timeline(max_dispatches=100))``. The arguments are those of `timeline`.

    Raises:
        OSError: As for `timeline`.
        TypeError: As for `timeline`.
        ValueError: As for `timeline`.
    """

    __slots__ = ("_lock", "_records", "_started_count")

    _name = "timeline"

    @hides_parameters
    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        /,
        *dispatchers: AnyDispatcher,
        max_dispatches: int | None = 10_000,
    ) -> None:
        super().__init__(path, dispatchers)
        self._records: deque[DispatchRecord] = deque(maxlen=_check_max_dispatches(max_dispatches))
        self._started_count = 0
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
            TypeError: As for `as_text`.
            ValueError: As for `as_text`.
        """
        return as_text(self.records, width=width, ascii=ascii, by=by, until=self._until, dropped=self.dropped)

    def svg(self, *, width: int = 960, by: GroupBy | None = None) -> str:
        """Return a chart as SVG. The arguments are those of `as_svg`.

        Returns:
            The text of the file.

        Raises:
            TypeError: As for `as_svg`.
            ValueError: As for `as_svg`.
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
            ValueError: If the operating system cannot have a file of this name, such as one with a null character.
        """
        path = check_path(path)
        match path.suffix.lower():
            case ".svg":
                text = self.svg()
            case ".txt":
                text = self.text(width=FILE_WIDTH)
            case _:
                text = self.chrome_trace()
        path.write_text(text, encoding="utf-8", newline="\n")

    def __repr__(self) -> str:
        return f"<Timeline, dispatches: {len(self.records)}>"


def _check_max_dispatches(number: object) -> int | None:
    if number is None:
        return None
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"max_dispatches= must be an int, or None to keep all dispatches; got {safe_repr(number)}")
    if number < 1:
        raise ValueError(f"max_dispatches= must be at least 1, or None to keep all dispatches; got {number}")
    return number
