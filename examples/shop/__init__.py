"""A small shop, at which "Seeing what your events do" in the docs looks."""
