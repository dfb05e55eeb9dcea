"""The catalogue in a Sphinx build. The docs of antiphon use it as well; ``nox -s docs`` fails if it warns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import antiphon
from antiphon.diagrams import sphinx as extension

SOURCE = Path(antiphon.__file__).parent.parent


@pytest.fixture
def build(program):
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_parser")
    folder = program(
        conf="import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parent))\n"
        "extensions = ['myst_parser', 'antiphon.diagrams.sphinx']\nexclude_patterns = ['out']\n",
        app="from antiphon import EventDispatcher\nPLACED = 'order|placed'\ndispatcher = EventDispatcher(name='shop')\n"
        "@dispatcher.listen(PLACED)\ndef price(event):\n    'Return <the> price | cost.'\n",
        more="LOST = 'order.lost'",
    )

    def run(page):
        (folder / "index.md").write_text(page, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", folder, folder / "out"],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            cwd=folder,
        )
        html = folder / "out" / "index.html"
        return done, html.read_text(encoding="utf-8") if html.exists() else ""

    return run


def test_directive_inserts_the_catalogue(build):
    done, html = build("# Shop\n\nBefore.\n\n```{antiphon-catalogue} app:dispatcher\n```\n\n## After\n")

    assert (done.returncode, done.stderr) == (0, "")
    assert "<h2>Events of shop (EventDispatcher)" in html
    assert "<h3>" in html
    assert ">order|placed</span>" in html
    assert "Return &lt;the&gt; price | cost." in html
    assert html.index("Events of shop") < html.index("<h2>After")


def test_directive_has_the_options_of_the_command(build):
    page = "# Shop\n\n## Part\n\n```{antiphon-catalogue} app:dispatcher\n:events: app more\n:sources: app\n:level: 3\n```\n"
    done, html = build(page)

    assert (done.returncode, done.stderr) == (0, "")
    assert "<h3>Events of shop (EventDispatcher)" in html
    assert "order.lost" in html


def test_wrong_path_is_a_warning_with_the_reason(build):
    done, _ = build("# Shop\n\n```{antiphon-catalogue} app:dispacher\n```\n")

    assert done.returncode == 1
    assert "index.md:3: ERROR: app has no dispacher; did you mean dispatcher?" in done.stderr


class Directive(extension._CatalogueDirective):
    """The directive with the parts of the Sphinx base class that it uses."""

    def __init__(self, *arguments, **options):
        self.arguments, self.options, self.env, self.files = list(arguments), options, self, []

    def error(self, message):
        return LookupError(message)

    def note_dependency(self, file):
        self.files.append(Path(file).name)

    def parse_text_to_nodes(self, text, *, allow_section_headings):
        assert allow_section_headings
        return [text]


def test_page_depends_on_the_files_of_the_catalogue(program):
    program(app="from antiphon import EventDispatcher\ndispatcher = EventDispatcher(name='shop')", more="A = 'a'")
    directive = Directive("app:dispatcher", events="app more", sources="app", level=4)

    (page,) = directive.run()

    assert page.startswith("#### Events of shop (EventDispatcher)\n")
    assert directive.files == ["app.py", "more.py", "app.py"]


def test_wrong_level_is_an_error_of_the_directive(program):
    program(app="from antiphon import EventDispatcher\ndispatcher = EventDispatcher(name='shop')")

    with pytest.raises(LookupError, match="level= must be an int from 1 to 5"):
        Directive("app:dispatcher", level=6).run()


def test_wrong_path_is_an_error_of_the_directive(program):
    program(app="")

    with pytest.raises(LookupError, match="app has no dispatcher"):
        Directive("app:dispatcher").run()


def test_extension_does_not_import_sphinx():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, antiphon.diagrams.sphinx; print('sphinx' in sys.modules)"],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=True,
    )

    assert done.stdout.strip() == b"False"


def test_extension_may_run_in_parallel():
    pytest.importorskip("sphinx")
    directives = {}
    application = SimpleNamespace(add_directive=directives.__setitem__)

    assert extension.setup(application) == {"parallel_read_safe": True, "parallel_write_safe": True}
    assert set(directives) == {"antiphon-catalogue"}
