"""Properties: what holds for any program that registers, removes and dispatches, checked with hypothesis."""
