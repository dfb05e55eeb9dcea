"""``python -m tests.endurance.threads``: eight threads use the same dispatchers.

One thread runs asyncio and one runs Trio. The others dispatch on an `EventDispatcher`. All of them add, remove and
describe listeners on both dispatchers. After each dispatch, a thread checks which listeners have run.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anyio

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Subscription
from tests import figures

THREADS = 8
#: The duration of a full run.
SECONDS = 60
#: How many listeners a thread keeps at most.
_MOST = 8
#: Listeners that any thread may remove.
_SHARED = 50
#: The names of counts.
_CROSSED, _LOST, _TOO_LATE = "events from the other loop", "lost", "run after their removal"


class Dispatched(Event):
    """An event that knows which listeners have run."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.ran: list[Listener] = []
        #: What the first listener does.
        self.meanwhile: Callable[[], object] | None = None

    def receive(self, listener: Listener) -> None:
        """Record a listener that runs."""
        self.ran.append(listener)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()


class Placed(Dispatched):
    """An event of a class that has listeners of its own."""


class Listener:
    """A listener that runs with one priority under one key."""

    def __init__(self, key: Any, priority: int) -> None:
        self.key = key
        self.priority = priority
        self.removed_by: int | None = None


class AsyncListener(Listener):
    """A listener of the async dispatcher."""

    async def __call__(self, event: Dispatched) -> None:
        event.receive(self)


class SyncListener(Listener):
    """A listener of the synchronous dispatcher."""

    def __call__(self, event: Dispatched) -> None:
        event.receive(self)


class Fault(Exception):
    """A dispatch, or a dispatcher, is not as it has to be."""


def matches(key: Any, name: str, event: Dispatched) -> bool:
    """Return whether a listener of a key hears an event; only for the keys of this program."""
    if isinstance(key, type):
        return isinstance(event, key)
    return key in (name, "**") or (key == "order.*" and name.startswith("order."))


class Shared:
    """What the threads share."""

    def __init__(self, seconds: float) -> None:
        self.asynchronous = AsyncEventDispatcher(name="asynchronous")
        self.synchronous = EventDispatcher(name="synchronous")
        self.until = time.monotonic() + seconds
        self.pool: deque[tuple[Subscription, Listener]] = deque()
        self.faults: list[BaseException] = []
        self.counts = [Counter[str]() for _ in range(THREADS)]
        self.permanent: dict[Any, list[Listener]] = {self.asynchronous: [], self.synchronous: []}
        self.kept: dict[Any, list[Listener]] = {self.asynchronous: [], self.synchronous: []}
        self.lock = threading.Lock()
        for dispatcher, permanent in self.permanent.items():
            for key, priority in (("**", -5), ("order.*", 0), (Dispatched, 5), (Placed, 7)):
                listener = make_listener(dispatcher, key, priority)
                dispatcher.add_listener(key, listener, priority=priority)
                permanent.append(listener)


def make_listener(dispatcher: Any, key: Any, priority: int) -> Listener:
    """Make a listener that a dispatcher accepts."""
    return (SyncListener if isinstance(dispatcher, EventDispatcher) else AsyncListener)(key, priority)


class Worker:
    """The steps of one thread."""

    def __init__(self, shared: Shared, number: int, seed: int) -> None:
        self.shared = shared
        self.number = number
        self.random = random.Random(f"{seed} {number}")
        self.mine: dict[Any, list[tuple[Subscription, Listener]]] = {dispatcher: [] for dispatcher in shared.permanent}
        self.counts = shared.counts[number]

    def is_over(self) -> bool:
        """Return whether the thread ends; all end with the first fault."""
        return time.monotonic() > self.shared.until or bool(self.shared.faults)

    def change(self) -> None:
        """Add, remove or describe listeners."""
        dispatcher = self.random.choice(list(self.mine))
        self.random.choices((self.add, self.remove, self.share, self.remove_shared, self.look), (5, 4, 1, 1, 1))[0](
            dispatcher
        )

    def add(self, dispatcher: Any) -> None:
        if len(self.mine[dispatcher]) >= _MOST:
            self.remove(dispatcher)
            return
        key = self.random.choice(("**", "order.*", Dispatched, Placed, f"order.{self.number}", f"own.{self.number}"))
        listener = make_listener(dispatcher, key, self.random.randint(-3, 3))
        self.mine[dispatcher].append((dispatcher.add_listener(key, listener, priority=listener.priority), listener))
        self.counts["registrations"] += 1

    def remove(self, dispatcher: Any) -> None:
        if not self.mine[dispatcher]:
            return
        place = self.random.randrange(len(self.mine[dispatcher]))
        subscription, listener = self.mine[dispatcher].pop(place)
        if self.random.random() < 0.5:
            subscription.unsubscribe()
        else:
            dispatcher.remove_listener(listener.key, listener)
        listener.removed_by = self.number
        self.counts["removals"] += 1

    def share(self, dispatcher: Any) -> None:
        if self.mine[dispatcher] and len(self.shared.pool) < _SHARED:
            self.shared.pool.append(self.mine[dispatcher].pop())

    def remove_shared(self, _: Any) -> None:
        try:
            subscription, listener = self.shared.pool.popleft()
        except IndexError:
            return
        subscription.unsubscribe()
        listener.removed_by = self.number
        self.counts["removals"] += 1

    def look(self, dispatcher: Any) -> None:
        mine = {listener for _, listener in self.mine[dispatcher]}
        described = Counter(str(entry.key) for entry in dispatcher.describe().listeners)
        listed = {listener for listeners in dispatcher.get_listeners().values() for listener in listeners}
        own = f"own.{self.number}"  # only this thread adds listeners under this key; others may remove them
        if not mine <= listed or described[own] < sum(listener.key == own for listener in mine):
            raise Fault("a listener is missing in the description")
        self.counts["descriptions"] += 1

    def make_event(self) -> tuple[str, Dispatched]:
        # The threads share most names, so that a thread often gets a plan that another one has made.
        names = (f"order.{self.number}", f"own.{self.number}", "order.all", "other")
        return self.random.choices(names, (1, 1, 4, 4))[0], self.random.choice((Dispatched, Placed))()

    def make_events(self, dispatcher: Any) -> Iterator[tuple[str, Dispatched]]:
        """Make events until the end. Change the listeners before some of them, and while some of them are dispatched."""
        while not self.is_over():
            # Not before each one: what is outdated must not be replaced at once.
            if self.random.random() < 0.3:
                self.change()
            name, event = self.make_event()
            if self.random.random() < 0.1:
                # The first listener, which is permanent, removes another one, which then must not run.
                event.meanwhile = partial(self.remove, dispatcher)
            yield name, event

    def check(self, dispatcher: Any, name: str, event: Dispatched) -> None:
        """Check that the listeners of this thread have run once each, and none that it had removed."""
        ran = Counter(event.ran)
        certain = [*self.shared.permanent[dispatcher], *(listener for _, listener in self.mine[dispatcher])]
        expected = [listener for listener in certain if matches(listener.key, name, event)]
        if lost := [listener for listener in expected if not ran[listener]]:
            self.counts[_LOST] += len(lost)
            raise Fault(f"{name}: {len(lost)} listeners did not run")
        for listener, times in ran.items():
            if times > 1:
                raise Fault(f"{name}: a listener ran {times} times")
            if listener.removed_by == self.number:
                self.counts[_TOO_LATE] += 1
                raise Fault(f"{name}: a listener ran after this thread had removed it")
            if not matches(listener.key, name, event):
                raise Fault(f"{name}: a listener of {listener.key!r} ran")
        priorities = [listener.priority for listener in event.ran]
        if priorities != sorted(priorities):
            raise Fault(f"{name}: listeners ran in the order {priorities}")
        self.counts["dispatches"] += 1
        self.counts["listeners"] += len(ran)

    def finish(self) -> None:
        """Hand over the remaining listeners, for the check at the end."""
        with self.shared.lock:
            for dispatcher, kept in self.mine.items():
                self.shared.kept[dispatcher] += [listener for _, listener in kept]

    def run(self) -> None:
        """Dispatch on the synchronous dispatcher."""
        dispatcher = self.shared.synchronous
        prepared: dict[str, Callable[[Any], Any]] = {}
        for name, event in self.make_events(dispatcher):
            if self.random.random() < 0.3:
                prepared.setdefault(name, dispatcher.prepare(name))(event)
            elif self.random.random() < 0.1:
                with dispatcher.scope() as scope:
                    listener = make_listener(dispatcher, name, 0)
                    scope.add_listener(name, listener)
                    scope.dispatch(name, event)
                if listener not in event.ran:
                    raise Fault("a listener of a scope did not run")
            else:
                dispatcher.dispatch(name, event)
            self.check(dispatcher, name, event)

    async def run_on_a_loop(self, other: int) -> None:
        """Dispatch on the async dispatcher, and read what the thread with the other loop dispatches."""
        dispatcher = self.shared.asynchronous
        strategies = (None, Concurrent(), Concurrent(limit=2))
        sent = 0
        async with (
            dispatcher.stream(f"numbered.{other}", max_buffer_size=1_000_000) as stream,
            anyio.create_task_group() as group,
        ):
            group.start_soon(self.read, stream)
            self.counts["ready"] = 1
            while not self.shared.counts[other]["ready"] and not self.is_over():
                await anyio.sleep(0.001)
            for name, event in self.make_events(dispatcher):
                await dispatcher.adispatch(name, event, strategy=self.random.choice(strategies))
                self.check(dispatcher, name, event)
                sent += 1
                await dispatcher.adispatch(f"numbered.{self.number}", Dispatched(sent))
                await anyio.sleep(0)
            self.counts["sent"] = sent
            self.counts["finished"] = 1
            theirs = self.shared.counts[other]
            with anyio.move_on_after(30):
                while not theirs["finished"] or self.counts[_CROSSED] < theirs["sent"]:
                    if self.shared.faults:
                        break
                    await anyio.sleep(0.001)
            group.cancel_scope.cancel()
        if self.counts[_CROSSED] != theirs["sent"] and not self.shared.faults:
            raise Fault(f"{self.counts[_CROSSED]} of {theirs['sent']} events reached the other loop")

    async def read(self, stream: Any) -> None:
        """Read the events of the other loop, which come in their order."""
        async for event in stream:
            self.counts[_CROSSED] += 1
            if event.number != self.counts[_CROSSED]:
                raise Fault(f"event {event.number} came from the other loop instead of {self.counts[_CROSSED]}")


def run(seconds: float, seed: int = 0) -> Counter[str]:
    """Run all threads, and return what they did.

    Raises:
        ExceptionGroup: The faults.
    """
    shared = Shared(seconds)
    workers = [Worker(shared, number, seed) for number in range(THREADS)]

    def guarded(work: Callable[[], object], worker: Worker) -> None:
        try:
            work()
        except BaseException as fault:
            shared.faults.append(fault)
        finally:
            worker.finish()

    works: list[Callable[[], object]] = [
        lambda: anyio.run(workers[0].run_on_a_loop, 1, backend="asyncio"),
        lambda: anyio.run(workers[1].run_on_a_loop, 0, backend="trio"),
        *(worker.run for worker in workers[2:]),
    ]
    threads = [
        threading.Thread(target=guarded, args=(work, worker), daemon=True)
        for work, worker in zip(works, workers, strict=True)
    ]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, shared.until - time.monotonic()) + 60)
    finally:
        sys.setswitchinterval(interval)
    if stuck := [number for number, thread in enumerate(threads) if thread.is_alive()]:
        faulthandler.dump_traceback()
        shared.faults.append(Fault(f"the threads {stuck} did not end"))
    if not shared.faults:
        shared.faults += _check_end(shared)
    if shared.faults:
        raise BaseExceptionGroup("the threads disturbed each other", shared.faults)
    total = sum(shared.counts, Counter[str]())
    for word in ("ready", "finished", "sent"):
        del total[word]
    return total


def _check_end(shared: Shared) -> list[Fault]:
    """Compare what is registered at the end with what the threads added and did not remove."""
    faults = []
    pooled = {listener for _, listener in shared.pool}
    for dispatcher, kept in shared.kept.items():
        expected = {
            *kept,
            *shared.permanent[dispatcher],
            *(one for one in pooled if isinstance(one, type(make_listener(dispatcher, "", 0)))),
        }
        found = [listener for listeners in dispatcher.get_listeners().values() for listener in listeners]
        if len(found) != len(expected) or set(found) != expected:
            faults.append(Fault(f"{dispatcher!r} has {len(found)} listeners instead of {len(expected)}"))
        dispatcher.clear()
        if dispatcher.has_listeners():
            faults.append(Fault(f"{dispatcher!r} has listeners after clear()"))
    return faults


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 after a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance.threads", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="5 seconds")
    options = parser.parse_args(arguments)
    seconds = 5.0 if options.short else options.seconds
    counts = run(seconds, options.seed)
    print(", ".join(f"{number:,} {what}" for what, number in counts.items()))
    figures.print_left_out(seconds, SECONDS, "seconds")
    if not options.short and seconds >= SECONDS:
        figures.keep(
            "threads",
            {"seconds": seconds, "threads": THREADS, **counts, _LOST: counts[_LOST], _TOO_LATE: counts[_TOO_LATE]},
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
