"""Configuration of the docs. ``nox -s docs`` builds them without network access."""

import re
import sys
import tomllib
from importlib import import_module
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from sphinx.pycode import ModuleAnalyzer

# The extension in this folder, and the examples, whose events the docs show.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

project = "antiphon"
author = "The antiphon authors"
copyright = "2026, The antiphon authors"  # noqa: A001 - Sphinx requires this name
release = installed_version("antiphon")
version = release
urls = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "antiphon.diagrams.sphinx",
    # The table of guarantees, in this folder.
    "guarantees",
    # The tables of common mistakes, in this folder.
    "mistakes",
    # The pictures of timelines and the chart, in this folder.
    "pictures",
    # The programs of the pages, in this folder.
    "programs",
]
exclude_patterns = ["_build", "inventories"]
html_theme = "furo"
html_title = f"antiphon {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_logo = html_favicon = "_static/logo.svg"
html_theme_options = {
    # The links "View this page" and "Edit this page".
    "source_repository": urls["Source"],
    "source_branch": "main",
    "source_directory": "docs/",
}
# The copy button omits the prompt and the output of a command.
copybutton_prompt_text = "$ "
# A command can continue on the next line.
copybutton_line_continuation_character = "\\"
# A block of text is the output of a program, which is not to be copied.
copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"
# Furo's default underlines the names of classes and modules.
pygments_dark_style = "github-dark"
html_show_copyright = False
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
autodoc_type_aliases = {"Key": "antiphon.typing.Key", "Name": "antiphon.typing.Name"}
napoleon_numpy_docstring = False
# Otherwise an attribute `type` of a class would be a target for `type[...]` in each signature.
napoleon_use_ivar = True

# The inventories contain only the names that the docs use, because a full inventory would need network access. If a
# build reports a missing name, add a line.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "inventories/python.txt"),
    "anyio": ("https://anyio.readthedocs.io/en/stable", "inventories/anyio.txt"),
}
# A name in single backticks in a docstring must be a name of antiphon that exists.
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [
    # OpenTelemetry has no inventory here.
    ("py:class", r"opentelemetry\..*"),
    # msgspec has no inventory here.
    ("py:class", r"msgspec\..*"),
    # The type of a field of a dataclass, in a signature that autodoc does not resolve.
    ("py:class", "datetime"),
    # The pages about options describe it.
    ("py:class", "Options"),
    # Type variables have no documentation.
    ("py:.*", r"(antiphon\.(\w+\.)*)?(_?[A-Z]\d?(_co)?|_?[A-Z][A-Za-z]*T(_co|_contra)?|P|Ts)"),
    # Types of overloads, for type checkers only.
    ("py:class", "TypedKey|UnionType|NameFor|NameNeedsItsEvent|ClassIsNotAnEvent|SyncDecorator|AnySyncDecorator"),
]


#: The packages from which users import the classes of private modules.
PACKAGES = (
    "antiphon",
    "antiphon.bridges",
    "antiphon.diagrams",
    "antiphon.instruments",
    "antiphon.instruments.coverage",
    "antiphon.instruments.timeline",
    "antiphon.testing",
    "antiphon.typing",
)


def _read_attribute_comments(_: Any) -> None:
    # A public class has the package as its module, so that users import it from there. But autodoc looks for the
    # comments of its attributes in that module. Add the comments of the private modules to those of the packages.
    root = Path(import_module("antiphon").__path__[0])
    for path in sorted(root.rglob("*.py")):
        names = path.relative_to(root.parent).with_suffix("").parts
        if not any(name.startswith("_") and name != "__init__" for name in names):
            continue
        private = ModuleAnalyzer.for_file(path, ".".join(names))
        private.analyze()
        for package in PACKAGES:
            public = ModuleAnalyzer.for_module(package)
            public.analyze()
            items = {name: getattr(import_module(package), name) for name in import_module(package).__all__}
            items |= {base.__name__: base for item in items.values() for base in getattr(item, "__mro__", ())}
            # Another module can have a private class of the same name, whose attributes are others.
            shared = {
                name
                for name in {tag.partition(".")[0] for tag in private.tagorder} & items.keys()
                if getattr(import_module(private.modname), name, None) is items[name]
            }
            public.attr_docs |= {
                (path, name): lines
                for (path, name), lines in private.attr_docs.items()
                if (path or name).partition(".")[0] in shared
            }
            public.tagorder |= {
                tag: number for tag, number in private.tagorder.items() if tag.partition(".")[0] in shared
            }


_CELL = re.compile(r"<t[dh].*?</t[dh]>", re.DOTALL)
#: A word of HTML text that does not fit a narrow cell.
_LONG_WORD = re.compile(r"(?<![^>\s])(?:[^<>&\s]|&\S+?;){16,}(?![^<\s])")
#: Where such a word may break: after a dot, a slash, a colon or an underscore, within brackets, and before a capital
#: in the middle of a long name.
_BREAK = re.compile(r"(?<=\w[./:_(=])(?=[\w&])|(?<=[a-z])(?=[A-Z]\w{9})")

#: The start of a short word of code that begins with a hyphen.
_OPTION = re.compile(r'(?<=<span class="pre)(?=">-[^<]{,30}</span>)')
#: The usage of a command, and an optional argument in it.
_USAGE = re.compile(r'<div class="wrapped highlight-text.*?</pre>', re.DOTALL)
_ARGUMENT = re.compile(r"\[-[^]]+\]")


def _let_names_break(_app: Any, _name: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    # Otherwise the browser breaks the names in the tables of a phone anywhere.
    if "body" in context:
        context["body"] = _CELL.sub(
            lambda cell: _LONG_WORD.sub(lambda word: _BREAK.sub("<wbr>", word[0]), cell[0]), context["body"]
        )
        # The browser breaks after a hyphen, also after those of `--help`.
        context["body"] = _OPTION.sub(" unbroken", context["body"])
        context["body"] = _USAGE.sub(
            lambda usage: _ARGUMENT.sub(r'<span class="unbroken">\g<0></span>', usage[0]), context["body"]
        )


def setup(app: Any) -> None:
    """Register the functions of this file with Sphinx."""
    app.connect("builder-inited", _read_attribute_comments)
    app.connect("html-page-context", _let_names_break)
