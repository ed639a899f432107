"""Take a token away."""

from datetime import datetime

from app.domain.errors import Conflict, NotFound
from app.ports.store import Transaction


def revoke_token(tx: Transaction, token_id: int, now: datetime) -> None:
    """From now on it is unknown. NotFound; Conflict for the last operator's token that works: nobody could come in."""
    token = tx.tokens.get(token_id)
    if token is None:
        raise NotFound(f"there is no token {token_id}")
    if token.scope == "admin":
        others = [t for t in tx.tokens.where(scope="admin") if t.id != token.id]
        if not any(t.expires is None or t.expires > now for t in others):
            raise Conflict("this is the last operator's token; make another one first")
    tx.tokens.remove(token_id)
