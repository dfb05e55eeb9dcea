"""A fixture that writes programs for tests."""

from __future__ import annotations

import importlib
import sys
from textwrap import dedent

import pytest


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Write modules to an empty folder, which is the current directory and importable until the test ends."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def write(**modules):
        for name, source in modules.items():
            file = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
            if name.endswith("__init"):
                file = file.with_name("__init__.py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(source), encoding="utf-8")
        importlib.invalidate_caches()
        return tmp_path

    yield write

    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and file.startswith(str(tmp_path)):
            del sys.modules[name]
