"""Helpers that do not depend on events: callables, names, argument checks, lazy imports, owner loops.

It imports nothing else of antiphon.
Every layer may import it.
"""
