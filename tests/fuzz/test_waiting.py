"""Random programs of queues, streams, expectations and scopes."""

from __future__ import annotations

import re
from collections import Counter
from contextvars import copy_context
from itertools import count
from typing import Any

import pytest

from antiphon._registry.registry import Registry
from antiphon._strategies.driver import run_first_step_in
from antiphon._waiting import queue_runner
from antiphon._waiting.buffer import Buffer
from antiphon._waiting.buffer_order import KeyedFifo
from antiphon._waiting.expectation import Expectation
from antiphon._waiting.queue import Queue
from antiphon._waiting.queue_runner import QueueRunner
from antiphon._waiting.stream import Stream
from tests.cancellation.tasks import is_cancellation, leaves
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
    for seed in range(40):
        try:
            check(seed, "asyncio")
        except BaseException as fault:
            # Several parts may notice it.
            found = leaves(fault)
            assert any(isinstance(leaf, kind) and re.search(message, str(leaf)) for leaf in found), found
            return
    pytest.fail("nothing was found")


def test_a_lost_event_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    accept, numbers = Buffer._accept, count()
    monkeypatch.setattr(Buffer, "_accept", lambda self, item: accept(self, item) if next(numbers) % 3 else None)

    find_faults(LostError, "lost|of")


def test_an_event_that_a_cancelled_reader_loses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    deactivate = Buffer._deactivate_receiver

    def lose(self: Any) -> None:
        self._items.pop_next()
        deactivate(self)

    monkeypatch.setattr(Buffer, "_deactivate_receiver", lose)

    find_faults(LostError, "lost|of")


def test_an_event_that_is_read_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    accept = Buffer._accept
    monkeypatch.setattr(Buffer, "_accept", lambda self, item: (accept(self, item), accept(self, item)))

    find_faults(InventedError, "ran twice|then read|accepted")


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


def test_a_cancelled_post_that_is_accepted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    put = Buffer.put

    async def accept(self: Any, item: Any) -> None:
        try:
            await put(self, item)
        except BaseException as exc:
            if is_cancellation(exc):
                self._accept(item)
            raise

    monkeypatch.setattr(Buffer, "put", accept)

    find_faults(FaultError, "accepted|stands still|then read")


def test_a_sender_that_waits_although_there_is_space_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Buffer, "_wake_sender", lambda self: None)

    find_faults(LostError, "stands still")


def test_a_stream_that_loses_its_buffer_at_its_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    close = Stream.close

    def lose(self: Any) -> None:
        close(self)
        self._buffer.dropped += len(self._buffer.clear())

    monkeypatch.setattr(Stream, "close", lose)

    find_faults(LostError, "missed|kept")


def test_an_expectation_that_listens_after_its_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    unsubscribe = Expectation._unsubscribe
    monkeypatch.setattr(Expectation, "_unsubscribe", lambda self: hasattr(self, "_event") and unsubscribe(self))

    find_faults(FaultError, "left a listener|after its end")


def test_two_events_of_a_key_at_a_time_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pop_next = KeyedFifo.pop_next

    def release_too(self: Any) -> Any:
        item = pop_next(self)
        if item is not None and len(self._waiting[self._get_key(item)]) == 1:
            self.release(item)
        return item

    monkeypatch.setattr(KeyedFifo, "pop_next", release_too)

    find_faults(InventedError, "run at a time|in this order")


def test_a_queue_that_loses_its_cancellation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    leave = Queue.__aexit__

    async def suppress(self: Any, *exc_info: Any) -> bool:
        try:
            return await leave(self, *exc_info)
        except BaseException as exc:
            if not is_cancellation(exc):
                raise
            return True

    monkeypatch.setattr(Queue, "__aexit__", suppress)

    find_faults(LostError, "lost the cancellation")


def test_a_drain_without_a_limit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    drain = Queue._drain

    async def ignore_limit(self: Any, *arguments: Any) -> None:
        self._drain_timeout = None if self._drain_timeout is None else 100
        await drain(self, *arguments)

    monkeypatch.setattr(Queue, "_drain", ignore_limit)

    find_faults(FaultError, "the end of a queue took")


def test_a_dispatch_outside_of_the_context_of_its_post_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        queue_runner, "run_first_step_in", lambda _, *arguments: run_first_step_in(copy_context(), *arguments)
    )

    find_faults(InventedError, "runs in")
