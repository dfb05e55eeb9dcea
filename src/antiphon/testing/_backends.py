"""One way to virtual time and seeded schedules on both backends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, TypeVarTuple, Unpack, cast

import anyio

__all__ = ("Backend", "BackendName", "backends")

#: The name of a backend, ``"asyncio"`` or ``"trio"``.
BackendName: TypeAlias = Literal["asyncio", "trio"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Backend(NamedTuple):
    """A backend with virtual time, and with a schedule that a seed can order.

    Its clock starts at 0 and jumps to the next deadline when all tasks wait; while a worker thread runs, time passes as
    it really does. Its string, such as ``trio`` or ``trio-seed3``, makes a short id of a test.

    Args:
        name: Which backend.
        seed: What orders the tasks that are ready at the same moment: the same seed gives the same schedule. None
            leaves the backend its own way: first in, first out on asyncio, and random on trio.
    """

    name: BackendName
    seed: int | None = None

    def run(self, function: Callable[[Unpack[Ts]], Awaitable[T]], /, *args: *Ts) -> T:
        """Run an async function in an event loop of its own, as ``anyio.run`` does.

        Args:
            function: What to run.
            *args: What to call it with.

        Returns:
            What it returns.

        Raises:
            LookupError: There is no such backend, or it is not installed.
            Exception: What the function raises.
        """
        return anyio.run(function, *args, backend=self.name, backend_options=self.options())

    def options(self) -> dict[str, Any]:
        """Give the ``backend_options`` of ``anyio.run`` for one run.

        They are also the keyword arguments of ``asyncio.Runner``, or those of ``trio.run``.
        """
        if self.name == "trio":
            # Not before it is wanted: who has no trio can use the rest.
            from antiphon.testing._virtual_trio import virtual_trio_options

            return virtual_trio_options(self.seed)
        from antiphon.testing._virtual_asyncio import VirtualTimeLoop

        return {"loop_factory": partial(VirtualTimeLoop, self.seed)}

    def as_anyio(self) -> tuple[BackendName, dict[str, Any]]:
        """Give what the fixture ``anyio_backend`` of anyio's pytest plugin returns, for one run."""
        return self.name, self.options()

    def __str__(self) -> str:
        return self.name if self.seed is None else f"{self.name}-seed{self.seed}"


def backends(*names: BackendName, seeds: Iterable[int | None] = (None,)) -> list[Backend]:
    """List backends, each under each of some seeds, for the parameters of a test or of a fixture.

    Args:
        *names: Which backends; all that are installed if none is named.
        seeds: Which schedules: ``range(20)`` for twenty of them. None stands for the backend's own.

    Returns:
        The backends; ``ids=str`` shows them, with their seeds, in the ids of tests.

    Raises:
        ValueError: A name is not that of a backend, or is not installed.
    """
    available = cast("tuple[BackendName, ...]", anyio.get_available_backends())
    for name in names:
        if name not in available:
            raise ValueError(
                f"a backend is one of {', '.join(map(repr, available))} (what is installed); got {name!r}. "
                f"Seeds are a keyword argument: backends(seeds=range(20))"
            )
    # More than once, if it is an iterator.
    seeds = tuple(seeds)
    return [Backend(name, seed) for name in names or available for seed in seeds]
