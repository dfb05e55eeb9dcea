"""The table of common mistakes: each raises the error that the docs show, and the code that they recommend works."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

import anyio
import pytest

import antiphon

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
try:
    import mistakes
finally:
    sys.path.pop(0)

MISTAKES = mistakes.load()


class OrderPlaced(antiphon.Event): ...


async def confirm(event: Any) -> None: ...


def plain(event: Any) -> None: ...


async def execute(code: str, names: dict[str, Any]) -> None:
    """Execute code that may contain ``await``."""
    compiled = compile(code.strip(), "<mistake>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = FunctionType(compiled, names)()
    if inspect.isawaitable(result):
        await result


@pytest.fixture
def names() -> dict[str, Any]:
    """The names that the code uses."""
    public = {name: getattr(antiphon, name) for name in antiphon.__all__}
    own = {"OrderPlaced": OrderPlaced, "confirm": confirm, "plain": plain, "anyio": anyio}
    dispatchers = {"dispatcher": antiphon.AsyncEventDispatcher(), "sync_dispatcher": antiphon.EventDispatcher()}
    return {**public, **own, **dispatchers}


every_row = pytest.mark.parametrize("row", MISTAKES, ids=lambda row: row.mistake.strip().splitlines()[-1].strip())


@every_row
async def test_mistake_raises_an_error_that_shows_the_fix(row: mistakes.Mistake, names: dict[str, Any]) -> None:
    await execute(row.before, names)
    before = names["dispatcher"].get_listeners()
    with pytest.raises(Exception) as caught:
        await execute(row.mistake, names)

    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert type(error).__name__ == row.error
    assert [text for text in row.says if text not in str(error)] == []
    assert names["dispatcher"].get_listeners() == before


@every_row
async def test_recommended_code_works(row: mistakes.Mistake, names: dict[str, Any]) -> None:
    """Code that waits for an event receives one."""
    await execute(row.before, names)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(execute, row.write, names)
        await anyio.wait_all_tasks_blocked()
        await names["dispatcher"].adispatch("order.placed")


def test_each_section_is_on_the_page() -> None:
    page = (Path(mistakes.__file__).parent / "mistakes.md").read_text(encoding="utf-8")

    assert set(re.findall(r"```\{mistakes\} (\w+)", page)) == {row.section for row in MISTAKES}


def test_unknown_section_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no row of mistakes\.toml is in the section 'typos'"):
        mistakes.render_section("typos")
