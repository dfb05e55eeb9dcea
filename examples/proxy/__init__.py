"""A small HTTP/1.1 reverse proxy whose every transaction is told in events.

``python -m examples.proxy`` starts an upstream and the proxy, sends real requests, checks every response and prints
what happened.
"""
