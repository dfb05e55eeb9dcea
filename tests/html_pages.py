"""Reading the HTML pages that antiphon writes."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

VOID = {"input", "meta"}


class Element:
    """An element with its attributes and its children, which are elements and texts."""

    def __init__(self, tag, attributes):
        self.tag = tag
        self.attributes = attributes
        self.children = []

    def find(self, tag=None, class_=None):
        """Return the elements below this one with a tag, or with a class, in order."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                classes = (child.attributes.get("class") or "").split()
                if tag in (None, child.tag) and (class_ is None or class_ in classes):
                    found.append(child)
                found += child.find(tag, class_)
        return found

    @property
    def text(self):
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class _Parser(HTMLParser):
    def __init__(self):
        super().__init__()
        self.stack = [Element("document", {})]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs))
        self.stack[-1].children.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_endtag(self, tag):
        assert self.stack.pop().tag == tag

    def handle_data(self, data):
        self.stack[-1].children.append(data)


def read_page(text):
    """Parse a page, and check that each element ends, and that only the script of antiphon can run."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    [document] = parser.stack
    [script] = document.find("script")
    digest = b64encode(sha256(script.text.encode()).digest()).decode()
    [policy] = [meta.attributes["content"] for meta in document.find("meta") if "http-equiv" in meta.attributes]
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert not re.search(r"https?:|//\w", text)
    ids = [element.attributes["id"] for element in document.find() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    text.encode()
    return document
