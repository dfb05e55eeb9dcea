"""A bounded buffer of items, from senders in any thread to receivers in one event loop.

A sender in any thread or event loop can put an item without waiting. Only tasks of the owner loop, in which the buffer
was made, can wait for space or for an item. Therefore each change of the state happens under a lock, and a task that
waits is woken up in the owner loop.
"""

from __future__ import annotations

from collections import deque
from threading import RLock
from typing import Final, Generic, TypeVar, get_args
from weakref import ref

import anyio

from antiphon._backend import OwnerLoop, checkpoint
from antiphon._exceptions import StreamLagged
from antiphon._types import Overflow
from antiphon._util.naming import safe_repr
from antiphon._util.validation import check_limit
from antiphon._waiting.buffer_order import BufferOrder, KeyedFifo

__all__ = ("MAX_BUFFER_SIZE", "Buffer", "check_overflow")

T = TypeVar("T")

#: What `Buffer._put` returns if the buffer is full.
_FULL: Final = object()

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


class _WaitingSender:
    """A sender that waits for space."""

    #: None during the first checkpoint of the sender, after which it looks for space itself.
    wakeup: anyio.Event | None = None


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
        # Weak, because the owner refers to its buffer: a stream or a queue that is no longer used is freed immediately.
        self._find_owner = ref(owner)
        self._items = order
        # Reentrant, because the finalizer of a collected object may run code that puts an item.
        self._lock = RLock()
        self._owner_loop = OwnerLoop()
        # When there is space, only the first sender is woken up, and adds its item itself. So a sender that is
        # cancelled at that moment has added nothing, and the senders keep their order under any scheduler.
        self._senders: deque[_WaitingSender] = deque()
        self._receivers: deque[anyio.Event] = deque()
        # One element for each receiver that will look for an item in its next step. While there is one, no other
        # receiver is woken up, because that one may take all items. It is a deque, because a receiver adds its element
        # without the lock.
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
        with self._lock:
            evicted = self._put(item)
        return evicted is not _FULL

    async def put(self, item: T) -> None:
        """Put an item. Wait for space if the buffer is full and its policy is ``"suspend"``.

        This is a checkpoint only if it waits. If it is cancelled, the item has not been added.

        Raises:
            anyio.ClosedResourceError: If the buffer is closed, also during the wait.
            RuntimeError: If it had to wait in another event loop or thread than the owner's.
        """
        with self._lock:
            evicted = self._put(item)
            if evicted is not _FULL:
                return
            self.check_owner_loop("is full", "choose an overflow= that drops")
            sender = _WaitingSender()
            self._senders.append(sender)
        try:
            # If a receiver runs meanwhile, there is space after a checkpoint, which costs less than an `anyio.Event`.
            # Trio runs the tasks that are ready in random order, so the receiver may run only after this task.
            await checkpoint()
            if len(self._items) >= self.max_size:
                await checkpoint()
            with self._lock:
                if self.closed or (self._senders[0] is sender and len(self._items) < self.max_size):
                    self._put_first(item)
                    return
                wakeup = sender.wakeup = anyio.Event()
            await wakeup.wait()
            with self._lock:
                self._put_first(item)
        except BaseException:
            with self._lock:
                if sender in self._senders:
                    self._senders.remove(sender)
                    self.refused += 1
                    # There may be space for which this sender was woken up.
                    self._wake_sender()
            raise

    async def get(self, *, wake_next: bool = True) -> T:
        """Remove and return the next item. Wait for one if there is none. This is always a checkpoint.

        Args:
            wake_next: Whether to wake up another receiver if items remain. If it is False, the caller must call
                `wake_receiver` before it waits for anything else than the next item.

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
                        raise StreamLagged(missed, safe_repr(self._find_owner()))
                    item = self._items.pop_next()
                    if item is not None:
                        self.delivered += 1
                        if self._senders:
                            self._wake_sender()
                        return item
                    if self.closed:
                        raise anyio.EndOfStream
                    self.check_owner_loop("is empty", "read it there")
                    wakeup = anyio.Event()
                    self._receivers.append(wakeup)
                finally:
                    if wake_next and self._receivers:
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

    def wake_receiver(self) -> None:
        """Wake up a receiver that waits, if there is an item that no receiver is about to take."""
        with self._lock:
            self._wake_receiver()

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
                f"{safe_repr(self._find_owner())} {state}, and waiting for it is possible only where it was entered, "
                f"in {self._owner_loop}; in other event loops and threads, {remedy}"
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
                self._wake(self._senders.popleft())
            while self._receivers:
                self._activate_receiver()
            return True

    def clear(self) -> list[T]:
        """Remove and return all items."""
        with self._lock:
            return [self._items.pop_oldest() for _ in range(len(self._items))]

    def _put(self, item: T) -> object:
        """Put an item, with the lock.

        Returns:
            `_FULL` if it has to wait for space. Otherwise the item that was dropped, or None. Keep it until the lock is
            released, because its finalizer may run code that puts an item.
        """
        if self.closed:
            self.refused += 1
            raise anyio.ClosedResourceError
        evicted: T | None = None
        # An item must not overtake those of the senders that wait.
        if self._senders or len(self._items) >= self.max_size:
            if self.overflow == "suspend":
                return _FULL
            self.dropped += 1
            if self.overflow == "drop_newest":
                self.accepted += 1
                return None
            evicted = self._items.pop_oldest()
            if self.overflow == "raise":
                self.missed += 1
        self._accept(item)
        return evicted

    def _put_first(self, item: T) -> None:
        """Put the item of the first sender that waits, if the buffer has not been closed meanwhile."""
        if self.closed:
            raise anyio.ClosedResourceError
        self._senders.popleft()
        self._accept(item)
        self._wake_sender()

    def _accept(self, item: T) -> None:
        self.accepted += 1
        self._items.push(item)
        if self._receivers:
            self._wake_receiver()

    def _wake_sender(self) -> None:
        if self._senders and len(self._items) < self.max_size:
            self._wake(self._senders[0])

    def _wake(self, sender: _WaitingSender) -> None:
        if sender.wakeup is not None:
            self._owner_loop.call(sender.wakeup.set)

    def _wake_receiver(self) -> None:
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
