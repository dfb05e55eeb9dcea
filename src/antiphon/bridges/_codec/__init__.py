"""The registry of the events that may cross, and their envelope."""
