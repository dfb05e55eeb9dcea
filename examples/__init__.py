"""Example programs that use antiphon. Run them from the root of the repository."""
