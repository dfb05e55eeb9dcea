"""The catalogue in a build of Sphinx. Our own docs use it, too, and ``nox -s docs`` fails when it warns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import antiphon
from antiphon.diagrams import sphinx as extension

SOURCE = Path(antiphon.__file__).parent.parent


class Application:
    """Stands in for Sphinx's."""

    def __init__(self):
        self.directives = {}

    def add_directive(self, name, directive):
        self.directives[name] = directive


@pytest.fixture
def build(program):
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_parser")
    folder = program(
        conf="import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parent))\n"
        "extensions = ['myst_parser', 'antiphon.diagrams.sphinx']\nexclude_patterns = ['out']\n",
        app="from antiphon import EventDispatcher\nPLACED = 'order|placed'\ndispatcher = EventDispatcher(name='shop')\n"
        "@dispatcher.listen(PLACED)\ndef price(event):\n    'Say <what> it | costs.'\n",
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


def test_the_directive_puts_the_catalogue_into_a_page(build):
    done, html = build("# Shop\n\nBefore.\n\n```{antiphon-catalogue} app:dispatcher\n```\n\n## After\n")

    assert (done.returncode, done.stderr) == (0, "")
    assert "<h2>Events of shop (EventDispatcher)" in html
    assert "<h3>" in html
    assert ">order|placed</span>" in html
    assert "Say &lt;what&gt; it | costs." in html
    assert html.index("Events of shop") < html.index("<h2>After")


def test_the_directive_has_the_options_of_the_command(build):
    page = "# Shop\n\n## Part\n\n```{antiphon-catalogue} app:dispatcher\n:events: app more\n:sources: app\n:level: 3\n```\n"
    done, html = build(page)

    assert (done.returncode, done.stderr) == (0, "")
    assert "<h3>Events of shop (EventDispatcher)" in html
    assert "order.lost" in html


def test_a_path_that_leads_nowhere_is_a_warning_that_says_why(build):
    done, _ = build("# Shop\n\n```{antiphon-catalogue} app:dispacher\n```\n")

    assert done.returncode == 1
    assert "index.md:3: ERROR: app has no dispacher; did you mean dispatcher?" in done.stderr


class Directive(extension._Catalogue):
    """What Sphinx's base class gives to the directive, as far as it asks."""

    def __init__(self, *arguments, **options):
        self.arguments, self.options, self.env, self.files = list(arguments), options, self, []

    def error(self, message):
        return LookupError(message)

    def note_dependency(self, file):
        self.files.append(Path(file).name)

    def parse_text_to_nodes(self, text, *, allow_section_headings):
        assert allow_section_headings
        return [text]


def test_a_change_of_what_a_page_is_made_of_makes_it_anew(program):
    program(app="from antiphon import EventDispatcher\ndispatcher = EventDispatcher(name='shop')", more="A = 'a'")
    directive = Directive("app:dispatcher", events="app more", sources="app", level=4)

    (page,) = directive.run()

    assert page.startswith("#### Events of shop (EventDispatcher)\n")
    assert directive.files == ["app.py", "more.py", "app.py"]


def test_a_path_that_leads_nowhere_is_an_error_of_the_directive(program):
    program(app="")

    with pytest.raises(LookupError, match="app has no dispatcher"):
        Directive("app:dispatcher").run()


def test_importing_the_extension_does_not_import_sphinx():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, antiphon.diagrams.sphinx; print('sphinx' in sys.modules)"],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=True,
    )

    assert done.stdout.strip() == b"False"


def test_the_extension_says_that_it_may_run_in_parallel():
    pytest.importorskip("sphinx")
    application = Application()

    assert extension.setup(application) == {"parallel_read_safe": True, "parallel_write_safe": True}
    assert set(application.directives) == {"antiphon-catalogue"}
