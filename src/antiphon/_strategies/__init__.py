"""Strategies that run a plan sequentially, concurrently or as a race, with error policies and cancellation.

It imports `_registry` and the layers below it.
Queues and dispatchers may import it.
"""
