"""The tables of common mistakes, built from the data in mistakes.toml.

This module is a Sphinx extension with one directive: ``mistakes`` shows the rows of a section.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

PATH = Path(__file__).parent / "mistakes.toml"


class Mistake(NamedTuple):
    """One row."""

    section: str
    mistake: str
    error: str
    says: tuple[str, ...]
    write: str
    before: str = ""


def load() -> tuple[Mistake, ...]:
    """Read the table."""
    data = tomllib.loads(PATH.read_text(encoding="utf-8"))
    return tuple(Mistake(**{**row, "says": tuple(row["says"])}) for row in data["mistake"])


def render_section(section: str) -> str:
    """Render the rows of one section: what the code needs, the wrong code, and the right code below it.

    Raises:
        ValueError: If there is no such section.
    """
    rows = [row for row in load() if row.section == section]
    if not rows:
        msg = f"no row of mistakes.toml is in the section {section!r}"
        raise ValueError(msg)
    blocks = (f"```python\n{_before(row)}{_comment(row)}\n{row.write.strip()}\n```" for row in rows)
    return "\n\n".join(blocks)


def _before(row: Mistake) -> str:
    return f"{row.before.strip()}\n\n" if row.before else ""


def _comment(row: Mistake) -> str:
    wrong = "\n".join(f"# {line}" for line in row.mistake.strip().splitlines())
    return f"{wrong}\n#   raises {row.error}. Write:"


def setup(app: Any) -> dict[str, Any]:
    """Add the directive to Sphinx."""
    from docutils import nodes
    from sphinx.util.docutils import SphinxDirective

    class MistakesDirective(SphinxDirective):
        required_arguments = 1

        def run(self) -> list[nodes.Node]:
            self.env.note_dependency(str(PATH))
            # Each line matters, so that a phone wraps them.
            return [
                nodes.container("", *self.parse_text_to_nodes(render_section(self.arguments[0])), classes=["wrapped"])
            ]

    app.add_directive("mistakes", MistakesDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
