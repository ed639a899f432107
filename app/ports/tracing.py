"""Traces: what one request set off, span by span, over all processes and nodes."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Attributes = Mapping[str, str | int]


class Span(Protocol):
    """One piece of work that is under way."""

    def tell(self, name: str, attributes: Attributes) -> None:
        """What is known only at its end: what it is called, and more about it."""

    def failed(self, why: str) -> None:
        """It ended badly."""


class Tracer(Protocol):
    """Never blocks and never raises: what cannot be delivered is dropped."""

    def span(
        self, name: str, correlation_id: str, attributes: Attributes, *, caller: str = ""
    ) -> AbstractContextManager[Span]:
        """A span that lasts as long as the context. Those of one correlation id are in one trace.

        `caller`: the span of whoever asked, as its W3C `traceparent` (https://www.w3.org/TR/trace-context/) has it.
        """


class ClosableTracer(Tracer, Protocol):
    """Of whoever made it."""

    def close(self) -> None:
        """At the end of the process: what is left is sent, if that is quick."""


class _NoSpan:
    def tell(self, *_: object) -> None:
        """Nobody listens."""

    def failed(self, *_: object) -> None:
        """Nobody listens."""


class _NoTracing:
    def span(self, *_: object, **__: object) -> AbstractContextManager[Span]:
        """A span that goes nowhere."""
        return _NOWHERE

    def close(self) -> None:
        """There is nothing left."""


_NOWHERE: AbstractContextManager[Span] = nullcontext(_NoSpan())
#: the port where no collector is configured
NO_TRACING: ClosableTracer = _NoTracing()
