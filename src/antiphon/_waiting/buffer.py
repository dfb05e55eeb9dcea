"""A bounded buffer of items, from senders in any thread to receivers in one event loop.

A sender in any thread or event loop can put an item without waiting. Only tasks of the owner loop, in which the buffer
was made, can wait for space or for an item. Therefore each change of the state happens under a lock, and a task that
waits is woken up in the owner loop.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from threading import RLock
from typing import Final, Generic, Protocol, TypeVar, get_args

import anyio

from antiphon._backend import OwnerLoop, checkpoint
from antiphon._exceptions import StreamLagged
from antiphon._util.naming import safe_repr
from antiphon._util.validation import check_limit
from antiphon.typing import Overflow

__all__ = ("MAX_BUFFER_SIZE", "Buffer", "Fifo", "KeyedFifo", "check_overflow")

T = TypeVar("T")

MAX_BUFFER_SIZE: Final = "max_buffer_size= is how many events may wait"


def check_overflow(overflow: object) -> Overflow:
    """Check that an object is an overflow policy.

    Returns:
        The policy.

    Raises:
        ValueError: If it is not one of the four policies.
    """
    for known in get_args(Overflow):
        if overflow == known:
            return known  # type: ignore[no-any-return]  # get_args is not typed
    raise ValueError(f'overflow= is "raise", "suspend", "drop_oldest" or "drop_newest"; got {safe_repr(overflow)}')


class BufferOrder(Protocol[T]):
    """The order in which items leave a buffer."""

    def __len__(self) -> int: ...

    def push(self, item: T, /) -> None:
        """Add an item at the end."""
        ...

    def has_next(self) -> bool:
        """Return whether `pop_next` would return an item."""
        ...

    def pop_next(self) -> T | None:
        """Remove and return the first item that may leave now, or return None if there is none."""
        ...

    def pop_oldest(self) -> T:
        """Remove and return the oldest item."""
        ...


class Fifo(deque[T]):
    """First in, first out."""

    # The methods of the deque itself, because each event passes through them.
    push = deque[T].append
    pop_oldest = deque[T].popleft

    def has_next(self) -> bool:
        """Return whether there is an item."""
        return bool(self)

    def pop_next(self) -> T | None:
        """Remove and return the first item, or return None if there is none."""
        return self.popleft() if self else None


class KeyedFifo(Generic[T]):
    """First in, first out, with at most one item of each key in progress.

    `pop_next` returns no further item of a key until `release` is called with the item that it has returned before.

    Args:
        get_key: The function that returns the key of an item.
    """

    def __init__(self, get_key: Callable[[T], Hashable]) -> None:
        self._get_key = get_key
        self._count = 0
        self._items: OrderedDict[int, T] = OrderedDict()
        # The numbers of the waiting items of each key of which an item is waiting or in progress.
        self._waiting: dict[Hashable, deque[int]] = {}
        # A heap with the first number of each key of which no item is in progress.
        self._ready: list[int] = []

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: T, /) -> None:
        """Add an item at the end."""
        key = self._get_key(item)
        waiting = self._waiting.get(key)
        self._count += 1
        self._items[self._count] = item
        if waiting is None:
            self._waiting[key] = deque([self._count])
            heappush(self._ready, self._count)
        else:
            waiting.append(self._count)

    def has_next(self) -> bool:
        """Return whether an item waits whose key has no item in progress."""
        return bool(self._ready)

    def pop_next(self) -> T | None:
        """Remove and return the first item whose key has no item in progress, or return None if there is none."""
        if not self._ready:
            return None
        item = self._items.pop(heappop(self._ready))
        self._waiting[self._get_key(item)].popleft()
        return item

    def pop_oldest(self) -> T:
        """Remove and return the oldest item."""
        number, item = self._items.popitem(last=False)
        self._waiting[self._get_key(item)].popleft()
        if self._ready and self._ready[0] == number:
            heappop(self._ready)
            self.release(item)
        return item

    def release(self, item: T) -> None:
        """Note that an item is no longer in progress, so that the next item of its key may leave."""
        key = self._get_key(item)
        waiting = self._waiting[key]
        if waiting:
            heappush(self._ready, waiting[0])
        else:
            del self._waiting[key]


class Buffer(Generic[T]):
    """A bounded buffer.

    Args:
        owner: The object to which the buffer belongs, for error messages.
        order: The container of the items, which determines the order in which they leave.
        max_size: The maximum number of items.
        overflow: What happens to the next item when the buffer is full. Under ``"raise"`` the oldest item is dropped,
            and counted as missed.

    Raises:
        TypeError: If ``max_size`` is not an int.
        ValueError: If ``max_size`` is less than 1, or ``overflow`` is not a policy.
    """

    def __init__(self, owner: object, order: BufferOrder[T], max_size: int, overflow: Overflow) -> None:
        self.max_size: Final = check_limit(max_size, MAX_BUFFER_SIZE)
        self.overflow: Final = check_overflow(overflow)
        self._owner = owner
        self._items = order
        # Reentrant, because the finalizer of a collected object may run code that puts an item.
        self._lock = RLock()
        self._owner_loop = OwnerLoop()
        # When there is space, only the first sender is woken up, and adds its item itself. So a sender that is
        # cancelled at that moment has added nothing, and the senders keep their order under any scheduler.
        self._senders: deque[_WaitingSender] = deque()
        self._receivers: deque[anyio.Event] = deque()
        # One element for each receiver that will look for an item in its next step. While there is one, no other
        # receiver is woken up, because that one may take all items. If items remain then, it wakes up another receiver.
        # A deque, because it can be extended without the lock.
        self._active_receivers: deque[None] = deque()
        self.closed = False
        #: How many items were accepted from senders.
        self.accepted = 0
        #: How many of them were given to receivers.
        self.delivered = 0
        #: How many of them were dropped because the buffer was full.
        self.dropped = 0
        #: How many items were not accepted, because the buffer was closed or the waiting sender was cancelled.
        self.refused = 0
        #: How many items were dropped under ``"raise"`` since the last `StreamLagged`.
        self.missed = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def waiting_senders(self) -> int:
        """How many senders wait for space."""
        return len(self._senders)

    @property
    def has_next(self) -> bool:
        """Whether a receiver would get an item without waiting."""
        return self._items.has_next()

    @property
    def waiting_receivers(self) -> int:
        """How many receivers wait for an item."""
        return len(self._receivers)

    def put_nowait(self, item: T) -> bool:
        """Put an item without waiting, from any thread.

        Returns:
            True, or False if the buffer is full and its policy is ``"suspend"``.

        Raises:
            anyio.ClosedResourceError: If the buffer is closed.
        """
        evicted: T | None = None
        with self._lock:
            if self.closed:
                self.refused += 1
                raise anyio.ClosedResourceError
            if self._is_full():
                if self.overflow == "suspend":
                    return False
                self.dropped += 1
                if self.overflow == "drop_newest":
                    self.accepted += 1
                    return True
                evicted = self._items.pop_oldest()
                if self.overflow == "raise":
                    self.missed += 1
            self._accept(item)
        # Drop it without the lock, because its finalizer may run code that puts an item.
        del evicted
        return True

    async def put(self, item: T) -> None:
        """Put an item. Wait for space if the buffer is full and its policy is ``"suspend"``.

        This is a checkpoint only if it waits. If it is cancelled, the item has not been added.

        Raises:
            anyio.ClosedResourceError: If the buffer is closed, also during the wait.
            RuntimeError: If it had to wait in another event loop or thread than the owner's.
        """
        while not self.put_nowait(item):
            with self._lock:
                # Otherwise another thread has made space, or has closed the buffer.
                if not self.closed and self._is_full():
                    self.check_owner_loop("is full", "choose an overflow= that drops")
                    sender = _WaitingSender()
                    self._senders.append(sender)
                    break
        else:
            return
        try:
            await sender.wait()
        except BaseException:
            with self._lock:
                if sender in self._senders:
                    self._senders.remove(sender)
                    self.refused += 1
                    # There may be space for which this sender was woken up.
                    self._wake_sender()
            raise
        with self._lock:
            if self.closed:
                raise anyio.ClosedResourceError
            self._senders.popleft()
            self._accept(item)
            self._wake_sender()

    async def get(self) -> T:
        """Remove and return the next item. Wait for one if there is none. This is always a checkpoint.

        Raises:
            anyio.EndOfStream: If the buffer is closed and empty.
            RuntimeError: If it had to wait in another event loop or thread than the owner's.
            StreamLagged: If items were missed since the last call.
        """
        self._active_receivers.append(None)
        try:
            await checkpoint()
        except BaseException:
            self._deactivate_receiver()
            raise
        while True:
            with self._lock:
                self._active_receivers.pop()
                try:
                    if self.missed:
                        missed, self.missed = self.missed, 0
                        raise StreamLagged(missed)
                    item = self._items.pop_next()
                    if item is not None:
                        self.delivered += 1
                        self._wake_sender()
                        return item
                    if self.closed:
                        raise anyio.EndOfStream
                    self.check_owner_loop("is empty", "read it there")
                    wakeup = anyio.Event()
                    self._receivers.append(wakeup)
                finally:
                    self._wake_receiver()
            try:
                await wakeup.wait()
            except BaseException:
                with self._lock:
                    if wakeup in self._receivers:
                        self._receivers.remove(wakeup)
                    else:
                        self._deactivate_receiver()
                raise

    def release(self, item: T) -> None:
        """Note that an item is no longer in progress, which matters to `KeyedFifo`."""
        if isinstance(self._items, KeyedFifo):
            with self._lock:
                self._items.release(item)
                self._wake_receiver()

    def check_owner_loop(self, state: str, remedy: str) -> None:
        """Check that the running code can wait for the buffer.

        Args:
            state: The state of the buffer, for the error message.
            remedy: What to do in other event loops and threads, for the error message.

        Raises:
            RuntimeError: If it runs in another event loop or thread than the owner's.
        """
        if not self._owner_loop.is_current():
            raise RuntimeError(
                f"{safe_repr(self._owner)} {state}, and waiting for it is possible only where it was entered, in "
                f"{self._owner_loop}; in other event loops and threads, {remedy}"
            )

    def close(self, *, if_empty: bool = False) -> bool:
        """Accept no further items. Senders that wait are refused, and receivers that wait are woken up.

        Args:
            if_empty: Whether to close only if there are no items and no senders that wait.

        Returns:
            Whether the buffer was closed.
        """
        with self._lock:
            if if_empty and (self._items or self._senders):
                return False
            self.closed = True
            self.refused += len(self._senders)
            while self._senders:
                self._owner_loop.call(self._senders.popleft().wake_up)
            while self._receivers:
                self._activate_receiver()
            return True

    def clear(self) -> list[T]:
        """Remove and return all items."""
        with self._lock:
            return [self._items.pop_oldest() for _ in range(len(self._items))]

    def _is_full(self) -> bool:
        # An item must not overtake those of the senders that wait, which will use the space.
        return bool(self._senders) or len(self._items) >= self.max_size

    def _accept(self, item: T) -> None:
        self.accepted += 1
        self._items.push(item)
        self._wake_receiver()

    def _wake_sender(self) -> None:
        if self._senders and len(self._items) < self.max_size:
            self._owner_loop.call(self._senders[0].wake_up)

    def _wake_receiver(self) -> None:
        """Wake up a receiver if there is an item that no receiver is about to take."""
        if self._receivers and not self._active_receivers and self._items.has_next():
            self._activate_receiver()

    def _activate_receiver(self) -> None:
        self._active_receivers.append(None)
        self._owner_loop.call(self._receivers.popleft().set)

    def _deactivate_receiver(self) -> None:
        """Let another receiver take the item that a cancelled one was about to take."""
        with self._lock:
            self._active_receivers.pop()
            self._wake_receiver()


class _WaitingSender:
    """A sender that waits for space. Its methods run in the owner loop."""

    __slots__ = ("_event", "_is_woken_up")

    def __init__(self) -> None:
        self._event: anyio.Event | None = None
        self._is_woken_up = False

    async def wait(self) -> None:
        """Wait until `wake_up` is called. This is always a checkpoint."""
        # If a receiver runs meanwhile, there is space now, and an `anyio.Event` would cost more than the checkpoint.
        await checkpoint()
        if not self._is_woken_up:
            self._event = anyio.Event()
            await self._event.wait()

    def wake_up(self) -> None:
        """Let the sender continue."""
        self._is_woken_up = True
        if self._event is not None:
            self._event.set()
