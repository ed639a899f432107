"""Telling the outside what happened."""

from dataclasses import dataclass
from typing import Protocol

from app.domain.records import OutboxMessage, WebhookEndpoint


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What came of one delivery. `retry_after_seconds` as the receiver asked, `gone`: never send there again."""

    delivered: bool
    error: str = ""
    retry_after_seconds: float | None = None
    gone: bool = False


class Delivery(Protocol):
    """A billing plugin that can deliver an event."""

    def deliver(self, message: OutboxMessage, endpoint: WebhookEndpoint, at_unix: int) -> DeliveryResult:
        """One try, signed for that moment. Never raises for what the network does."""
