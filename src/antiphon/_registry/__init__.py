"""The subscriptions of a dispatcher by key, and the immutable plans that are cached from them.

It imports `_instrumentation`, `_listeners`, `_events` and `_util`.
Strategies and dispatchers may import it.
"""
