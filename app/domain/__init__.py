"""The decisions of the product as functions of values: no clock, no I/O, no logging, no framework.

Read `events` (facts in) and `actions` (intents out) first, then `coordinator` and `node_agent`.
"""
