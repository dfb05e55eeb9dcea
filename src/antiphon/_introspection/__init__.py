"""Descriptions of a dispatcher, and of the locations where its listeners are defined.

It imports `_registry.keys`, `_listeners`, `_events` and `_util`.
Dispatchers import it lazily. Diagrams and the command line may import it.
"""
