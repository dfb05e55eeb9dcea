"""The outcomes of received events, on their way to the broker."""

from __future__ import annotations

from antiphon.bridges._brokers.protocol import Entry, Postponed, Source
from antiphon.bridges._receiving.options import Bury, Done, Later, Outcome

__all__ = ("Settlement",)


class Settlement:
    """The events that a receiver has read and not settled, and their outcomes.

    An event is forgotten when the broker knows its outcome, not before. If the connection is lost, the outcomes wait
    for the next one.
    """

    def __init__(self) -> None:
        #: All events that the broker counts as pending here, by position.
        self.held: dict[str, Entry] = {}
        self._outcomes: dict[str, Outcome] = {}
        #: Outcomes that only store how many attempts were made. The event stays here.
        self._attempts: dict[str, Later] = {}

    def hold(self, entry: Entry) -> bool:
        """Note an event that was read. Return whether it is new."""
        if entry.position in self.held:
            return False
        self.held[entry.position] = entry
        return True

    def decide(self, position: str, outcome: Outcome) -> None:
        """Note the outcome of an event."""
        self._attempts.pop(position, None)
        self._outcomes[position] = outcome

    def record_attempts(self, position: str, outcome: Later) -> None:
        """Note how many attempts of an event were made, so that they count after a crash."""
        self._attempts[position] = outcome

    def forget(self, position: str) -> None:
        """Forget an event whose outcome another process decides."""
        self.held.pop(position, None)
        self._outcomes.pop(position, None)
        self._attempts.pop(position, None)

    def has_outcomes(self) -> bool:
        """Return whether there is something to tell the broker."""
        return bool(self._outcomes or self._attempts)

    async def settle(self, source: Source) -> None:
        """Tell the broker all outcomes.

        Raises:
            BridgeUnavailable: If the connection is lost. The outcomes that the broker may not know are kept.
        """
        outcomes = dict(self._outcomes)
        done = [position for position, outcome in outcomes.items() if isinstance(outcome, Done)]
        if done:
            await source.ack(done)
            self._forget_all(done)
        postponed = {position: outcome for position, outcome in outcomes.items() if isinstance(outcome, Later)}
        attempts = {position: outcome for position, outcome in self._attempts.items() if position not in outcomes}
        if postponed or attempts:
            both = {**postponed, **attempts}
            await source.later([Postponed(position, late.delay, late.attempts) for position, late in both.items()])
            self._forget_all(list(postponed))
            for position, recorded in attempts.items():
                if self._attempts.get(position) is recorded:
                    del self._attempts[position]
        for position, outcome in outcomes.items():
            if isinstance(outcome, Bury):
                data = self.held[position].data or b""
                await source.bury(position, data, outcome.reason, outcome.attempts)
                self.forget(position)

    def _forget_all(self, positions: list[str]) -> None:
        for position in positions:
            self.forget(position)
