"""Two programs that exchange events through a Redis server, and what is left when one of them is killed."""
