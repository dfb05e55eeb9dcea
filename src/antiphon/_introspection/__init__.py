"""Descriptions of a dispatcher and of where its listeners are defined, loaded on first use.

It imports `_registry.keys`, `_listeners`, `_events` and `_util`.
Dispatchers import it lazily; diagrams and the command line may import it.
"""
