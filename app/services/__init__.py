"""One verb per file: one request, one transaction. Functions of a `Transaction` and values; no clock, no I/O."""
