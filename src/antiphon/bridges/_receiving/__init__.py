"""From the broker to a dispatch."""
