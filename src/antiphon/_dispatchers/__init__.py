"""The dispatchers and their scopes: a key becomes a plan, and a strategy runs it.

It imports every layer below it. In the docstrings, "(whistle)" marks what has the name and the meaning of whistle.
Only the public modules may import it.
"""
