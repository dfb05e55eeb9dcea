"""Random programs of queues, streams, expectations and scopes."""

from __future__ import annotations

from collections import Counter
from itertools import count

import pytest

from antiphon._waiting.buffer import Buffer
from tests.fuzz.loops import LOOPS, LoopName, is_available
from tests.fuzz.waiting import check

AVAILABLE = [loop for loop in LOOPS if is_available(loop)]


@pytest.mark.parametrize("loop", AVAILABLE)
def test_every_event_is_accounted_for(loop: LoopName) -> None:
    counts: Counter[str] = sum((check(seed, loop) for seed in range(12)), Counter())

    assert counts["cancellations"] > 30
    assert min(counts[what] for what in ("events read", "expectations", "posts", "scopes")) > 0


def test_a_lost_event_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    accept, numbers = Buffer._accept, count()
    monkeypatch.setattr(Buffer, "_accept", lambda self, item: accept(self, item) if next(numbers) % 3 else None)

    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="lost"), flatten_subgroups=True):
        for seed in range(20):
            check(seed, "asyncio")
