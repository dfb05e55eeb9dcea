"""What a bridge costs beside the clients of Redis that you would use yourself.

``candidates.py`` contains the programs, ``__main__.py`` lets them take turns and prints the ratios.
"""
