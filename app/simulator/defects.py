"""An error that our own code did not expect. The engine logs it and counts it as a failure; here it is a violation."""

import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.typing import WrappedLogger


@contextmanager
def told_defects(tell: Callable[[str], None]) -> Iterator[None]:
    """While this lasts the agents of this process log nothing, and what they log as unexpected is told."""

    def hear(_logger: WrappedLogger, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if entry["event"] == "unexpected failure":
            error = sys.exc_info()[1]
            about = ", ".join(f"{k} {v}" for k, v in entry.items() if k not in ("event", "exc_info"))
            tell(f"a defect ({about}): {type(error).__name__}: {error}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[hear])
    try:
        yield
    finally:
        structlog.configure(**before)
