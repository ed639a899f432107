"""One effect per request: the answer to an idempotency key is kept in the transaction of the effect."""

from datetime import datetime

from app.domain.errors import IdempotencyMismatch, InvalidInput
from app.domain.records import IdempotencyRecord
from app.ports.store import Transaction

KEY_MAX = 255
#: requests of operators belong to no project; projects are numbered from 1
OPERATORS = 0


def kept_answer(tx: Transaction, project_id: int, key: str, request_sha256: str) -> IdempotencyRecord | None:
    """The answer that this request was given before. IdempotencyMismatch when the key came with another request."""
    if not 0 < len(key) <= KEY_MAX or not key.isascii() or not key.isprintable():
        raise InvalidInput("Idempotency-Key", f"must be 1 to {KEY_MAX} printable ASCII characters")
    found = tx.idempotency.where(project_id=project_id, key=key)
    if not found:
        return None
    if found[0].request_sha256 != request_sha256:
        raise IdempotencyMismatch("this Idempotency-Key was used for another request; take a new one")
    return found[0]


def keep_answer(tx: Transaction, answer: IdempotencyRecord) -> None:
    """Two at once: the unique key lets one commit, and the other's transaction runs again and finds the answer."""
    tx.idempotency.add(answer)


def answer_to(
    project_id: int, key: str, request_sha256: str, status_code: int, body: str, now: datetime
) -> IdempotencyRecord:
    """The record to keep."""
    return IdempotencyRecord(0, project_id, key, request_sha256, status_code, body, now)
