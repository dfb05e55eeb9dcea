"""The API pages show the comment of an attribute at the class that has this attribute."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

CONF = Path(__file__).parents[1] / "docs" / "conf.py"

pytestmark = pytest.mark.skipif(not CONF.exists(), reason="needs the checkout")


def test_comments_of_private_classes_with_the_name_of_a_public_class_are_left_out():
    """`antiphon.diagrams` has private classes ``Entry`` and ``Source``, whose attributes are others."""
    pycode = pytest.importorskip("sphinx.pycode")
    runpy.run_path(str(CONF))["_read_attribute_comments"](None)

    comments = pycode.ModuleAnalyzer.for_module("antiphon.bridges").attr_docs
    attributes = {name for path, name in comments if path == "Entry"}

    assert attributes == {"position", "data", "attempt", "group"}
    assert ("Source", "name") not in comments
    assert pycode.ModuleAnalyzer.for_module("antiphon.instruments").attr_docs[("", "Interest")]
