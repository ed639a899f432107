"""An operator says where events are delivered."""

import base64
import re
import secrets
from dataclasses import replace
from urllib.parse import urlsplit

from app.domain.errors import InvalidInput, NotFound
from app.domain.records import WebhookEndpoint
from app.ports.store import Transaction
from app.services.emit_event import KINDS

URL_MAX = 2000
#: one plain address: no list, no headers, nothing that a mail program would take apart
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$&'*+/=^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


def add_endpoint(tx: Transaction, endpoint: WebhookEndpoint) -> WebhookEndpoint:
    """With a new secret (Standard Webhooks 1.0.0: whsec_ and 24 to 64 random bytes in base64). InvalidInput."""
    _check(tx, endpoint)
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    return tx.endpoints.add(replace(endpoint, secret=secret))


def change_endpoint(tx: Transaction, endpoint: WebhookEndpoint) -> WebhookEndpoint:
    """All but the secret. NotFound, InvalidInput."""
    old = find_endpoint(tx, endpoint.id)
    _check(tx, endpoint)
    new = replace(endpoint, secret=old.secret)
    tx.endpoints.save(new)
    return new


def remove_endpoint(tx: Transaction, endpoint_id: int) -> None:
    """What was not delivered to it yet never will be. NotFound."""
    find_endpoint(tx, endpoint_id)
    tx.endpoints.remove(endpoint_id)


def find_endpoint(tx: Transaction, endpoint_id: int) -> WebhookEndpoint:
    """NotFound."""
    endpoint = tx.endpoints.get(endpoint_id)
    if endpoint is None:
        raise NotFound(f"there is no webhook {endpoint_id}")
    return endpoint


def _check(tx: Transaction, endpoint: WebhookEndpoint) -> None:
    """Whether the target may be reached (private ranges) is decided when it is delivered to: names can change."""
    if unknown := sorted(set(endpoint.events) - set(KINDS)):
        raise InvalidInput("events", f"there are no events {', '.join(unknown)}; there are {', '.join(KINDS)}")
    if endpoint.project_id is not None and tx.projects.get(endpoint.project_id) is None:
        raise InvalidInput("project", f"there is no project with the id {endpoint.project_id}")
    url = endpoint.url
    if not _usable(url) or len(url) > URL_MAX or not url.isprintable() or " " in url:
        web = f"an http or https URL of at most {URL_MAX} characters, without a password"
        raise InvalidInput("url", f"must be {web}, or mailto: and one address")


def _usable(text: str) -> bool:
    if text.startswith("mailto:"):
        return _ADDRESS.fullmatch(text.removeprefix("mailto:")) is not None
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and not url.username
    except ValueError:
        return False
