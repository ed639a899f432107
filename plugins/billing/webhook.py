"""Webhooks by the Standard Webhooks 1.0.0 specification: signed, never redirected, never into private networks."""

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field
from standardwebhooks import Webhook

from app.plugin_api import BillingDriver, Delivery, DeliveryResult, OutboxMessage, WebhookEndpoint, hookimpl

_BODY_MAX_BYTES = 20_000
_ANSWER_MAX_BYTES = 2_000
_ADDRESSES_MAX = 3
_ERROR_CHARACTERS_MAX = 500
#: answers that ask a sender to slow down, and how much when they do not say
_THROTTLING, _THROTTLE_SECONDS = frozenset({429, 502, 504}), 30.0
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class WebhookOptions(BaseModel):
    """`allow_private_targets`: also deliver to loopback and private addresses (a lab, a billing system in the rack).

    `timeout_seconds`: for one try as a whole, from the connection to the last byte.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    allow_private_targets: bool = False
    timeout_seconds: float = Field(20.0, gt=0, le=30)


class TargetRefused(Exception):
    """The URL leads where no delivery may go."""


class WebhookDelivery:
    """Delivers one message at a time; several threads may do so at once."""

    def __init__(self, options: WebhookOptions) -> None:
        self._options = options
        # The distribution's certificates, to which an operator can add his own.
        self._tls = ssl.create_default_context()

    def deliver(self, message: OutboxMessage, endpoint: WebhookEndpoint, at_unix: int) -> DeliveryResult:
        """One try. The address is resolved once, checked, and connected to: DNS cannot change its mind in between."""
        if len(message.body.encode()) > _BODY_MAX_BYTES:
            return DeliveryResult(False, f"the body is larger than {_BODY_MAX_BYTES} bytes")
        try:
            return self._deliver(message, endpoint, at_unix)
        except TargetRefused as refused:
            return DeliveryResult(False, str(refused))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RuntimeError) as error:
            return DeliveryResult(False, f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS_MAX])
        except Exception as error:  # noqa: BLE001
            # EmptyWebhookSecretError derives from Exception alone, and so may others of the library.
            return DeliveryResult(False, f"cannot be signed: {type(error).__name__}: {error}"[:_ERROR_CHARACTERS_MAX])

    def _deliver(self, message: OutboxMessage, endpoint: WebhookEndpoint, at_unix: int) -> DeliveryResult:
        addresses = self._checked_addresses(endpoint.url)
        headers = _headers(message, endpoint, at_unix)
        with _Deadline(self._options.timeout_seconds) as deadline:
            for address in addresses[:-1]:
                try:
                    return self._post(address, message.body, endpoint.url, headers, at_unix, deadline)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    continue
            return self._post(addresses[-1], message.body, endpoint.url, headers, at_unix, deadline)

    def _post(
        self, address: str, body: str, to: str, headers: Mapping[str, str], at_unix: int, deadline: "_Deadline"
    ) -> DeliveryResult:
        url = httpx.URL(to)
        # The certificate must be the host's, whatever address is connected to.
        extensions = {"sni_hostname": url.host, "trace": deadline.trace}
        client = httpx.Client(timeout=deadline.left_seconds(), verify=self._tls, trust_env=False)
        try:
            with (
                client,
                client.stream(
                    "POST", url.copy_with(host=address), content=body, headers=headers, extensions=extensions
                ) as answer,
            ):
                return _result(answer, at_unix)
        except httpx.HTTPError:
            if deadline.passed:
                seconds = self._options.timeout_seconds
                return DeliveryResult(False, f"no complete answer within {seconds:g} s")
            raise

    def _checked_addresses(self, url: str) -> Sequence[str]:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TargetRefused("a webhook's URL must be http:// or https:// with a host")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self._options.allow_private_targets:
            _refuse_private(parts.hostname, addresses)
        return addresses[:_ADDRESSES_MAX]


class _Deadline:
    """Ends a try as a whole: httpx limits each read, and a receiver that sends a byte now and then would never end."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self.passed = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def left_seconds(self) -> float:
        """At least a little: httpx reads 0 as "no wait at all"."""
        return max(0.01, self._until - time.monotonic())

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """httpx's `trace` extension: tells of the socket when it is connected, and again when TLS has wrapped it."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")

    def _end(self) -> None:
        self.passed = True
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it ended just now


def _headers(message: OutboxMessage, endpoint: WebhookEndpoint, at_unix: int) -> dict[str, str]:
    signature = Webhook(endpoint.secret).sign(message.webhook_id, datetime.fromtimestamp(at_unix, UTC), message.body)
    return {
        "Host": httpx.URL(endpoint.url).netloc.decode("ascii"),
        "Content-Type": "application/json",
        "User-Agent": "holdfast-webhook/1",
        "webhook-id": message.webhook_id,
        "webhook-timestamp": str(at_unix),
        "webhook-signature": signature,
    }


def _result(answer: httpx.Response, at_unix: int) -> DeliveryResult:
    """2xx is done; everything else is not, a redirect least of all."""
    if answer.is_success:
        return DeliveryResult(True)
    text = b""
    for chunk in answer.iter_raw():
        text += chunk
        if len(text) >= _ANSWER_MAX_BYTES:
            break
    said = f"HTTP {answer.status_code}: {text[:200].decode('utf-8', 'replace')}"
    wait = _retry_after_seconds(answer.headers.get("Retry-After", ""), at_unix)
    if wait is None and answer.status_code in _THROTTLING:
        wait = _THROTTLE_SECONDS
    return DeliveryResult(False, said, wait, gone=answer.status_code == 410)


def _retry_after_seconds(text: str, at_unix: int) -> float | None:
    """RFC 9110, 10.2.3: seconds, or a date. None for what is neither."""
    if text.isascii() and text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - at_unix)
    except (ValueError, OverflowError):
        return None


def _refuse_private(host: str, addresses: Sequence[str]) -> None:
    for text in addresses:
        address = ipaddress.ip_address(text.split("%")[0])
        if not all(one.is_global and not one.is_multicast for one in (address, *_inner(address))):
            raise TargetRefused(
                f"{host} is {text}, which is not a public address; webhooks there need allow_private_targets"
            )


def _inner(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Sequence[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    nat64 = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
    teredo = address.teredo[1] if address.teredo else None
    return [one for one in (address.ipv4_mapped, address.sixtofour, teredo, nat64) if one is not None]


def _open(options: WebhookOptions) -> Delivery:
    return WebhookDelivery(options)


@hookimpl
def holdfast_billing_driver() -> BillingDriver:
    """Offer `webhook`."""
    return BillingDriver("webhook", WebhookOptions, _open)
