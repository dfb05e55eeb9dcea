"""The reference: what a dispatch is specified to do, with anyio task groups and without antiphon.

``Sequential("raise")`` is the loop over the listeners. In all other dispatches each listener runs in a child task of its own,
so that the reference knows for certain who cancelled a listener:

- A scope outside of the dispatch cancels the child through anyio's tree of scopes.
- A native ``task.cancel()`` from outside reaches the task of the dispatch, which only waits. The reference then forwards it once to
  the listener that plays the part of the caller's task, or cancels all children if no listener does.
- Every other cancellation is the listener's own.

Rules leave choices open, such as the order within a tier. Each choice is made by `Choices`: a seed of 0 makes the usual one,
any other seed a random one, and a dispatch is right if one of the seeds gives its trace.

anyio 4.16 adds the uncancellations of a scope to its parent scope, also if another task is the host of that one
(see docs/random-tests.md). A child here has a buffer scope of its own, which keeps them.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import deque
from collections.abc import Sequence
from types import coroutine
from typing import Any, TypeVar

import anyio

from tests.fuzz.performing import Listener, Performance
from tests.fuzz.programs import Dispatch

__all__ = ("Choices", "LeakedError", "Reference")

T = TypeVar("T")


class LeakedError(Exception):
    """Stands for ``ListenerCancelled``; the comparison knows it by its name alone."""


LeakedError.__name__ = "ListenerCancelled"


class Choices:
    """What the rules leave open.

    Args:
        seed: 0 for the usual choices, else the seed of random ones.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed) if seed else None
        # Some seeds make the usual choice nearly always, others hardly more often than any.
        self._inertia = (0.0, 0.5, 0.8)[seed % 3]
        #: Whether anything was open.
        self.used = False

    def pick(self, *options: T) -> T:
        """Choose one of some options; the first is the usual one."""
        self.used = True
        if self._random is None or self._random.random() < self._inertia:
            return options[0]
        return self._random.choice(options)

    def order(self, members: Sequence[T]) -> list[T]:
        """Choose an order; the one given is the usual one."""
        ordered = list(members)
        if len(ordered) > 1:
            self.used = True
            if self._random is not None and self._random.random() < 0.7:
                self._random.shuffle(ordered)
        return ordered


class Reference:
    """Dispatches as the rules say.

    Args:
        seed: The seed of the choices.
    """

    counting = True

    def __init__(self, seed: int = 0) -> None:
        self.choices = Choices(seed)
        #: The order of the tasks. asyncio promises turns, so the usual order comes first.
        self.seed: int | None = seed if seed % 3 == 2 else None
        #: The order of trio's tasks, which is random.
        self.trio_seed = seed

    async def dispatch(self, performance: Performance, spec: Dispatch, path: str) -> None:
        """Dispatch a fresh event."""
        event = Shared()
        tiers = [
            [performance.listener(body, path, f"{priority}.{number}", spec) for number, body in enumerate(tier)]
            for priority, tier in enumerate(spec.tiers)
        ]
        if spec.by_loop():
            for listener in (listener for tier in tiers for listener in tier):
                await listener(event)
                if event.propagation_stopped:
                    break
            return
        await _Run(performance, spec, event, self.choices).run(tiers)


class Shared:
    """An event."""

    def __init__(self) -> None:
        self.propagation_stopped = False

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


class _Seen:
    """An event as one listener of a race sees it: the race knows who stopped it."""

    def __init__(self, event: Shared, run: _Run, record: _Record) -> None:
        self._event = event
        self._run = run
        self._record = record

    def stop_propagation(self) -> None:
        self._event.propagation_stopped = True
        self._run.stopped_by(self._record)


class _Record:
    """One run of a listener."""

    def __init__(self, is_callers: bool) -> None:
        #: Whether it plays the part of the listener in the caller's task.
        self.is_callers = is_callers
        self.scope = anyio.CancelScope()
        self.task: asyncio.Task[Any] | None = None
        #: Native cancellations from outside that it was given.
        self.forwarded = 0
        #: It met a native cancellation of its own making.
        self.thrown_natively = False
        self.left: BaseException | None = None
        self.waits = False


class _Run:
    """One dispatch."""

    def __init__(self, performance: Performance, spec: Dispatch, event: Shared, choices: Choices) -> None:
        self.performance = performance
        self.spec = spec
        self.event = event
        self.choices = choices
        self.policy = performance.policy(spec)
        self.sequential = spec.strategy == "sequential"
        self.in_hand: list[Exception] = []
        #: No further listener starts.
        self.over = False
        #: An error ended the dispatch.
        self.ended = False
        self.winner: _Record | None = None
        #: A native cancellation from outside that has to leave.
        self.native: BaseException | None = None
        #: One that a listener of a sequential dispatch has kept to itself.
        self.kept: BaseException | None = None
        #: The cancellation that left the listener in the caller's task.
        self.left: BaseException | None = None
        #: A listener ended in a way that shows a cancellation from outside.
        self.shown = False
        #: A listener met the cancellation of a scope outside of the dispatch.
        self.thrown = False
        self.running: list[_Record] = []
        #: A cancellation that a listener's asyncio.TaskGroup has asked for again arrives at the next await.
        self.arrives = False
        self.errors_of_group = choices.pick("kept", "given to the policy") if performance.native else "kept"

    async def run(self, tiers: list[list[Listener]]) -> None:
        tiers = [tier for tier in tiers if tier]
        if self.sequential:
            tiers = [[listener] for tier in tiers for listener in tier]
        elif tiers and is_cancelled():
            await anyio.sleep(0)
        for number, tier in enumerate(tiers):
            if number:
                if self.ended or self.winner is not None or self.event.propagation_stopped:
                    break
                if not self.sequential and is_cancelled():
                    await self.leave_with_cancellation()
            await self.run_tier(tier)
            last = number == len(tiers) - 1 or self.ended or self.event.propagation_stopped
            if self.arrives and self.choices.pick(False, True):
                # It is pending in the task already, and may leave now.
                self.arrive()
                try:
                    await anyio.sleep(0)
                except anyio.get_cancelled_exc_class() as exc:
                    self.leave_with(exc)
            if self.kept is not None and (len(self.in_hand) > self.errors_before or (last and self.in_hand)):
                self.native = self.kept
            if self.native is not None:
                if is_cancelled():
                    # Both were asked for: either leaves, and the scope may have made its requests or not.
                    chosen = self.choices.pick("native", "native after the scope's", "the scope's")
                    if chosen == "the scope's":
                        await self.leave_with_cancellation()
                    elif chosen == "native after the scope's":
                        try:
                            await anyio.sleep(0)
                        except anyio.get_cancelled_exc_class():
                            pass
                self.leave_with(self.native)
            if is_cancelled() and self.has_to_leave(last=last):
                await self.leave_with_cancellation()
        self.arrive()
        if self.in_hand:
            if self.sequential and self.ended:
                raise self.in_hand[-1] if len(self.in_hand) == 1 else ExceptionGroup("errors", self.in_hand)
            raise ExceptionGroup("errors", self.in_hand)

    def arrive(self) -> None:
        """Let a cancellation that a listener has left behind arrive at the next await of the running task."""
        if self.arrives:
            self.arrives = False
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            task.uncancel()

    def has_to_leave(self, *, last: bool) -> bool:
        """Return whether the cancellation of a scope leaves after a tier.

        The next checkpoint raises it again, so nothing is lost where it does not.
        """
        if self.shown or (self.in_hand and (last or not self.sequential)):
            return True
        if self.sequential:
            # As in a loop: what a listener keeps to itself does not end it.
            return self.choices.pick(False, True)
        # A listener in the body of a task group that was shielded all the time returns, and so does the group.
        return self.thrown or not last or self.choices.pick(True, False)

    async def leave_with_cancellation(self) -> None:
        if self.left is not None and self.choices.pick(False, True):
            # In the body of a task group it is the exception that leaves, also if the listener has it from elsewhere.
            self.leave_with(self.left)
        try:
            # A checkpoint raises it with the mark by which anyio's scopes know their own.
            await anyio.sleep(0)
        except anyio.get_cancelled_exc_class() as exc:
            self.leave_with(exc)

    def leave_with(self, exc: BaseException) -> None:
        if not self.in_hand:
            raise exc
        if self.sequential and self.ended and self.choices.pick(False, True):
            # It leaves as an error under "raise" does, from a loop.
            raise self.in_hand[-1]
        raise BaseExceptionGroup("errors and a cancellation", [*self.in_hand, exc])

    # A tier.

    async def run_tier(self, listeners: list[Listener]) -> None:
        native = self.performance.native
        self.waiting = deque(listeners if self.sequential else self.choices.order(listeners))
        self.free = self.spec.limit or len(listeners)
        self.callers_is_free = self.sequential or self.choices.pick(True, False)
        one_by_one = self.choices.pick(True, False)
        # What antiphon does within a step takes the reference some turns, in a dispatch within a listener.
        turns = self.choices.pick(0, 20) if one_by_one else 0
        self.starts_while_callers_cleans_up = native and self.choices.pick(False, True)
        #: Whom else a native cancellation ends at once, where the caller's task runs a listener.
        self.at_once = self.choices.pick("nobody", "others", "all") if native else "nobody"
        self.host = asyncio.current_task() if native else None
        self.changed = anyio.Event()
        self.residue = 0
        cancelled_natively = False
        try:
            async with anyio.create_task_group() as self.group:
                # Only native cancellations reach the task that waits.
                with anyio.CancelScope(shield=True):
                    while True:
                        await self.pass_turns(turns)
                        self.start(one_by_one)
                        if not self.running and (not self.waiting or self.over):
                            break
                        try:
                            await self.changed.wait()
                        except anyio.get_cancelled_exc_class() as exc:
                            self.cancelled_natively(exc)
                            cancelled_natively = True
                        self.changed = anyio.Event()
        except anyio.get_cancelled_exc_class() as exc:
            # It arrived while the group was closed.
            self.native = exc
        if self.host is not None:
            await raise_count(self.host, self.residue)
        if self.sequential and cancelled_natively and not self.shown:
            # The listener kept it to itself. It ends there, as in a loop, or leaves: now, with the next error, or with
            # the errors at the end.
            chosen = self.choices.pick("ends", "leaves", "leaves with an error", "leaves at the end")
            if chosen.startswith("leaves "):
                self.kept = self.native
                self.errors_before = len(self.in_hand) if chosen == "leaves with an error" else sys.maxsize
            if chosen != "leaves":
                self.native = None

    async def pass_turns(self, turns: int) -> None:
        """Let a listener that waits go on, as far as it gets without time passing, before the next one starts."""
        for _ in range(turns):
            if not (self.waiting and self.running):
                return
            try:
                await anyio.sleep(0)
            except anyio.get_cancelled_exc_class() as exc:
                self.cancelled_natively(exc)

    def start(self, one_by_one: bool) -> None:
        while self.waiting and self.free and not self.over:
            if self.running and self.native is not None and not self.starts_while_callers_cleans_up:
                return
            if one_by_one and any(not record.waits for record in self.running):
                # The caller's task runs one after another until one has to wait.
                return
            listener = self.waiting.popleft()
            record = _Record(self.callers_is_free)
            self.callers_is_free = False
            self.free -= 1
            self.running.append(record)
            self.group.start_soon(self.run_listener, listener, record)

    async def run_listener(self, listener: Listener, record: _Record) -> None:
        native = self.performance.native
        task = asyncio.current_task() if native else None
        initial = 0
        if task is not None and record.is_callers:
            assert self.host is not None
            # A request that the task survived is in its count. Listeners under an error policy need not see it.
            initial = self.host.cancelling()
            if initial and self.sequential:
                initial = self.choices.pick(initial, 0)
            await raise_count(task, initial)
            record.task = task
            self.arrive()
        # Those of a scope that is cancelled, or of a sibling's error: a child that has not begun need not begin.
        starts = self.sequential or (not self.over and not is_cancelled())
        with record.scope:
            if starts:
                event = self.event if self.spec.strategy != "race" else _Seen(self.event, self, record)
                try:
                    await noting_first_wait(listener(event), self, record)
                except BaseException as exc:
                    record.left = exc
            record.task = None
            # Requests of AnyIO scopes, and requests for a child's scopes, do not affect the host.
            asked = is_cancelled()
            pending = 0
            if native:
                scope: Any = record.scope
                pending = scope._pending_uncancellations
                scope._pending_uncancellations = 0
        self.running.remove(record)
        self.free += 1
        self.callers_is_free |= record.is_callers
        self.judge(record, asked)
        if task is not None and record.is_callers and starts:
            await self.hand_back(task, record, initial, pending)
        self.changed.set()

    async def hand_back(self, task: asyncio.Task[Any], record: _Record, initial: int, pending: int) -> None:
        """Give the host the count that the listener would have left in it, had it run there."""
        assert self.host is not None
        change = task.cancelling() - initial - record.forwarded - outer_deliveries(task, self.group.cancel_scope)
        if change < 0 and (self.sequential or self.choices.pick(True, False)):
            for _ in range(-change):
                self.host.uncancel()
        if self.sequential:
            self.residue = change
            self.arrives = bool(getattr(task, "_must_cancel", False))
            if self.arrives and is_cancelled():
                # It covers the cancellation of the scope, and has no mark of it.
                self.left = asyncio.CancelledError()
            scope: Any = self.group.cancel_scope
            if scope._parent_scope is not None:
                scope._parent_scope._pending_uncancellations += pending

    def judge(self, record: _Record, asked: bool) -> None:
        exc, record.left = record.left, None
        # Here, outside of the scope by which the dispatch itself cancels a listener.
        asked_outside = is_cancelled() or record.forwarded > 0
        if record.forwarded and not self.sequential and (exc is None or isinstance(exc, Exception)):
            # It kept a cancellation from outside to itself. The tier ends at once, or when its listeners have.
            self.over = True
            if self.choices.pick(False, True):
                self.cancel_all()
        if exc is None:
            return
        if isinstance(exc, Exception):
            if is_cancelled() or (record.forwarded and has_cancellation_in_context(exc)):
                self.shown = True
            self.give(exc, record)
            return
        in_doubt = self.kept is not None or (
            # It was asked for natively before, by whom its task does not know.
            record.is_callers and record.thrown_natively and self.choices.pick(False, True)
        )
        if not (asked or record.forwarded or in_doubt) or (
            # A loser leaks the cancellation of another task. Its own was requested, this one was not.
            record.scope.cancel_called
            and not record.forwarded
            and not is_cancelled()
            and not str(exc).startswith("Cancelled via cancel scope")
            and self.performance.native
            and self.choices.pick(False, True)
        ):
            self.give(without_cancellation(exc), record)
            return
        self.shown |= asked_outside or not asked
        self.over = True
        if not (asked or record.forwarded):
            self.native = first_cancellation(exc)
            if self.choices.pick(True, False):
                self.cancel_all()
        if isinstance(exc, BaseExceptionGroup):
            _, errors = exc.split(anyio.get_cancelled_exc_class())
            if errors is not None:
                if self.errors_of_group == "kept":
                    self.in_hand.append(errors)  # type: ignore[arg-type]
                else:
                    self.give(errors, record)  # type: ignore[arg-type]
        if record.is_callers:
            self.left = first_cancellation(exc)
        if record.forwarded:
            self.cancel_all()

    def give(self, error: Exception, record: _Record) -> None:
        """Give an error to the policy."""
        if self.policy == "collect":
            self.in_hand.append(error)
            return
        if self.policy != "raise":
            try:
                self.policy(error, self.event, None)
            except Exception as raised:
                error = raised
            else:
                return
        self.in_hand.append(error)
        self.ended = True
        self.over = True
        self.cancel_others(record)

    def is_from_outside(self, exc: BaseException) -> bool:
        """Return whether the cancellation that a listener meets comes from a scope around the dispatch."""
        # Asked of the group's scope, because the listener waits within scopes of its own.
        scope: Any = self.group.cancel_scope
        if self.performance.native:
            return str(exc).startswith(names_of(scope))
        return bool(scope._CancelScope__original._cancel_status.effectively_cancelled)

    def cancel_others(self, record: _Record) -> None:
        for other in self.running:
            if other is not record and other is not self.winner:
                other.scope.cancel()

    def cancel_all(self) -> None:
        for record in self.running:
            record.scope.cancel()

    def stopped_by(self, record: _Record) -> None:
        if not self.over and self.winner is None:
            self.winner = record
            self.over = True
            self.cancel_others(record)

    def cancelled_natively(self, exc: BaseException) -> None:
        self.native = exc
        for record in self.running:
            if record.task is not None:
                record.forwarded += 1
                record.task.cancel()
                if self.sequential or self.at_once == "nobody":
                    return
                if self.at_once == "others":
                    self.over = True
                    self.cancel_others(record)
                    return
                break
        self.over = True
        self.cancel_all()


@coroutine
def noting_first_wait(steps: Any, run: _Run, record: _Record) -> Any:
    """Run a coroutine, and notify the dispatch when it waits for the first time."""
    sent: Any = None
    thrown: BaseException | None = None
    while True:
        try:
            waits_for = steps.send(sent) if thrown is None else steps.throw(thrown)
        except StopIteration as stop:
            return stop.value
        finally:
            thrown = None
        if not record.waits:
            record.waits = True
            run.changed.set()
        try:
            sent = yield waits_for
            # trio sends a cancellation, and raises it further within.
            if isinstance(error := getattr(sent, "error", None), anyio.get_cancelled_exc_class()):
                run.thrown = run.thrown or run.is_from_outside(error)
        except BaseException as exc:
            run.thrown = run.thrown or run.is_from_outside(exc)
            record.thrown_natively |= not str(exc).startswith("Cancelled via cancel scope")
            thrown = exc


def is_cancelled() -> bool:
    """Return whether a scope around the task is cancelled."""
    return anyio.current_effective_deadline() == float("-inf")


async def raise_count(task: asyncio.Task[Any], count: int) -> None:
    """Raise ``cancelling()`` of the running task, without a cancellation that arrives."""
    with anyio.CancelScope(shield=True):
        for _ in range(count):
            task.cancel()
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                pass


def outer_deliveries(task: asyncio.Task[Any], scope: Any) -> int:
    """Count the cancellations that a scope and those around it have delivered to a task."""
    names = names_of(scope)
    return sum(reason.startswith(names) for reason in getattr(task, "reasons", ()))


def names_of(scope: Any) -> tuple[str, ...]:
    """Return how the cancellations of a scope and of those around it begin."""
    names = []
    while scope is not None:
        names.append(f"Cancelled via cancel scope {id(scope):x}")
        scope = scope._parent_scope
    return tuple(names)


def has_cancellation_in_context(exc: BaseException) -> bool:
    """Return whether an error was raised while a cancellation was being handled."""
    seen: set[int] = set()
    context = exc.__context__
    while context is not None and id(context) not in seen:
        if isinstance(context, asyncio.CancelledError):
            return True
        seen.add(id(context))
        context = context.__context__
    return False


def first_cancellation(exc: BaseException) -> BaseException:
    """Return the first cancellation in a group, or the one given."""
    if not isinstance(exc, BaseExceptionGroup):
        return exc
    cancellations, _ = exc.split(anyio.get_cancelled_exc_class())
    assert cancellations is not None
    return first_cancellation(cancellations.exceptions[0])


def without_cancellation(exc: BaseException) -> Exception:
    """Return the error that a leaked cancellation is, alone or in a group."""
    if isinstance(exc, BaseExceptionGroup):
        return ExceptionGroup(exc.message, [without_cancellation(member) for member in exc.exceptions])
    return exc if isinstance(exc, Exception) else LeakedError()
