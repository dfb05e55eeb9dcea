"""The event class, the attributes that a dispatch sets, and which of them can be set on an object.

It imports no other package of antiphon.
Every layer above may import it.
"""
