"""The protocols of a broker, and the broker in memory."""
