"""Printing a program as a test that can be pasted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from antiphon.testing import Backend
from tests.properties.interpreter import perform
from tests.properties.scenarios import Brief, Program
from tests.properties.trace import History

__all__ = ("check", "render")


def check(
    law: Callable[[History], None],
    program: Program,
    backend: Backend,
    perform: Callable[[Program, Backend], History] = perform,
) -> None:
    """Perform a program, and see whether a law holds; a failure prints as a test that can be pasted."""
    try:
        law(perform(program, backend))
    except Exception as exc:
        exc.add_note(f"To paste:\n\n{render(program, backend, law, perform)}")
        raise


def render(
    program: Program,
    backend: Backend,
    law: Callable[[History], None],
    perform: Callable[[Program, Backend], History] = perform,
) -> str:
    """Write a complete test module that performs a program and checks a law."""
    return f"""\
from tests.properties.{law.__module__.rpartition(".")[2]} import {law.__name__}
from tests.properties.interpreter import {perform.__name__}
from tests.properties.scenarios import *
from antiphon.testing import Backend


def test_{law.__name__}():
    program = {lay_out(program, 1)}
    {law.__name__}({perform.__name__}(program, {backend!r}))
"""


def lay_out(value: Any, level: int = 0) -> str:
    """Write a value as ``repr`` does, but over several lines where one would be too long."""
    line = repr(value)
    if len(line) + 4 * level <= 100:
        return line
    if isinstance(value, tuple):
        items = [lay_out(item, level + 1) for item in value]
        return _brackets("(", items, ")", level)
    assert isinstance(value, Brief)
    items = [f"{name}={lay_out(argument, level + 1)}" for name, argument in value.arguments()]
    return _brackets(f"{type(value).__name__}(", items, ")", level)


def _brackets(opening: str, items: list[str], closing: str, level: int) -> str:
    inner = "    " * (level + 1)
    lines = "".join(f"{inner}{item},\n" for item in items)
    return f"{opening}\n{lines}{'    ' * level}{closing}"
