"""Making, growing, checking and saving a cluster: what an operator does once, and what must be repeatable."""
