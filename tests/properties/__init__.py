"""Properties: what holds for any scenario that registers, removes and dispatches, checked with hypothesis."""
