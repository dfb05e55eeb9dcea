"""Long runs: threads, memory, and calls with wrong arguments."""
