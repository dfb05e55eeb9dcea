"""The Python blocks of a page as one program, which readers download from the page and which the tests run.

This module is a Sphinx extension. It writes the programs to the folder ``programs`` of the HTML docs, and adds a link
to the end of each page.

If a block awaits outside of a function, the blocks are in ``async def main()``, and the imports are at the top. The
blocks that start an event loop themselves then follow after ``main``, and what precedes the first ``await`` precedes
``main``, so that these blocks can use it. Without such an ``await``, the blocks are in the file as they are.
"""

from __future__ import annotations

import ast
import inspect
import io
import posixpath
import re
import sys
import tokenize
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DOCS = Path(__file__).parent
#: The pages with blocks that are not one program. The reason is shown on the page.
EXCEPTIONS = {
    "pytest-plugins": "Its blocks are the files of several test projects, which the tests run.",
    "recipes/harp": "Its blocks belong to several files of a project with HARP.",
    "seeing": 'Its blocks need the folder "examples" of the repository of antiphon.',
}
#: What is shown beside the link of a page.
NOTES = {"mistakes": "the first block only; the tests run each of the others by itself"}
#: The pages whose blocks are files. The first line of each block is the name of its file.
TUTORIAL = ("tutorial", "tutorial-service", "tutorial-tests")
#: The number of characters of a line, within a block.
WIDTH = 88

_PARTS = re.compile(
    r"^<!-- (?P<comment>.*?)-->$"
    r"|^(?P<indent> *)(?P<fence>`{3,})(?P<language>[^\n]*)\n(?P<code>.*?)^(?P=indent)(?P=fence)$"
    r"|^#+ (?P<heading>[^\n]+)$",
    re.MULTILINE | re.DOTALL,
)
_SKIP = re.compile(r'skip: next "(?P<reason>.*)"')
_FILE_NAME = re.compile(r"# (?P<path>[\w/]+\.py)\n")


class Block(NamedTuple):
    """One block of a page, or the reason why the program does not contain it."""

    heading: str
    code: str
    left_out: str = ""


class Page(NamedTuple):
    """What a page contributes to its program."""

    title: str
    blocks: tuple[Block, ...]
    requirements: tuple[str, ...]


def find_pages() -> list[str]:
    """Return the names of the pages that may have a program, such as ``recipes/agents``."""
    paths = [*DOCS.glob("*.md"), *DOCS.glob("recipes/*.md")]
    return sorted(path.relative_to(DOCS).with_suffix("").as_posix() for path in paths)


def read_page(name: str) -> Page:
    """Read the Python blocks that a page shows."""
    title = heading = reason = ""
    blocks: list[Block] = []
    requirements: list[str] = []
    for part in _PARTS.finditer((DOCS / f"{name}.md").read_text(encoding="utf-8")):
        if part["heading"]:
            heading = part["heading"].replace("`", "")
            title = title or heading
        elif part["comment"]:
            skip = _SKIP.match(part["comment"])
            reason = skip["reason"].replace("`", "") if skip else ""
        elif part["language"] == "python":
            blocks.append(Block(heading, dedent(part["code"]), reason))
            reason = ""
        elif part["language"] == "sh":
            requirements += re.findall(r"^pip install [^#\n]*[^#\s]", part["code"], re.MULTILINE)
    return Page(title, tuple(blocks), tuple(requirements))


def make_files(name: str) -> dict[str, str]:
    """Return the files of a page by path, relative to ``programs``; none if the page shows no code."""
    page = read_page(name)
    if name in EXCEPTIONS or all(block.left_out for block in page.blocks):
        return {}
    if name in TUTORIAL:
        return {f"tutorial/{_name_file(block)}": block.code for block in page.blocks}
    # The suffix, because a file `types.py` or `fastapi.py` would hide the module with this name.
    path = f"{name.replace('-', '_')}_page.py"
    return {path: make_program(page, posixpath.basename(path))}


def _name_file(block: Block) -> str:
    named = _FILE_NAME.match(block.code)
    if not named:
        msg = f"expected the name of the file in the first line of:\n{block.code}"
        raise ValueError(msg)
    return named["path"]


def make_program(page: Page, file_name: str) -> str:
    """Return the program of a page.

    Raises:
        ValueError: If ``main`` would bind a name that the code before ``main`` binds.
    """
    head = [f'# The examples of the page "{page.title}" in the documentation of antiphon.']
    head += [f"# Install: {requirement}" for requirement in page.requirements]
    if not any(_awaits(statement) for block in page.blocks for statement in _parse(block)):
        return _join(["\n".join(head), _join(_write_blocks(page, page.blocks), 2)], 1)

    head.append(f"# On asyncio: python {file_name}")
    head.append(f"# On Trio:    python {file_name} trio")
    loops = [block for block in page.blocks if any(_starts_loop(statement) for statement in _parse(block))]
    others = [block for block in page.blocks if block not in loops]
    imports = _write_imports(statement for block in page.blocks for statement in _parse(block))
    before, inside = _split(others) if loops else ([], others)
    before, inside, loops = (
        [block._replace(code=_remove_imports(block.code)) for block in blocks] for blocks in (before, inside, loops)
    )
    main = _join(_write_blocks(page, inside), 1)
    run = 'anyio.run(main, backend=sys.argv[1] if len(sys.argv) > 1 else "asyncio")'
    last = _join([run, *_write_blocks(page, loops)], 1)
    return _join(
        [
            _join(["\n".join(head), imports], 1),
            *_write_blocks(page, before),
            f"async def main():\n{_indent(main)}",
            f'if __name__ == "__main__":\n{_indent(last)}',
        ],
        2,
    )


def _parse(block: Block) -> list[ast.stmt]:
    return [] if block.left_out else ast.parse(block.code).body


def _awaits(statement: ast.stmt) -> bool:
    module = ast.Module([statement], [])
    code = compile(module, "<page>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return bool(code.co_flags & inspect.CO_COROUTINE)


def _starts_loop(node: ast.AST) -> bool:
    """Return whether a statement calls ``asyncio.run``, ``backend.run`` or the like, outside of a function."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Await):
        return False
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "run":
        return True
    return any(_starts_loop(child) for child in ast.iter_child_nodes(node))


def _split(blocks: list[Block]) -> tuple[list[Block], list[Block]]:
    """Split the blocks before the first statement that awaits, and check that no name is bound on both sides."""
    for index, block in enumerate(blocks):
        for statement in _parse(block):
            if _awaits(statement):
                lines = block.code.splitlines(keepends=True)
                start = statement.lineno - 1
                while start and lines[start - 1].startswith("#"):
                    start -= 1
                first, second = (block._replace(code="".join(part)) for part in (lines[:start], lines[start:]))
                before, inside = [*blocks[:index], first], [second, *blocks[index + 1 :]]
                twice = _find_bound(before) & _find_bound(inside)
                if twice:
                    msg = f"bound before and in main: {', '.join(sorted(twice))}"
                    raise ValueError(msg)
                return before, inside
    return blocks, []


def _find_bound(blocks: list[Block]) -> set[str]:
    """Return the names that the statements of blocks bind outside of functions, except for imported names."""
    bound: set[str] = set()
    waiting: list[ast.AST] = [statement for block in blocks for statement in _parse(block)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        waiting += ast.iter_child_nodes(node)
    return bound


def _write_imports(statements: Iterable[ast.stmt]) -> str:
    """Write all imports once: the standard library first, then other libraries, then antiphon."""
    names: dict[str, set[str]] = {"sys": set(), "anyio": set()}
    for statement in statements:
        if isinstance(statement, ast.Import):
            names.update({_write_alias(alias): names.get(_write_alias(alias), set()) for alias in statement.names})
        elif isinstance(statement, ast.ImportFrom):
            names.setdefault(f".{statement.module}", set()).update(map(_write_alias, statement.names))
    groups: tuple[list[str], list[str], list[str]] = ([], [], [])
    # As ruff sorts them: `import` before `from`, and then by name.
    for key in sorted(names, key=lambda key: (key.startswith("."), key.removeprefix("."))):
        module = key.removeprefix(".")
        line = f"import {module}" if key == module else _write_from(module, names[key])
        top = re.split(r"[ .]", module)[0]
        groups[2 if top == "antiphon" else 0 if top in sys.stdlib_module_names else 1].append(line)
    return _join(["\n".join(group) for group in groups], 1)


def _write_alias(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def _write_from(module: str, names: set[str]) -> str:
    # Constants, then classes, then functions.
    ordered = sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    line = f"from {module} import {', '.join(ordered)}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"from {module} import (", *(f"    {name}," for name in ordered), ")"])


def _remove_imports(code: str) -> str:
    lines = code.splitlines()
    for statement in reversed(ast.parse(code).body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            del lines[statement.lineno - 1 : statement.end_lineno]
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines).strip("\n"))


def _write_blocks(page: Page, blocks: Iterable[Block]) -> Iterator[str]:
    """Write each block, below its heading if that is not the heading of the block before."""
    heading = page.title
    for block in blocks:
        code = f"# A block is left out: {block.left_out}." if block.left_out else block.code.strip("\n")
        if code:
            # ruff keeps two empty lines before a function or a class.
            space = "\n\n\n" if re.match(r"@|async def |def |class ", code) else "\n\n"
            yield code if block.heading == heading else f"# {block.heading}{space}{code}"
            heading = block.heading


def _indent(code: str) -> str:
    """Indent code, but not the text of its strings, with at most one empty line between two lines."""
    text: set[int] = set()
    started = 0
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        # From Python 3.12 on, an f-string is several tokens.
        kind = tokenize.tok_name[token.type]
        if kind == "FSTRING_START":
            started = token.start[0]
        elif kind in {"FSTRING_END", "STRING"}:
            start = started if kind == "FSTRING_END" else token.start[0]
            text.update(range(start + 1, token.end[0] + 1))
    lines: list[str] = []
    for number, line in enumerate(code.split("\n"), 1):
        if number in text:
            lines.append(line)
        elif line or (lines and lines[-1]):
            lines.append(f"    {line}" if line else "")
    return "\n".join(lines)


def _join(parts: Iterable[str], empty_lines: int) -> str:
    return ("\n" * (empty_lines + 1)).join(part.strip("\n") for part in parts if part) + "\n"


def _add_link(app: Any, doctree: Any, name: str) -> None:
    from docutils import nodes

    if app.builder.format != "html" or name not in find_pages():
        return
    paths = list(make_files(name))
    if not paths and name not in EXCEPTIONS:
        return
    paragraph = nodes.paragraph("", classes=["program"])
    if name in EXCEPTIONS:
        paragraph += nodes.Text(f"This page is not one program. {EXCEPTIONS[name]}")
    else:
        paragraph += nodes.Text("The files of this page: " if name in TUTORIAL else "Run this page: ")
    folder = posixpath.dirname(app.builder.get_target_uri(name)) or "."
    for path in paths:
        if path != paths[0]:
            paragraph += nodes.Text(", ")
        paragraph += _make_reference(path, posixpath.relpath(f"programs/{path}", folder))
    if paths:
        reasons = [block.left_out for block in read_page(name).blocks if block.left_out]
        notes = [NOTES[name]] if name in NOTES else [f"a block is left out: {reason}" for reason in reasons]
        paragraph += nodes.Text(f" ({'; '.join(notes)})" if notes else "")
    next(doctree.findall(nodes.section)).append(paragraph)


def _make_reference(path: str, uri: str) -> Any:
    from docutils import nodes
    from sphinx.addnodes import download_reference

    text = path.removeprefix("tutorial/").removeprefix("recipes/")
    return download_reference("", "", nodes.literal("", text), refuri=uri)


def _write_programs(app: Any, exception: Exception | None) -> None:
    if exception or app.builder.format != "html":
        return
    for name in find_pages():
        for path, text in make_files(name).items():
            file = Path(app.outdir, "programs", path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    """Add the links to the pages, and write the programs."""
    app.connect("doctree-resolved", _add_link)
    app.connect("build-finished", _write_programs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
