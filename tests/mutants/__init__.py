"""Mutation testing: small changes of the core, each of which should make a test fail."""
