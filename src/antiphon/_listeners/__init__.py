"""Subscriptions, their options and limits, and the adapters for plain functions.

It imports `_events` and `_util`.
Every layer above may import it.
"""
