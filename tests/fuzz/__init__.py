"""The oracle: random programs of listeners, run through antiphon and through a reference, and compared."""
