"""The page docs/instruments.md contains lines that the logging instrument writes, with other times."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path

import pytest

from antiphon import AsyncEventDispatcher, Event
from antiphon.instruments.logging import LoggingInstrument

PAGE = Path(__file__).parents[2] / "docs" / "instruments.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="needs the checkout")


class OrderPlaced(Event): ...


async def reserve(event): ...


async def wrap(event): ...


async def confirm(event):
    raise TimeoutError


@pytest.fixture
def logged():
    """What a logger writes in the format of ``logging.basicConfig``."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    logger = logging.getLogger("shop")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield text
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


def simplify(text):
    """Replace the times, and shorten tracebacks as the page does."""
    text = re.sub(r"\d+\.\d{3} ms", "N ms", text)
    return re.sub(
        r"(?<=\(most recent call last\):\n).*?(?=^\w+:shop:)", "  ...\n", text, flags=re.DOTALL | re.MULTILINE
    )


async def test_page_shows_what_the_instrument_writes(logged, monkeypatch):
    dispatcher = AsyncEventDispatcher(name="shop")
    dispatcher.add_instrument(LoggingInstrument("shop"))
    for module, listener, options in (
        ("stock", reserve, {}),
        ("gifts", wrap, {"where": lambda event: False}),
        ("mail", confirm, {}),
    ):
        monkeypatch.setattr(listener, "__module__", module)
        dispatcher.add_listener(OrderPlaced, listener, **options)

    with pytest.raises(TimeoutError):
        await dispatcher.adispatch(OrderPlaced())

    (shown,) = re.findall(
        r"^```text\n(DEBUG:shop:.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert simplify(logged.getvalue()) == simplify(shown)
