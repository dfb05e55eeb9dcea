"""Random programs of queues, streams, expectations and scopes."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Any

import pytest

from antiphon._registry.registry import Registry
from antiphon._waiting.buffer import Buffer
from antiphon._waiting.queue_runner import QueueRunner
from antiphon._waiting.stream import Stream
from tests.fuzz.loops import LOOPS, LoopName, is_available
from tests.fuzz.waiting import FaultError, InventedError, LostError, check

AVAILABLE = [
    pytest.param(loop, marks=pytest.mark.slow) if loop == "debug" else loop for loop in LOOPS if is_available(loop)
]


@pytest.mark.parametrize("loop", AVAILABLE)
def test_every_event_is_accounted_for(loop: LoopName) -> None:
    counts: Counter[str] = sum((check(seed, loop) for seed in range(4)), Counter())

    assert min(counts[what] for what in ("events read", "expectations", "posts", "scopes")) > 0


def test_each_checkpoint_is_used_for_a_cancellation() -> None:
    counts = check(1, "asyncio")

    assert counts["programs"] == 1
    assert counts["cancellations"] == counts["runs"] - 1 > 10


def find_faults(kind: type[FaultError], message: str) -> None:
    expected = pytest.RaisesExc(kind, match=message)
    with pytest.RaisesGroup(expected, allow_unwrapped=True, flatten_subgroups=True):
        for seed in range(40):
            check(seed, "asyncio")


def test_a_lost_event_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    accept, numbers = Buffer._accept, count()
    monkeypatch.setattr(Buffer, "_accept", lambda self, item: accept(self, item) if next(numbers) % 3 else None)

    find_faults(LostError, "lost")


def test_an_event_that_a_cancelled_reader_loses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    deactivate = Buffer._deactivate_receiver

    def lose(self: Any) -> None:
        self._items.pop_next()
        deactivate(self)

    monkeypatch.setattr(Buffer, "_deactivate_receiver", lose)

    find_faults(LostError, "lost")


def test_an_event_that_is_read_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    accept = Buffer._accept
    monkeypatch.setattr(Buffer, "_accept", lambda self, item: (accept(self, item), accept(self, item)))

    find_faults(InventedError, "more events than|ran twice|read")


def test_a_stream_that_listens_after_its_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stream, "close", lambda self: self._buffer.close())

    find_faults(FaultError, "left a listener")


def test_a_listener_of_a_scope_that_runs_after_its_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "close", lambda self, scope: None)

    find_faults(FaultError, "not refused")


def test_a_queue_that_loses_a_cancelled_event_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    discard = QueueRunner.discard_in_progress

    def lose(self: Any) -> Any:
        cancelled = discard(self)
        self.unfinished -= len(cancelled)
        return cancelled

    monkeypatch.setattr(QueueRunner, "discard_in_progress", lose)

    find_faults(LostError, "lost")
