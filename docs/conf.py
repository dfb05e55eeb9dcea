"""Configuration of the docs: ``nox -s docs`` builds them, offline."""

import sys
from importlib import import_module
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from sphinx.pycode import ModuleAnalyzer

# Our own extension, and the examples, whose events are shown.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

project = "antiphon"
author = "The antiphon authors"
copyright = "2026, The antiphon authors"  # noqa: A001 - Sphinx's own name for it
release = installed_version("antiphon")
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "antiphon.diagrams.sphinx",
    # Our own: the table of guarantees.
    "guarantees",
]
exclude_patterns = ["_build", "inventories"]
html_theme = "furo"
html_title = "antiphon"
html_show_copyright = False
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False

# The names we refer to, and no more: a full inventory would have to be fetched. Add a line when a build asks for it.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "inventories/python.txt"),
    "anyio": ("https://anyio.readthedocs.io/en/stable", "inventories/anyio.txt"),
}
# What stands in single backticks in a docstring is a name of ours, and has to exist.
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [
    # Has no inventory here.
    ("py:class", r"opentelemetry\..*"),
    # Told of in the pages on options.
    ("py:class", "Options"),
    # Type variables have no page.
    ("py:.*", r"(antiphon\.(\w+\.)*)?(_?[A-Z]|_?[A-Z][A-Za-z]*T(_co|_contra)?|P|Ts)"),
]


def _read_comments(_: Any) -> None:
    # A public class says that it is of the package, so that nobody imports it from where it is written. There autodoc
    # looks for the comments that tell what its attributes are.
    for package in ("antiphon", "antiphon.diagrams", "antiphon.instruments.timeline", "antiphon.testing"):
        face = ModuleAnalyzer.for_module(package)
        face.analyze()
        for path in import_module(package).__path__:
            for room in Path(path).glob("_*.py"):
                written = ModuleAnalyzer.for_file(room, f"{package}.{room.stem}")
                written.analyze()
                face.attr_docs |= written.attr_docs
                face.tagorder |= written.tagorder


def setup(app: Any) -> None:
    app.connect("builder-inited", _read_comments)
