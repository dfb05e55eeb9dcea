"""A bounded buffer between those who hand something over and those who take it, in one event loop.

Handing over works from any thread and loop; only the loop that made the buffer may wait for it. So every
change of its state happens under a lock, and who waits is woken in the owner's loop.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from threading import RLock
from typing import Final, Generic, Protocol, TypeVar, get_args

import anyio
import anyio.lowlevel

from antiphon._exceptions import StreamLagged
from antiphon._util.naming import safe_repr
from antiphon._util.owner_loop import OwnerLoop
from antiphon._util.validation import check_limit
from antiphon.typing import Overflow

__all__ = ("MAX_BUFFER_SIZE", "Buffer", "Fifo", "KeyedFifo", "check_overflow")

T = TypeVar("T")

MAX_BUFFER_SIZE: Final = "max_buffer_size= is how many events may wait"


def check_overflow(overflow: object) -> Overflow:
    """Refuse what is no overflow policy.

    Raises:
        ValueError: It is none of the four.
    """
    for known in get_args(Overflow):
        if overflow == known:
            return known  # type: ignore[no-any-return]  # get_args knows no types
    raise ValueError(f'overflow= is "raise", "suspend", "drop_oldest" or "drop_newest"; got {safe_repr(overflow)}')


class BufferOrder(Protocol[T]):
    """The order in which items leave a buffer."""

    def __len__(self) -> int: ...

    def push(self, item: T, /) -> None:
        """Put an item at the end."""
        ...

    def has_next(self) -> bool:
        """Return whether an item may leave now."""
        ...

    def pop(self) -> T | None:
        """Take the first item that may leave, None if there is none."""
        ...

    def drop(self) -> T:
        """Throw the oldest item away."""
        ...


class Fifo(Generic[T]):
    """First in, first out."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: T, /) -> None:
        """Put an item at the end."""
        self._items.append(item)

    def has_next(self) -> bool:
        """Return whether an item is there."""
        return bool(self._items)

    def pop(self) -> T | None:
        """Take the first item, None if there is none."""
        return self._items.popleft() if self._items else None

    def drop(self) -> T:
        """Throw the oldest item away."""
        return self._items.popleft()


class KeyedFifo(Generic[T]):
    """First in, first out, but of the items of one key only one is out at a time; `done` lets the next one go."""

    def __init__(self, lane_of: Callable[[T], Hashable]) -> None:
        self._get_key = lane_of
        self._count = 0
        self._items: OrderedDict[int, T] = OrderedDict()
        # The numbers of the items that wait in each key of which an item is waiting or out.
        self._lanes: dict[Hashable, deque[int]] = {}
        # A heap of the first number of each key that has none out.
        self._ready: list[int] = []

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: T, /) -> None:
        """Put an item at the end of its key."""
        key = self._get_key(item)
        waiting = self._lanes.get(key)
        self._count += 1
        self._items[self._count] = item
        if waiting is None:
            self._lanes[key] = deque([self._count])
            heappush(self._ready, self._count)
        else:
            waiting.append(self._count)

    def has_next(self) -> bool:
        """Return whether an item waits whose key has none out."""
        return bool(self._ready)

    def pop(self) -> T | None:
        """Take the first item whose key has none out, None if there is none."""
        if not self._ready:
            return None
        item = self._items.pop(heappop(self._ready))
        self._lanes[self._get_key(item)].popleft()
        return item

    def drop(self) -> T:
        """Throw the oldest item away."""
        number, item = self._items.popitem(last=False)
        self._lanes[self._get_key(item)].popleft()
        if self._ready and self._ready[0] == number:
            heappop(self._ready)
            self.done(item)
        return item

    def done(self, item: T) -> None:
        """Let the next item of a key go."""
        key = self._get_key(item)
        waiting = self._lanes[key]
        if waiting:
            heappush(self._ready, waiting[0])
        else:
            del self._lanes[key]


class Buffer(Generic[T]):
    """Holds so many items at most.

    Args:
        owner: What the buffer belongs to, for messages.
        line: The order in which items leave.
        max_size: How many items it holds at most.
        overflow: What happens to one more. Under ``"raise"`` the oldest goes, and is counted as missed.

    Raises:
        TypeError: ``max_size`` is no int.
        ValueError: ``max_size`` is less than 1, or ``overflow`` is none.
    """

    def __init__(self, owner: object, line: BufferOrder[T], max_size: int, overflow: Overflow) -> None:
        self.max_size: Final = check_limit(max_size, MAX_BUFFER_SIZE)
        self.overflow: Final = check_overflow(overflow)
        self._owner = owner
        self._line = line
        # Reentrant, since a collected object's finalizer may run code that hands something over.
        self._lock = RLock()
        self._home = OwnerLoop()
        # Only the first of them is woken when there is room, and it puts its item in itself: so a sender that is
        # cancelled at that moment has handed nothing over, and the senders keep their order under any scheduler.
        self._senders: deque[anyio.Event] = deque()
        self._receivers: deque[anyio.Event] = deque()
        self.closed = False
        #: How many items were handed over, came out, and were let go of those that were handed over.
        self.accepted = 0
        self.delivered = 0
        self.dropped = 0
        #: How many were not handed over: the buffer was closed, or who waited to hand them over was cancelled.
        self.refused = 0
        #: How many the readers have not been told of yet.
        self.missed = 0

    def __len__(self) -> int:
        return len(self._line)

    @property
    def waiting_senders(self) -> int:
        """How many wait until there is room."""
        return len(self._senders)

    @property
    def has_next(self) -> bool:
        """Whether a reader would get an item now."""
        return self._line.has_next()

    @property
    def waiting_receivers(self) -> int:
        """How many wait for an item."""
        return len(self._receivers)

    def put_nowait(self, item: T) -> bool:
        """Hand an item over, from any thread.

        Returns:
            Whether that is done; False if there is no room, and the policy is to wait.

        Raises:
            anyio.ClosedResourceError: The buffer is closed.
        """
        # What is let go is held until the lock is free: its finalizer may run code that hands something over.
        evicted: list[T] = []
        with self._lock:
            return self._put(item, evicted)

    async def put(self, item: T) -> None:
        """Hand an item over, and wait until there is room if that is the policy; else there is no checkpoint.

        If it is cancelled, the item has not been handed over.

        Raises:
            anyio.ClosedResourceError: The buffer is closed, or was closed meanwhile.
            RuntimeError: It would have to wait in another event loop or thread than the owner's.
        """
        evicted: list[T] = []
        with self._lock:
            if self._put(item, evicted):
                return
            self.check_owner_loop("is full", "choose an overflow= that drops")
            woken = anyio.Event()
            self._senders.append(woken)
        try:
            await woken.wait()
        except BaseException:
            with self._lock:
                if woken in self._senders:
                    self._senders.remove(woken)
                    self.refused += 1
                    # There may be room for the next one: it may have been this one's.
                    self._wake_sender()
            raise
        with self._lock:
            if self.closed:
                raise anyio.ClosedResourceError
            self._senders.popleft()
            self._accept(item)
            self._wake_sender()

    async def get(self) -> T:
        """Take an item, and wait for one if there is none. Always a checkpoint.

        Raises:
            anyio.EndOfStream: The buffer is closed, and empty.
            RuntimeError: It would have to wait in another event loop or thread than the owner's.
            StreamLagged: Items were missed since the last call.
        """
        await anyio.lowlevel.checkpoint()
        while True:
            with self._lock:
                if self.missed:
                    missed, self.missed = self.missed, 0
                    raise StreamLagged(missed)
                item = self._line.pop()
                if item is not None:
                    self.delivered += 1
                    self._wake_sender()
                    return item
                if self.closed:
                    raise anyio.EndOfStream
                self.check_owner_loop("has nothing to take", "read it there")
                woken = anyio.Event()
                self._receivers.append(woken)
            try:
                await woken.wait()
            except BaseException:
                with self._lock:
                    if woken in self._receivers:
                        self._receivers.remove(woken)
                    else:
                        # It was woken for an item that somebody else must take now.
                        self._wake_receiver()
                raise

    def done(self, item: T) -> None:
        """Let the next item of a key go."""
        if isinstance(self._line, KeyedFifo):
            with self._lock:
                self._line.done(item)
                self._wake_receiver()

    def check_owner_loop(self, state: str, remedy: str) -> None:
        """Refuse to wait where nobody could be woken.

        Raises:
            RuntimeError: This is another event loop or thread than the owner's.
        """
        if not self._home.is_current():
            raise RuntimeError(
                f"{safe_repr(self._owner)} {state}, and one can wait for it only where it was entered, in "
                f"{self._home}; here, in another event loop or thread, {remedy}"
            )

    def close(self, *, if_empty: bool = False) -> bool:
        """Take nothing more. Who waits to hand something over is refused.

        Returns:
            Whether it is closed; False if it was to be closed only if nothing is in it, and something is.
        """
        with self._lock:
            if if_empty and (self._line or self._senders):
                return False
            self.closed = True
            self.refused += len(self._senders)
            while self._senders:
                self._home.call(self._senders.popleft().set)
            while self._receivers:
                self._wake_receiver()
            return True

    def clear(self) -> list[T]:
        """Take out what is still there, and return it."""
        with self._lock:
            return [self._line.drop() for _ in range(len(self._line))]

    def _put(self, item: T, evicted: list[T]) -> bool:
        if self.closed:
            self.refused += 1
            raise anyio.ClosedResourceError
        if self._senders or len(self._line) >= self.max_size:
            if self.overflow == "suspend":
                return False
            self.dropped += 1
            if self.overflow == "drop_newest":
                self.accepted += 1
                return True
            evicted.append(self._line.drop())
            if self.overflow == "raise":
                self.missed += 1
        self._accept(item)
        return True

    def _accept(self, item: T) -> None:
        self.accepted += 1
        self._line.push(item)
        self._wake_receiver()

    def _wake_sender(self) -> None:
        if self._senders and len(self._line) < self.max_size:
            self._home.call(self._senders[0].set)

    def _wake_receiver(self) -> None:
        if self._receivers:
            self._home.call(self._receivers.popleft().set)
