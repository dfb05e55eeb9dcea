"""A small HTTP/1.1 reverse proxy that dispatches events for each transaction.

``python -m examples.proxy`` starts an upstream and the proxy, sends real requests, checks every response and prints a
report.
"""
