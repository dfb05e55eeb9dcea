"""One way to virtual time and seeded schedules on both backends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar, TypeVarTuple, Unpack

import anyio

__all__ = ("Backend", "BackendName", "backends")

BackendName: TypeAlias = Literal["asyncio", "trio"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True)
class Backend:
    """A backend with virtual time, and with a schedule that depends on nothing but a seed.

    Attributes:
        name: Which backend.
        seed: What orders the tasks that are ready at the same moment. None leaves the backend its own way:
            first in, first out on asyncio, and random on trio (unless hypothesis has seeded it).
    """

    name: BackendName
    seed: int | None = None

    def run(self, function: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts) -> T:
        """Run an async function in an event loop of its own, as ``anyio.run`` does."""
        return anyio.run(function, *args, backend=self.name, backend_options=self.options())

    def options(self) -> dict[str, Any]:
        """Give fresh ``backend_options`` for one run."""
        if self.name == "trio":
            # Not before it is wanted: who has no trio can use the rest.
            from tests.support.trio_run import virtual_trio_options

            return virtual_trio_options(self.seed)
        from tests.support.asyncio_loop import VirtualTimeLoop

        return {"loop_factory": partial(VirtualTimeLoop, self.seed)}

    def as_anyio(self) -> tuple[BackendName, dict[str, Any]]:
        """Give what the fixture ``anyio_backend`` of anyio's pytest plugin returns, for one run."""
        return self.name, self.options()

    def __str__(self) -> str:
        return self.name if self.seed is None else f"{self.name}, seed {self.seed}"


def backends(seeds: Iterable[int | None] = (None, 1, 2)) -> list[Backend]:
    """List both backends under each of some seeds, for ``pytest.mark.parametrize(..., ids=str)`` or fixtures.

    Args:
        seeds: Which schedules; None stands for the backend's own.
    """
    seeds = tuple(seeds)
    names: tuple[BackendName, ...] = ("asyncio", "trio")
    return [Backend(name, seed) for name in names for seed in seeds]
