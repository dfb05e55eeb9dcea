"""A small shop, which the docs page "Inspect your events" describes."""
