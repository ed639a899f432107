"""Which plugin delivers to an endpoint: that of its URL's scheme."""

from collections.abc import Mapping

from app.domain.records import OutboxMessage, WebhookEndpoint
from app.ports.billing import Delivery, DeliveryResult


class ByScheme:
    """`deliveries`: scheme, as in `https`, -> who delivers there."""

    def __init__(self, deliveries: Mapping[str, Delivery]) -> None:
        self._deliveries = dict(deliveries)

    def deliver(self, message: OutboxMessage, endpoint: WebhookEndpoint, at_unix: int) -> DeliveryResult:
        """One try by the plugin of the scheme. An endpoint for which there is none is tried again, like any other."""
        scheme = endpoint.url.partition(":")[0].lower()
        delivery = self._deliveries.get(scheme)
        if delivery is None:
            there = ", ".join(sorted(self._deliveries))
            needs = "; mail needs [notify.mail] in holdfast.toml, on every node" if scheme == "mailto" else ""
            return DeliveryResult(False, f"nothing delivers to {scheme}: on this node, only to {there}{needs}")
        return delivery.deliver(message, endpoint, at_unix)
