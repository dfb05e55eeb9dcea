"""How a plan is run: sequentially, concurrently or as a race, with error policies and cancellation.

It imports `_registry` and everything below it.
Queues and dispatchers may import it.
"""
