"""What leaves a dispatch that is cancelled or interrupted, or whose listener leaks a cancellation."""
