"""The event class, the attributes that a dispatch sets, and which of them an object can carry.

It imports `_util`.
Every layer above may import it.
"""
