"""The checks of the table of guarantees, by section; ``tests/test_guarantees.py`` runs them."""
