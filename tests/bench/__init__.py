"""Benchmarks: each module here has `run() -> dict[str, float]`, figures with their units in the names."""
