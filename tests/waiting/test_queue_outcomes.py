"""What leaves the block of a queue, and what is done by then: a table of posts, options and endings."""

from __future__ import annotations

import logging
import math
from typing import Any, NamedTuple

import anyio
import pytest
from anyio import lowlevel

from antiphon import QueueNotDrained
from tests.waiting.helpers import (
    Order,
    Shop,
    adds_up,
    ending_of,
    forever,
    in_virtual_time,
    is_cancellation,
    leaves,
    numbers_of,
    settle,
)


class Case(NamedTuple):
    #: The numbers of the orders; `Shop` defines what they do.
    posts: tuple[Any, ...]
    #: How the body ends after its posts.
    ending: str
    options: dict[str, Any]
    #: What leaves: the texts of errors, "cancelled", or the numbers of the orders that are unfinished.
    leaves: list[Any]
    #: The events that are posted, done, failed, dropped and unfinished.
    counts: tuple[int, int, int, int, int]
    #: When the block ends.
    seconds: float = 0


def ignore(*_: Any) -> None:
    pass


def convert(exc: Exception, event: Order, name: Any) -> None:
    raise KeyError("converted") from exc


MIXED = (1, "fail", 2, "fail", 3)

CASES: dict[str, Case] = {
    "nothing": Case((), "ends", {}, [], (0, 0, 0, 0, 0)),
    "raise: the body is cancelled": Case(("fail",), "waits", {}, ["fail"], (1, 0, 1, 0, 0)),
    "raise: nothing more starts": Case(("fail", 1), "waits", {"workers": 2}, ["fail"], (2, 0, 1, 0, 1)),
    "raise: while draining": Case((1, "fail", 2, 3), "ends at once", {}, ["fail"], (4, 1, 1, 0, 2)),
    "raise: other workers are cancelled": Case(
        ("forever", "forever", "fail"), "ends at once", {"workers": 3}, ["fail"], (3, 0, 1, 0, 2)
    ),
    "collect": Case(MIXED, "ends", {"errors": "collect"}, ["fail", "fail"], (5, 3, 2, 0, 0)),
    "collect, and unfinished": Case(
        ("fail", "forever", 1),
        "ends",
        {"errors": "collect", "drain_timeout": 0},
        ["fail", ["forever", 1]],
        (3, 0, 1, 0, 2),
    ),
    "log": Case(MIXED, "ends", {"errors": "log"}, [], (5, 3, 2, 0, 0)),
    "function": Case(MIXED, "ends", {"errors": ignore}, [], (5, 3, 2, 0, 0)),
    "function that raises": Case(("fail", 1), "waits", {"errors": convert}, ["'converted'"], (2, 0, 1, 0, 1)),
    "unfinished": Case(
        (1, "forever", "forever", 2, 3),
        "ends",
        {"workers": 2, "drain_timeout": 0},
        [["forever", "forever", 2, 3]],
        (5, 1, 0, 0, 4),
    ),
    **{
        f"an error of the body: {policy}, {drain_timeout}, {posts}": Case(
            posts,
            "raises",
            {"errors": ignore if policy == "function" else policy, "drain_timeout": drain_timeout},
            ["'body'"],
            (len(posts), 0, 0, 0, len(posts)),
        )
        for policy in ("raise", "collect", "function")
        # An infinite time is not a bound, so it gives no grace.
        for drain_timeout in (None, 0, math.inf)
        for posts in ((), ("forever", 1, 2))
    },
    **{
        f"a short drain timeout: {seconds}": Case(
            ("forever",), "ends", {"drain_timeout": seconds}, [["forever"]], (1, 0, 0, 0, 1)
        )
        for seconds in (0, -0.0, 1e-300)
    },
    **{
        f"a long drain timeout: {seconds}": Case((1,), "ends at once", {"drain_timeout": seconds}, [], (1, 1, 0, 0, 0))
        for seconds in (10**300, 1e308, math.inf)
    },
    **{
        # A broken queue has no grace.
        f"errors of a dispatch and the body: {drain_timeout}, {others}": Case(
            (*others, "wait and fail"),
            "raises when cancelled",
            {"workers": 2, "drain_timeout": drain_timeout},
            ["wait and fail", "'body'"],
            (len(others) + 1, 0, 1, 0, len(others)),
        )
        for drain_timeout in (None, 60)
        for others in ((), ("forever",))
    },
}

TWICE = (2.0, 2.1)

TIMED: dict[str, Case] = {
    "the drain ends in time": Case(TWICE, "ends", {"drain_timeout": 5}, [], (2, 2, 0, 0, 0), 4.1),
    "the drain does not end in time": Case(
        (2.0, 2.1, 2.2, 2.3), "ends", {"drain_timeout": 5}, [[2.2, 2.3]], (4, 2, 0, 0, 2), 5
    ),
    **{
        f"{ending}, grace {grace}": Case(
            TWICE, ending, {"drain_timeout": grace}, [text], (2, done, 0, 0, 2 - done), seconds
        )
        for ending, text in (("raises", "'body'"), ("is cancelled", "cancelled"))
        for grace, done, seconds in ((3, 1, 3), (5, 2, 4.1), (None, 0, 0))
    },
    **{
        f"a failure in the grace: {ending}": Case(
            ("fail later", 1), ending, {"drain_timeout": 60}, ["fail later", text], (2, 0, 1, 0, 1), 1
        )
        for ending, text in (("raises", "'body'"), ("is cancelled", "cancelled"))
    },
    "cancelled in the drain": Case((3.0,), "is cancelled in the drain", {}, ["cancelled"], (1, 0, 0, 0, 1), 1),
    "cancelled in the drain, grace": Case(
        (3.0,), "is cancelled in the drain", {"drain_timeout": 10}, ["cancelled"], (1, 1, 0, 0, 0), 3
    ),
}


async def check(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "antiphon")
    shop = Shop()
    error = KeyError("body")
    body_was_cancelled = False
    scope = anyio.CancelScope()

    async def body(queue: Any) -> None:
        nonlocal body_was_cancelled
        for number in case.posts:
            queue.post_nowait("order.placed", Order(number))
        if case.ending == "is cancelled in the drain":
            scope.deadline = anyio.current_time() + 1
        if case.ending in ("ends at once", "is cancelled in the drain"):
            return
        try:
            await settle()
            shop.go.set()
            if case.ending == "raises":
                raise error
            if case.ending == "is cancelled":
                scope.cancel()
            if case.ending != "ends":
                await forever()
        except anyio.get_cancelled_exc_class():
            body_was_cancelled = True
            if case.ending == "raises when cancelled":
                raise error from None
            raise

    queue = shop.queue(**case.options)
    started = anyio.current_time()
    with scope:
        left = await ending_of(queue, body)
        await lowlevel.checkpoint()
        # Nothing but the cancellation of the scope is left in the task.
        assert "is cancelled" not in case.ending
    assert scope.cancelled_caught == ("is cancelled" in case.ending)
    assert body_was_cancelled == (case.ending in ("waits", "is cancelled", "raises when cancelled"))

    found: list[Any] = []
    for leaf in leaves(left):
        if isinstance(leaf, QueueNotDrained):
            found.append(numbers_of(leaf))
            assert {name for name, _ in leaf.unfinished} == {"order.placed"}
            assert str(len(leaf.unfinished)) in str(leaf)
        else:
            found.append("cancelled" if is_cancellation(leaf) else str(leaf))
    assert found == case.leaves
    is_failure = case.counts[2] > 0 and case.options.get("errors") not in ("log", ignore)
    assert isinstance(left, BaseExceptionGroup) == is_failure
    # An error alone would lose the cancellation.
    assert isinstance(left, Exception) == (case.leaves != [] and "cancelled" not in case.leaves)
    assert left is error or case.leaves != ["'body'"]

    assert queue.statistics()[:5] == case.counts
    assert adds_up(queue)
    assert shop.running == 0
    assert len(shop.finished) == case.counts[1]
    assert 1 not in shop.started or 1 in shop.finished, "started in a broken queue"
    assert anyio.current_time() - started == pytest.approx(case.seconds, abs=0.2) or not case.seconds
    messages = [(record.name, record.getMessage()) for record in caplog.records]
    logged = [message for name, message in messages if name == "antiphon" and "unfinished" in message]
    unfinished = case.counts[4]
    is_logged = unfinished > 0 and not any(isinstance(item, list) for item in case.leaves)
    assert len(logged) == is_logged
    assert all(f"{unfinished} of its events unfinished" in message for message in logged)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_a_queue_ends_as_specified(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    with anyio.fail_after(5):
        await check(case, caplog)


@pytest.mark.parametrize("case", TIMED.values(), ids=TIMED.keys())
@in_virtual_time()
async def test_a_queue_ends_in_the_specified_time(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    await check(case, caplog)
