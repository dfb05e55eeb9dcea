"""Printing a scenario as a test that can be pasted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from antiphon.testing import Backend
from tests.properties import error_invariants, instrument_invariants, invariants
from tests.properties.interpreter import interpret, interpret_observed
from tests.properties.scenarios import Brief, Scenario
from tests.properties.trace import History

__all__ = ("all_invariants", "check", "observed_invariants", "render")


def all_invariants(history: History) -> None:
    """Check all invariants that do not need an instrument."""
    for module in (invariants, error_invariants):
        for name in module.__all__:
            getattr(module, name)(history)


def observed_invariants(history: History) -> None:
    """Check all invariants."""
    all_invariants(history)
    for name in instrument_invariants.__all__:
        getattr(instrument_invariants, name)(history)


def check(invariant: Callable[[History], None], scenario: Scenario, backend: Backend) -> None:
    """Interpret a scenario, and check an invariant; a failure prints as a test that can be pasted."""
    try:
        invariant((interpret_observed if invariant is observed_invariants else interpret)(scenario, backend))
    except Exception as exc:
        exc.add_note(f"To paste:\n\n{render(scenario, backend, invariant)}")
        raise


def render(scenario: Scenario, backend: Backend, invariant: Callable[[History], None]) -> str:
    """Return a complete test module that checks an invariant on a scenario."""
    return f"""\
from tests.properties.{invariant.__module__.rpartition(".")[2]} import {invariant.__name__}
from tests.properties.rendering import check
from tests.properties.scenarios import *
from antiphon.testing import Backend


def test_{invariant.__name__}():
    scenario = {lay_out(scenario, 1)}
    check({invariant.__name__}, scenario, {backend!r})
"""


def lay_out(value: Any, level: int = 0) -> str:
    """Return a value as ``repr`` does, but over several lines where one would be too long."""
    line = repr(value)
    if len(line) + 4 * level <= 100:
        return line
    if isinstance(value, tuple):
        return _add_brackets("(", [lay_out(item, level + 1) for item in value], ")", level)
    assert isinstance(value, Brief)
    items = [f"{name}={lay_out(argument, level + 1)}" for name, argument in value.arguments()]
    return _add_brackets(f"{type(value).__name__}(", items, ")", level)


def _add_brackets(opening: str, items: list[str], closing: str, level: int) -> str:
    inner = "    " * (level + 1)
    lines = "".join(f"{inner}{item},\n" for item in items)
    return f"{opening}\n{lines}{'    ' * level}{closing}"
