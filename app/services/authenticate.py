"""Who asks: the bearer token of a request, by its hash, and the project that it may work in."""

import hashlib
from datetime import datetime

from app.domain.records import Project, Token
from app.ports.store import Transaction
from app.services.refusals import Forbidden, TokenReadonly, Unauthorized

READ, WRITE, ADMIN, METRICS = "read", "write", "admin", "metrics"
#: what a token may do: read or write in its project, everything of an operator, or read /metrics and no more
SCOPES = (READ, WRITE, ADMIN, METRICS)


def sha256_of(text: str) -> str:
    """What is stored of a token. A random text of 256 bits needs no salt and no slow hash."""
    return hashlib.sha256(text.encode()).hexdigest()


def authenticate(tx: Transaction, text: str, now: datetime, *, writes: bool) -> Token:
    """The token with that text. Unauthorized when it is unknown or expired, TokenReadonly when it may not write."""
    rows = tx.tokens.where(sha256=sha256_of(text))
    if not rows or (rows[0].expires is not None and rows[0].expires <= now):
        raise Unauthorized("the token is unknown, revoked or expired; ask for a new one")
    if writes and rows[0].scope in (READ, METRICS):
        raise TokenReadonly("this token may only read; use one with the scope `write`")
    return rows[0]


def require_operator(token: Token) -> None:
    """Forbidden for a customer's token."""
    if token.scope != ADMIN:
        raise Forbidden("this is for operators: use a token with the scope `admin`")


def require_scraper(token: Token) -> None:
    """Forbidden for a token that is not for /metrics."""
    if token.scope not in (METRICS, ADMIN):
        raise Forbidden("this is for Prometheus: use a token with the scope `metrics`")


def project_of(tx: Transaction, token: Token, wanted: str) -> Project:
    """The token's own project. An operator's token has none and works in the one that is `wanted`, by name or id.

    Forbidden when there is no such project, when none is named, or when a customer names another than the own one.
    """
    if token.scope == ADMIN:
        if not wanted:
            raise Forbidden("an operator's token has no project: name one in the header X-Holdfast-Project")
        found = _named(tx, wanted)
        if found is None:
            raise Forbidden(f"there is no project {wanted[:64]!r}; GET /admin/v1/projects lists them")
        return found
    if token.scope == METRICS:
        raise Forbidden("this token may read /metrics and no more")
    own = tx.projects.get(token.project_id) if token.project_id is not None else None
    if own is None:
        raise Forbidden("the project of this token is gone")
    if wanted not in ("", own.name, str(own.id)):
        raise Forbidden("this token is for another project")
    return own


def _named(tx: Transaction, wanted: str) -> Project | None:
    rows = tx.projects.where(name=wanted)
    if rows:
        return rows[0]
    return tx.projects.get(int(wanted)) if wanted.isascii() and wanted.isdecimal() and len(wanted) <= 9 else None
