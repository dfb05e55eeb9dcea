"""Making a program that shows a difference smaller, and printing it as a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from tests.fuzz.loops import LoopName
from tests.fuzz.programs import Dispatch, Group, Guarded, Program, Within, walk

__all__ = ("as_test", "shrink")


def shrink(program: Program, still_differs: Callable[[Program], bool], *, attempts: int = 150) -> Program:
    """Remove parts of a program as long as it still differs.

    Args:
        program: The program.
        still_differs: Whether a smaller program shows the same difference.
        attempts: How many smaller programs are tried.

    Returns:
        The smallest program that was found.
    """
    found = True
    while found and attempts > 0:
        found = False
        for smaller in _smaller(program):
            if not smaller.dispatch.tiers:
                continue
            attempts -= 1
            if still_differs(smaller):
                program, found = smaller, True
                break
            if attempts <= 0:
                break
    return program


def _smaller(value: Any) -> Iterator[Any]:
    """Yield copies of a part that lack something, those that lack most first."""
    if isinstance(value, tuple):
        for number, member in enumerate(value):
            yield value[:number] + value[number + 1 :]
            for body in _inner(member):
                yield value[:number] + body + value[number + 1 :]
        for number, member in enumerate(value):
            for smaller in _smaller(member):
                yield (*value[:number], smaller, *value[number + 1 :])
    elif is_dataclass(value) and not isinstance(value, type):
        if isinstance(value, Program) and value.around != "nothing":
            yield replace(value, around="nothing", seconds=0)
        for field in fields(value):
            current = getattr(value, field.name)
            if isinstance(current, bool) and current:
                yield replace(value, **{field.name: False})
            elif isinstance(current, tuple) or is_dataclass(current):
                for smaller in _smaller(current):
                    yield replace(value, **{field.name: smaller})
        if isinstance(value, Dispatch) and value.limit is not None:
            yield replace(value, limit=None)


def _inner(step: Any) -> Iterator[tuple[Any, ...]]:
    """Yield what can replace a step that contains other steps."""
    match step:
        case Within(body=body):
            yield body
        case Group(children=children, body=body):
            yield body
            yield from children
        case Guarded(body=body, cleanup=cleanup):
            yield body
            yield cleanup
        case Dispatch(tiers=tiers):
            for tier in tiers:
                yield from tier
        case _:
            pass


def as_test(program: Program, loop: LoopName, name: str) -> str:
    """Return a pytest module with one test that fails as long as the program differs."""
    names = ", ".join(sorted({type(part).__name__ for part in walk(program)}))
    return f"""\
from tests.fuzz.comparing import check
from tests.fuzz.programs import {names}


def test_{name}():
    check({program!r}, {loop!r})
"""
