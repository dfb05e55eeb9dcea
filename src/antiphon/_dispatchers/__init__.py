"""The dispatchers and their scopes: a key becomes a plan, and a strategy runs it.

It imports every other private package.
Only the public modules may import it.
"""
