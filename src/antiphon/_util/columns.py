"""Text in columns of a monospaced font."""

from __future__ import annotations

from collections.abc import Iterator
from unicodedata import combining, east_asian_width

__all__ = ("display_width", "pad", "truncate", "wrap")


def display_width(text: str) -> int:
    """Return the number of columns of a text. East Asian characters occupy two columns."""
    return len(text) if text.isascii() else sum(map(_character_width, text))


def pad(text: str, width: int) -> str:
    """Append spaces to a text, up to a number of columns."""
    return text + " " * (width - display_width(text))


def truncate(text: str, width: int) -> str:
    """Cut a text to a number of columns. A text that is cut ends with an ellipsis."""
    if display_width(text) <= width:
        return text
    kept, used = "", 1
    for character in text:
        used += _character_width(character)
        if used > width:
            break
        kept += character
    return f"{kept}…" if width > 0 else ""


def wrap(text: str, width: int) -> list[str]:
    """Split a text at spaces into lines of a number of columns. A word that is longer than a line is split as well.

    Args:
        text: The text, without line breaks.
        width: The maximum number of columns of a line, at least 2.
    """
    lines = [""]
    for word in text.split(" "):
        line = f"{lines[-1]} {word}" if lines[-1] else word
        if display_width(line) <= width:
            lines[-1] = line
        else:
            lines += _split_word(word, width)
    return [line for line in lines if line] or [""]


def _split_word(word: str, width: int) -> Iterator[str]:
    part, used = "", 0
    for character in word:
        used += _character_width(character)
        if used > width:
            yield part
            part, used = "", _character_width(character)
        part += character
    yield part


def _character_width(character: str) -> int:
    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1
