"""What a fault test counts, and prints at the end."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import anyio

from tests.bridges.redis.programs import until
from tests.bridges.shop import Program

__all__ = ("Figures", "Rounds")

#: Chooses between the number for all tests and that for the short form.
Rounds = Callable[[int, int], int]


@dataclass
class Figures:
    """The figures of one test. An event is known by its order id."""

    #: How many events the test wanted to publish.
    sent: int = 0
    #: The events that the server has confirmed.
    acknowledged: list[str] = field(default_factory=list)
    #: Each start of a listener: the event, and the time.
    handled: list[tuple[str, float]] = field(default_factory=list)
    #: The events that are pending or unread at the end.
    stuck: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, *programs: Program) -> None:
        """Add what the listeners of programs of this process have received."""
        # The clock of Trio starts at a random time, and the logs of processes contain that of the system.
        offset = time.monotonic() - anyio.current_time()
        for program in programs:
            names = (str(getattr(each, "number", each)) for each in program.log)
            self.handled += zip(names, (at + offset for at in program.times), strict=True)

    @property
    def lost(self) -> list[str]:
        """The events that were confirmed and not handled."""
        return sorted(set(self.acknowledged) - {order_id for order_id, _ in self.handled})

    @property
    def duplicates(self) -> int:
        """How many times a listener was started again for an event."""
        return len(self.handled) - len({order_id for order_id, _ in self.handled})

    @property
    def redelivery_times(self) -> list[float]:
        """The seconds from one start of a listener to the next one for the same event."""
        times: defaultdict[str, list[float]] = defaultdict(list)
        for order_id, at in sorted(self.handled, key=lambda pair: pair[1]):
            times[order_id].append(at)
        return sorted(later - earlier for each in times.values() for earlier, later in pairwise(each))

    def note(self, text: str) -> None:
        """Print something more."""
        self.notes.append(text)

    def check(self) -> None:
        """Check that no event is lost or stuck."""
        assert self.lost == []
        assert self.stuck == 0

    def __str__(self) -> str:
        parts = [
            f"sent {self.sent}",
            f"acknowledged {len(self.acknowledged)}",
            f"handled {len(self.handled)}",
            f"duplicates {self.duplicates}",
            f"lost {len(self.lost)}",
            f"stuck {self.stuck}",
        ]
        if times := self.redelivery_times:
            parts.append(f"redelivered after {times[0]:.2f} to {times[-1]:.2f} s")
        return ", ".join([*parts, *self.notes])

    async def until_handled(self, read: Callable[[], Iterable[str]], seconds: float = 30) -> None:
        """Wait until all confirmed events were handled, or the time is over; `check` then tells which are missing."""
        with anyio.move_on_after(seconds):
            await until(lambda: set(self.acknowledged) <= set(read()), seconds + 1)

    async def until_settled(self, program: Program, seconds: float = 15) -> None:
        """Wait until nothing is pending or unread in the groups of a program, and count what is at the end."""
        with anyio.move_on_after(seconds):
            while await self._count_stuck(program):
                await anyio.sleep(0.02)

    async def _count_stuck(self, program: Program) -> int:
        receives = (await program.bridge.health()).receives
        self.stuck = sum(state.pending + state.lag for state in receives if state.group is not None)
        return self.stuck + sum(not state.connected for state in receives)
