"""What receives events later or elsewhere: expectations, streams and queues.

It imports `_strategies` and everything below it.
Dispatchers import it lazily.
"""
