"""What is left of a dispatch that is cancelled, interrupted, or let down by a listener."""
