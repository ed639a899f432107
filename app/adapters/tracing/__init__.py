"""Traces by OpenTelemetry, to whoever collects them."""
