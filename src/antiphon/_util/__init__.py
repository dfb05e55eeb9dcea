"""Helpers that know nothing of events: callables, names, argument checks, the loop that owns an object.

It imports nothing else of antiphon.
Every layer may import it.
"""
