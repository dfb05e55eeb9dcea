"""The records that instruments receive, and the instruments that were added to a dispatcher.

It imports `_listeners` and `_util`.
The registry, the strategies and the dispatchers may import it.
"""
