"""Objects that receive events later or elsewhere: expectations, streams and queues.

It imports `_strategies` and the layers below it.
Dispatchers import it lazily.
"""
