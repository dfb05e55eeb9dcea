"""pluggy, on which pytest's plugins stand."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from benchmarks.cases import Candidate
from benchmarks.loads import Load
from benchmarks.peers.peer import Peer
from benchmarks.stores import Store

__all__ = ("PEER",)

PROJECT = "shop"


def sync(load: Load) -> Candidate:
    """Calls the hook."""
    manager = _make()
    for listener in load.listeners():
        manager.register(_plugin(listener))
    return load.candidate("pluggy", "hook.order_placed(event=EVENT)", role="peer", hook=manager.hook)


def store() -> Store:
    """Registers plugins of one function."""
    return Store(
        "pluggy",
        _make,
        add="store.register(item)",
        remove="store.unregister(item)",
        register=lambda manager, item: (manager.register(item), item)[1],
        plan=lambda store: None,
        dispatch="store.hook.order_placed(event=event)",
        keyed=False,
        # It looks at each attribute of a plugin, and through all plugins.
        most=100,
        wrap=_plugin,
    )


def _make() -> Any:
    pluggy = import_module("pluggy")

    class Hooks:
        @pluggy.HookspecMarker(PROJECT)
        def order_placed(self, event: object) -> None:
            """Tells of an order."""

    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    return manager


def _plugin(listener: Callable[[Any], Any]) -> Any:
    marked = import_module("pluggy").HookimplMarker(PROJECT)(listener)
    return type("Plugin", (), {"order_placed": staticmethod(marked)})()


PEER = Peer(
    name="pluggy",
    difference=(
        "Plugins in place of listeners, the last registered first. It checks each of them against a declared "
        "signature, wraps calls in others and returns what they returned; it is not async, has no numbers for "
        "priorities, and stops only for a hook whose first result is asked."
    ),
    dispatches={"sync": sync},
    store=store,
)
