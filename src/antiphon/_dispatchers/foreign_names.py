"""The names that other libraries, and the other dispatcher, give to methods, for errors of missing attributes.

Loaded on first use: most programs read only attributes that exist.
"""

from __future__ import annotations

from typing import Final

__all__ = ("find_fix",)

#: What to write instead of a method. ``dispatch`` and ``post`` depend on the dispatcher.
_FIXES: Final = {
    **dict.fromkeys(("emit", "fire", "send", "send_robust", "publish", "trigger", "notify"), "dispatch"),
    **dict.fromkeys(("post", "enqueue", "put"), "post"),
    **dict.fromkeys(
        ("on", "connect", "subscribe", "bind", "register", "add_handler", "add_event_listener"),
        "@dispatcher.listen(key) above the listener",
    ),
    **dict.fromkeys(
        ("off", "disconnect", "unsubscribe", "unbind", "unregister"), "dispatcher.remove_listener(key, listener)"
    ),
    **dict.fromkeys(("remove_all_listeners", "clear_listeners"), "dispatcher.clear()"),
    **dict.fromkeys(("listeners", "receivers", "receivers_for"), "dispatcher.get_listeners()"),
    **dict.fromkeys(("has_receivers_for", "has_listener"), "dispatcher.has_listeners(name)"),
    **dict.fromkeys(("add_event_subscriber", "register_subscriber"), "dispatcher.add_subscriber(subscriber)"),
    "once": "@dispatcher.listen(key, once=True) above the listener",
}

#: The methods of an `AsyncEventDispatcher` that an `EventDispatcher` does not have.
_ASYNC_METHODS: Final = frozenset(("expect", "queue", "stream", "wait_for"))


def find_fix(attribute: str, dispatch: str) -> str | None:
    """Return what to write instead of a method of another library or dispatcher. None for any other name.

    Args:
        attribute: The name of the method.
        dispatch: The name of the method of the dispatcher that dispatches.
    """
    if dispatch == "dispatch" and attribute in _ASYNC_METHODS:
        return f"{attribute}() needs an event loop, so create an AsyncEventDispatcher"
    fix = _FIXES.get(attribute)
    call = f"to dispatch an event, write {'await ' * (dispatch == 'adispatch')}dispatcher.{dispatch}(name, event)"
    if fix is None:
        return None
    if fix == "dispatch" or (fix == "post" and dispatch == "dispatch"):
        return call
    if fix == "post":
        return (
            f"{call}; to dispatch it later, write `async with dispatcher.queue() as queue:` and "
            f"`await queue.post(name, event)`"
        )
    return f"write {fix}"
