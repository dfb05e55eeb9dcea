"""What is dispatched, what it shows, and what may happen meanwhile (rules 7 to 12)."""
