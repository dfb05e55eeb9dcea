"""Source code, as it is written: what a catalogue wants to know and a running program has forgotten."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

__all__ = ("Attribute", "Source", "files_of", "source_of", "sources_of")


class Attribute(NamedTuple):
    """A variable of a module or an attribute of a class."""

    name: str
    #: Its annotation as it is written; empty if it has none.
    annotation: str
    #: What the ``#:`` comment, or the string below it, says.
    comment: str


class Source(NamedTuple):
    """The source of a module."""

    #: The name of the module.
    name: str
    file: Path
    lines: Sequence[str]
    tree: ast.Module

    def variables(self) -> Iterator[Attribute]:
        """Find what the module assigns to names."""
        return self._attributes(self.tree.body)

    def attributes_of(self, cls: str) -> Iterator[Attribute]:
        """Find the attributes that the body of a class annotates."""
        node = self._class(cls)
        body = node.body if node is not None else []
        return (attribute for attribute in self._attributes(body) if attribute.annotation)

    def doc_of(self, cls: str) -> str:
        """Give the docstring of a class as it is written: a dataclass without one makes one up."""
        node = self._class(cls)
        return (ast.get_docstring(node) or "") if node is not None else ""

    def _class(self, name: str) -> ast.ClassDef | None:
        return next((node for node in self.tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)

    def _attributes(self, body: Sequence[ast.stmt]) -> Iterator[Attribute]:
        for node, following in zip_longest(body, body[1:]):
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                target, annotation = node.targets[0], ""
            elif isinstance(node, ast.AnnAssign):
                target, annotation = node.target, _annotation(node.annotation)
            else:
                continue
            if isinstance(target, ast.Name):
                yield Attribute(target.id, annotation, self._comment_above(node.lineno) or _string_in(following))

    def _comment_above(self, number: int) -> str:
        comment: list[str] = []
        for line in reversed(self.lines[: number - 1]):
            if not line.strip().startswith("#:"):
                break
            comment.insert(0, line.strip().removeprefix("#:").strip())
        return " ".join(comment)


def _annotation(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)


def _string_in(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


def source_of(module: ModuleType) -> Source | None:
    """Read the source of a module; None if it has none, or none that can be read."""
    file = vars(module).get("__file__")
    return _read(module.__name__, Path(file)) if isinstance(file, str) else None


def sources_of(module: ModuleType) -> Iterator[Source]:
    """Read the sources of a module or, if it is a package, of all that is in it; they are not imported."""
    for name, file in files_of(module):
        source = _read(name, file)
        if source is not None:
            yield source


def files_of(module: ModuleType) -> Iterator[tuple[str, Path]]:
    """Find the file of a module or, if it is a package, those of all that is in it, each with its module's name."""
    folders = [Path(folder) for folder in vars(module).get("__path__", ())]
    file = vars(module).get("__file__")
    if not folders and isinstance(file, str):
        yield module.__name__, Path(file)
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join([module.__name__, *(parts[:-1] if parts[-1] == "__init__" else parts)]), path


def _read(name: str, file: Path) -> Source | None:
    try:
        text = file.read_text(encoding="utf-8")
        return Source(name, file, text.splitlines(), ast.parse(text))
    except (OSError, SyntaxError, ValueError):
        # What cannot be read, or is for another Python, has nothing to tell.
        return None
