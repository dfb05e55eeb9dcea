"""Random programs."""

from __future__ import annotations

import random
from typing import Any

from tests.fuzz.programs import (
    Cancel,
    Dispatch,
    Fail,
    Group,
    Guarded,
    Leak,
    Program,
    Sleep,
    Step,
    Steps,
    Stop,
    Within,
)

__all__ = ("generate",)

#: Durations are drawn from so many seconds that two sums of them are hardly ever equal: what happens at one instant
#: has no promised order.
_LONGEST = 99_999


def generate(seed: int, *, native: bool) -> Program:
    """Return the program of a seed.

    Args:
        seed: Its seed.
        native: Whether it may use what asyncio alone has.

    Returns:
        The program.
    """
    return _Generator(seed, native).program()


class _Generator:
    def __init__(self, seed: int, native: bool) -> None:
        self.random = random.Random(seed)
        self.native = native
        self.budget = self.random.choice((6, 10, 16, 24))
        self.errors = 0

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def seconds(self) -> int:
        return self.random.randint(1, _LONGEST)

    def program(self) -> Program:
        choose = self.random.choices
        dispatch = self.dispatch(0)
        kinds: dict[Any, int] = {"nothing": 6, "move_on_after": 2, "fail_after": 1}
        if self.native:
            kinds |= {"timeout": 3, "wait_for": 1}
        (around,) = choose(list(kinds), list(kinds.values()))
        (number,) = choose((0, 1, 2), (3, 6, 2) if around == "nothing" else (5, 3, 1))
        cancels = tuple(
            sorted(
                (
                    Cancel(
                        self.random.randint(1, _LONGEST * 3 // 2),
                        "task" if self.native and self.chance(0.6) else "scope",
                    )
                    for _ in range(number)
                ),
                key=lambda cancel: cancel.at,
            )
        )
        return Program(
            dispatch,
            around,
            0 if around == "nothing" else self.random.randint(1, _LONGEST * 3 // 2),
            cancels,
            survived=self.native and self.chance(0.06),
        )

    def dispatch(self, depth: int) -> Dispatch:
        tiers = []
        for _ in range(self.random.choices((1, 2, 3), (6, 3, 1))[0]):
            listeners = (
                self.random.choices((1, 2, 3, 4), (3, 4, 2, 1))[0] if depth == 0 else self.random.choice((1, 1, 2))
            )
            tiers.append(tuple(self.steps(depth + 1) for _ in range(listeners)))
        strategy: Any = self.random.choices(("sequential", "concurrent", "race"), (3, 4, 2))[0]
        errors: Any = self.random.choices(("raise", "collect", "record", "record_and_raise"), (4, 3, 3, 1))[0]
        limit = self.random.choice((1, 2)) if strategy == "concurrent" and self.chance(0.25) else None
        return Dispatch(tuple(tiers), strategy, errors, limit, handled=depth > 0 and self.chance(0.3))

    def steps(self, depth: int, most: int = 3) -> Steps:
        steps: list[Step] = []
        for _ in range(self.random.randint(1, most)):
            step = self.step(depth)
            if isinstance(step, Dispatch) and self.chance(0.9):
                # The reference takes more turns than antiphon for a dispatch within a listener. What else happens in
                # the instant of its start is therefore hard to compare.
                steps.append(Sleep(self.seconds()))
            steps.append(step)
        return tuple(steps)

    def step(self, depth: int) -> Step:
        self.budget -= 1
        kinds = {self.sleep: 40, self.fail: 7, self.stop: 5}
        if self.native:
            kinds[self.leak] = 3
        if self.budget > 0 and depth < 5:
            kinds |= {self.within: 20, self.group: 12, self.guarded: 20}
            if depth < 4:
                kinds[self.nested] = 9
        (make,) = self.random.choices(list(kinds), list(kinds.values()))
        return make(depth)

    def sleep(self, depth: int) -> Step:
        return Sleep(0 if self.chance(0.04) else self.seconds())

    def fail(self, depth: int) -> Step:
        self.errors += 1
        return Fail(f"declined {self.errors}")

    def stop(self, depth: int) -> Step:
        return Stop()

    def leak(self, depth: int) -> Step:
        return Leak()

    def nested(self, depth: int) -> Step:
        return self.dispatch(depth)

    def within(self, depth: int) -> Step:
        kinds: dict[Any, int] = {"move_on_after": 3, "fail_after": 2, "shield": 2}
        if self.native:
            kinds |= {"timeout": 3, "wait_for": 2, "old_timeout": 2}
        (kind,) = self.random.choices(list(kinds), list(kinds.values()))
        body = self.steps(depth + 1, 2)
        if kind == "shield":
            return Within(kind, body)
        handled = kind in ("fail_after", "timeout", "wait_for") and self.chance(0.5)
        return Within(kind, body, self.seconds(), handled)

    def group(self, depth: int) -> Step:
        children = tuple(self.steps(depth + 1, 2) for _ in range(self.random.randint(1, 2)))
        body = self.steps(depth + 1, 2) if self.chance(0.6) else ()
        return Group(children, body, self.native and self.chance(0.5), self.chance(0.5))

    def guarded(self, depth: int) -> Step:
        kind: Any = self.random.choices(("finally", "swallow", "handle"), (5, 3, 2))[0]
        body = self.steps(depth + 1, 2)
        cleanup = () if kind == "swallow" and self.chance(0.5) else self.steps(depth + 1, 2)
        return Guarded(body, cleanup, kind)
