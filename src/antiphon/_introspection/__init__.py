"""Descriptions of a dispatcher, and of the locations where its listeners are defined.

Invariants:

- This package imports from `_registry.keys`, `_listeners`, `_events` and `_util` only.
- Dispatchers import it on the first call of ``describe()``, to keep ``import antiphon`` fast.
"""
