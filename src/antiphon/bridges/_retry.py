"""When a failed event is delivered again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from antiphon.bridges._checks import check_count, check_seconds, describe
from antiphon.bridges._errors import ConfigurationError

__all__ = ("Retry",)


@dataclass(frozen=True)
class Retry:
    """How often a received event is delivered if its listeners fail, and how long the bridge waits in between.

    Args:
        attempts: The number of deliveries, with the first one. After the last one, the event is a dead letter.
        first: The seconds before the second delivery.
        factor: Each further wait is this many times longer. No wait is longer than ``claim_after``.

    Raises:
        ConfigurationError: If ``attempts`` is not an int of at least 1, ``first`` is not a positive number of seconds,
            or ``factor`` is less than 1.
    """

    attempts: int = 5
    first: float = 1
    factor: float = 4

    def __post_init__(self) -> None:
        check_count(self.attempts, "attempts=")
        check_seconds(self.first, "first=")
        if check_seconds(self.factor, "factor=") < 1:
            raise ConfigurationError(f"factor= is at least 1, because waits do not become shorter; got {self.factor!r}")

    def get_delay(self, attempt: int) -> float:
        """Return the seconds to wait after a failed delivery; the first one has the number 1.

        Raises:
            TypeError: If the number is not an int.
        """
        if not isinstance(attempt, int):
            raise TypeError(f"an attempt is the number of a delivery, an int; got {describe(attempt)}")
        try:
            return self.first * float(self.factor) ** (attempt - 1)
        except OverflowError:
            return math.inf
