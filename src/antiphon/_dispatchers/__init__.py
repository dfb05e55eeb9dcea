"""The dispatchers and their scopes: a key becomes a plan, and a strategy runs it.

It imports every layer below it. Only the public modules may import it.
"""
