"""Backends with virtual time and seeded schedules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar, TypeVarTuple, Unpack, cast

import anyio

from antiphon._util.naming import safe_repr

__all__ = ("Backend", "BackendName", "backends")

#: The name of a backend, ``"asyncio"`` or ``"trio"``.
BackendName: TypeAlias = Literal["asyncio", "trio"]

_NAMES: Final = ("asyncio", "trio")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Backend(NamedTuple):
    """A backend with virtual time, and optionally with a schedule that a seed determines.

    The clock starts at 0 and jumps to the next deadline when all tasks wait. While a worker thread runs, the clock runs
    in real time. ``str(backend)``, such as ``trio`` or ``trio-seed3``, is a short id for tests.

    Args:
        name: The name of the backend.
        seed: Determines the order of tasks that are ready at the same time: the same seed gives the same schedule.
            None keeps the order of the backend: first in, first out on asyncio, and random on Trio.
    """

    name: BackendName
    seed: int | None = None

    def run(self, function: Callable[[Unpack[Ts]], Awaitable[T]], /, *args: *Ts) -> T:
        """Run an async function in a new event loop, as ``anyio.run`` does.

        Args:
            function: The function.
            *args: Its positional arguments.

        Returns:
            The result of the function.

        Raises:
            LookupError: If the backend does not exist or is not installed.
            TypeError: If the seed is neither an int nor None, or ``function`` is not callable.
            Exception: If the function raises it.
        """
        if not callable(function):
            raise TypeError(f"run() takes an async function, without a call: run(main); got {safe_repr(function)}")
        return anyio.run(function, *args, backend=self.name, backend_options=self.options())

    def options(self) -> dict[str, Any]:
        """Return the ``backend_options`` of ``anyio.run`` for one run.

        They are also the keyword arguments of ``asyncio.Runner``, or those of ``trio.run``.

        Raises:
            LookupError: If the backend does not exist.
            TypeError: If the seed is neither an int nor None.
        """
        if self.name not in _NAMES:
            raise LookupError(
                f"a backend is Backend('asyncio') or Backend('trio'); got {self!r}. backends() returns those that are "
                f"installed"
            )
        if self.seed is not None and not isinstance(self.seed, int):
            raise TypeError(f"a seed is an int or None; got {self!r}. For several seeds, use backends(seeds=range(20))")
        if self.name == "trio":
            # Import Trio only if it is used: it may not be installed.
            from antiphon.testing._virtual_trio import virtual_trio_options

            return virtual_trio_options(self.seed)
        from antiphon.testing._virtual_asyncio import VirtualTimeLoop

        return {"loop_factory": partial(VirtualTimeLoop, self.seed)}

    def as_anyio(self) -> tuple[BackendName, dict[str, Any]]:
        """Return a value for the fixture ``anyio_backend`` of AnyIO's pytest plugin, for one run.

        Raises:
            LookupError: As for `options`.
            TypeError: As for `options`.
        """
        return self.name, self.options()

    def __str__(self) -> str:
        return self.name if self.seed is None else f"{self.name}-seed{self.seed}"


def backends(*names: BackendName, seeds: Iterable[int | None] = (None,)) -> list[Backend]:
    """Return each backend with each seed, as parameters of a test or a fixture.

    Args:
        *names: The names of the backends. By default all that are installed.
        seeds: The seeds, such as ``range(20)`` for twenty schedules. None keeps the order of the backend.

    Returns:
        The backends. Use ``ids=str`` to get their names and seeds in the ids of tests.

    Raises:
        TypeError: If ``seeds`` is not an iterable.
        ValueError: If a name is not that of an installed backend.
    """
    if not isinstance(seeds, Iterable):
        raise TypeError(f"seeds= is an iterable of ints, such as range(20); got {safe_repr(seeds)}")
    available = cast("tuple[BackendName, ...]", anyio.get_available_backends())
    for name in names:
        if name not in available:
            raise ValueError(
                f"a backend must be one of {', '.join(map(repr, available))} (the installed ones); got "
                f"{safe_repr(name)}. Pass each name on its own, backends('asyncio', 'trio'), and seeds by keyword, "
                f"backends(seeds=range(20))"
            )
    # It may be an iterator, and is iterated once for each backend.
    seeds = tuple(seeds)
    return [Backend(name, seed) for name in names or available for seed in seeds]
