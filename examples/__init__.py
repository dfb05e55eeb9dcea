"""Programs that show antiphon at work; each is run from the root of the repository."""
