"""Commands run in this process, and so does the API that they talk to: its log must not be taken for their output."""

import sys
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True, scope="package")
def log_apart() -> Iterator[None]:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    yield
    structlog.reset_defaults()
