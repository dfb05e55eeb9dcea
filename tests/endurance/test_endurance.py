"""The long runs, in short; and that each of them finds the fault that it looks for."""

from __future__ import annotations

import time
from collections import deque
from functools import wraps
from typing import Any

import anyio
import pytest

import antiphon.testing
from antiphon import AsyncEventDispatcher, Event, EventDispatcher
from antiphon._registry.registry import Registry
from tests.endurance import bad_input, leaks, public_calls, threads

pytestmark = pytest.mark.slow


def test_threads_do_not_disturb_each_other() -> None:
    counts = threads.run(2)

    assert min(counts["dispatches"], counts["removals"], counts[threads._CROSSED]) > 0


def test_a_lost_registration_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if another thread had removed it."""
    add = AsyncEventDispatcher.add_listener

    def lose(self: Any, key: Any, listener: Any, **options: Any) -> Any:
        subscription = add(self, key, listener, **options)
        # A stream registers a listener of its own.
        if getattr(listener, "priority", None) == 3:
            subscription.unsubscribe()
        return subscription

    monkeypatch.setattr(AsyncEventDispatcher, "add_listener", lose)

    with pytest.raises(BaseExceptionGroup) as raised:
        threads.run(5)
    # The thread misses the listener when it runs, or when it removes it.
    assert raised.group_contains((threads.Fault, ValueError))


def find_faults_of_threads(message: str) -> None:
    with pytest.raises(BaseExceptionGroup) as raised:
        threads.run(30)
    assert raised.group_contains(threads.Fault, match=message)


def test_an_outdated_plan_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the plan were made without the lock, so that another thread can add a listener meanwhile."""

    def make_outside_the_lock(self: Any, name: Any, cls: Any) -> Any:
        cached = self._make_cached_plan(name, cls, self.find_for_event(name, cls))
        time.sleep(0)  # lets another thread run
        with self._lock:
            self._caches.get_plans_for_name(name, is_key=name in self._buckets)[cls] = cached
        return cached

    monkeypatch.setattr(Registry, "get_cached_plan", make_outside_the_lock)

    find_faults_of_threads("did not run")


def test_a_late_removal_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    discard, waiting = Registry.discard, deque[Any]()

    def discard_later(self: Any, subscription: Any) -> bool:
        waiting.append((self, subscription))
        return discard(*waiting.popleft()) if len(waiting) > 20 else True

    monkeypatch.setattr(Registry, "discard", discard_later)

    find_faults_of_threads("had removed it")


def test_a_removal_without_effect_on_running_dispatches_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    discard = Registry.discard

    def keep_call(self: Any, subscription: Any) -> bool:
        call = subscription.call
        is_removed = discard(self, subscription)
        subscription.call = call
        return is_removed

    monkeypatch.setattr(Registry, "discard", keep_call)

    find_faults_of_threads("had removed it")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("case", leaks.CASES)
def test_a_case_leaves_nothing(case: str, backend: str) -> None:
    left = anyio.run(leaks.measure, leaks.CASES[case], 300, backend=backend)

    assert not left.is_leak(), left


def test_a_leak_is_found() -> None:
    dispatcher = AsyncEventDispatcher()

    async def register(rounds: int) -> None:
        for _ in range(rounds):

            async def listener(event: Event) -> None: ...

            dispatcher.add_listener("order.placed", listener)

    assert anyio.run(leaks.measure, register, 3000).is_leak()


def test_a_cycle_is_found() -> None:
    async def close_a_cycle(rounds: int) -> None:
        for _ in range(rounds):
            event: Any = Event()
            event.itself = event

    assert anyio.run(leaks.measure, close_a_cycle, 300).cyclic


def test_wrong_arguments_raise_documented_errors() -> None:
    assert bad_input.run(1_000)["errors"] > 500


def test_an_undocumented_error_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_listeners(self: Any, name: Any = None, event_class: Any = Event, /) -> Any:
        """Return the listeners.

        Raises:
            ValueError: Never.
        """
        return {}[event_class]

    calls = [public_calls.PublicCall("AsyncEventDispatcher", "has_listeners")]
    monkeypatch.setattr(bad_input, "list_calls", lambda: calls)
    monkeypatch.setattr(AsyncEventDispatcher, "has_listeners", get_listeners)

    with pytest.RaisesGroup(bad_input.UndocumentedError, bad_input.UndocumentedError):
        bad_input.run(20)


def test_a_change_before_an_error_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        bad_input, "list_calls", lambda: [public_calls.PublicCall("EventDispatcher", "remove_listener")]
    )
    remove = EventDispatcher.remove_listener

    def remove_first(self: Any, key: Any, listener: Any) -> None:
        self.clear("order.placed")
        remove(self, key, listener)

    monkeypatch.setattr(EventDispatcher, "remove_listener", wraps(remove)(remove_first))

    with pytest.raises(ExceptionGroup, match="undocumented effects") as raised:
        bad_input.run(40)
    assert raised.group_contains(AssertionError, match="the error changed the dispatcher")


def test_a_changed_option_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here, an instrument that is added although it is refused."""
    add = AsyncEventDispatcher.add_instrument

    def add_twice(self: Any, instrument: Any, /) -> None:
        self._instruments = (*self._instruments, instrument)
        add(self, instrument)

    monkeypatch.setattr(
        bad_input, "list_calls", lambda: [public_calls.PublicCall("AsyncEventDispatcher", "add_instrument")]
    )
    monkeypatch.setattr(AsyncEventDispatcher, "add_instrument", wraps(add)(add_twice))

    with pytest.raises(ExceptionGroup, match="undocumented effects"):
        bad_input.run(40)


def test_every_public_name_is_called_or_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shop:
        def order(self) -> None: ...

    Shop.__module__ = Shop.order.__module__ = "antiphon.testing"
    monkeypatch.setattr(antiphon.testing, "Shop", Shop, raising=False)
    monkeypatch.setattr(antiphon.testing, "__all__", (*antiphon.testing.__all__, "Shop"))

    with pytest.raises(public_calls.MissingSubjectError, match=r"antiphon\.testing\.Shop\.order needs a subject"):
        public_calls.list_calls()


def test_no_reason_is_left_of_a_name_that_is_gone() -> None:
    names = set(public_calls.NOT_CALLED)
    public = {name for module in public_calls.MODULES.values() for name in getattr(module, "__all__", ())}
    for module in public_calls.MODULES.values():
        for cls in (getattr(module, name) for name in getattr(module, "__all__", ())):
            public |= {f"{getattr(cls, '__name__', '')}.{name}" for name in dir(cls)} | set(dir(cls))

    assert names <= public


def test_documented_errors_are_read_from_the_docstring() -> None:
    assert bad_input.documented_errors(AsyncEventDispatcher.wait_for) == (
        anyio.ClosedResourceError,
        RuntimeError,
        TypeError,
        ValueError,
    )
