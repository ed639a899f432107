"""Webhooks by the Standard Webhooks 1.0.0 specification: signed, never redirected, never into private networks."""

import ipaddress
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field
from standardwebhooks import Webhook

from app.plugin_api import BillingDriver, Delivery, DeliveryResult, OutboxMessage, WebhookEndpoint, hookimpl

_BODY_MAX_BYTES = 20_000


class WebhookOptions(BaseModel):
    """`allow_private_targets`: also deliver to loopback and private addresses (a lab, a billing system in the rack)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    allow_private_targets: bool = False
    timeout_seconds: float = Field(20.0, gt=0, le=30)


class TargetRefused(Exception):
    """The URL leads where no delivery may go."""


class WebhookDelivery:
    """Delivers one message at a time."""

    def __init__(self, options: WebhookOptions) -> None:
        self._options = options

    def deliver(self, message: OutboxMessage, endpoint: WebhookEndpoint, at_unix: int) -> DeliveryResult:
        """One try. The address is resolved once, checked, and connected to: DNS cannot change its mind in between."""
        if len(message.body.encode()) > _BODY_MAX_BYTES:
            return DeliveryResult(False, f"the body is larger than {_BODY_MAX_BYTES} bytes", gone=False)
        try:
            address = self._checked_address(endpoint.url)
            answer = self._post(message, endpoint, address, at_unix)
        except TargetRefused as refused:
            return DeliveryResult(False, str(refused))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return DeliveryResult(False, f"{type(error).__name__}: {error}"[:500])
        if answer.is_success:
            return DeliveryResult(True)
        said = f"HTTP {answer.status_code}: {answer.text[:200]}"
        return DeliveryResult(False, said, _retry_after_seconds(answer, at_unix), gone=answer.status_code == 410)

    def _post(self, message: OutboxMessage, endpoint: WebhookEndpoint, address: str, at_unix: int) -> httpx.Response:
        url = httpx.URL(endpoint.url)
        at = datetime.fromtimestamp(at_unix, UTC)
        signature = Webhook(endpoint.secret).sign(message.webhook_id, at, message.body)
        headers = {
            "Host": url.netloc.decode("ascii"),
            "Content-Type": "application/json",
            "User-Agent": "holdfast-webhook/1",
            "webhook-id": message.webhook_id,
            "webhook-timestamp": str(at_unix),
            "webhook-signature": signature,
        }
        with httpx.Client(timeout=self._options.timeout_seconds, follow_redirects=False, trust_env=False) as client:
            return client.post(
                url.copy_with(host=address),
                content=message.body,
                headers=headers,
                # The certificate is the host's, whatever address was connected to.
                extensions={"sni_hostname": url.host},
            )

    def _checked_address(self, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TargetRefused("a webhook's URL must be http:// or https:// with a host")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        if not self._options.allow_private_targets:
            _refuse_private(parts.hostname, addresses)
        return addresses[0]


def _refuse_private(host: str, addresses: Sequence[str]) -> None:
    for text in addresses:
        address = ipaddress.ip_address(text.split("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        if not mapped.is_global or mapped.is_multicast:
            raise TargetRefused(
                f"{host} is {text}, which is not a public address; webhooks there need allow_private_targets"
            )


def _retry_after_seconds(answer: httpx.Response, at_unix: int) -> float | None:
    """RFC 9110, 10.2.3: seconds, or a date."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - at_unix)
    except ValueError:
        return None


def _open(options: WebhookOptions) -> Delivery:
    return WebhookDelivery(options)


@hookimpl
def holdfast_billing_driver() -> BillingDriver:
    """Offer `webhook`."""
    return BillingDriver("webhook", WebhookOptions, _open)
