"""A module of anyio is used only where it has been imported by name: `import anyio` alone does not load them all."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import antiphon

ROOT = Path(antiphon.__file__).parent


def attributes_of_anyio(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "anyio":
            yield node.attr


def modules_imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def used_without_import(source: str) -> list[str]:
    tree = ast.parse(source)
    used = {f"anyio.{attribute}" for attribute in attributes_of_anyio(tree)}
    return sorted(name for name in used - set(modules_imported(tree)) if find_spec(name) is not None)


def test_each_module_of_anyio_is_imported_where_it_is_used() -> None:
    """anyio 4.15.0 has no attribute ``lowlevel`` under ``asyncio.run`` until something imports ``anyio.lowlevel``."""
    for path in sorted(ROOT.rglob("*.py")):
        assert used_without_import(path.read_text(encoding="utf-8")) == [], path


def test_the_check_finds_a_missing_import_alone() -> None:
    assert used_without_import("import anyio\nwait = anyio.lowlevel.checkpoint\n") == ["anyio.lowlevel"]
    assert used_without_import("import anyio\nimport anyio.lowlevel\nchecked = anyio.lowlevel, anyio.Event\n") == []
