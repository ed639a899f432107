"""One request, one transaction: who asks, may they, was it asked before, the work, the audit row, the kept answer."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import structlog
from fastapi import Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, ValidationError

from app.api.deps import ApiDeps
from app.api.errors import body_error, refusal_of
from app.domain.errors import DomainError
from app.domain.records import Project, Token
from app.ports.store import StoreUnavailable, Transaction
from app.services.authenticate import authenticate, project_of, require_operator
from app.services.load_view import current_settings
from app.services.record_audit import record_audit
from app.services.refusals import Unauthorized
from app.services.repeat_request import OPERATORS, answer_to, keep_answer, kept_answer
from app.services.stamp_request import stamped

log = structlog.get_logger(__name__)

T = TypeVar("T")
B = TypeVar("B", bound="Body")
_TOKEN_MAX = 512
#: who disarmed automation, since when and why, percent-encoded; absent while it is armed
DISARMED = "Holdfast-Disarmed"


class Body(BaseModel):
    """What a request sends: no unknown fields, and no type stands for another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NoBody(Body):
    """An empty object, or nothing at all."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `project` is None for operators in /admin."""

    token: Token
    project: Project | None

    @property
    def project_id(self) -> int:
        """Of a customer's request."""
        assert self.project is not None
        return self.project.id


@dataclass(frozen=True, slots=True)
class Done:
    """What a write came to. `secret`: parts of the body that only the first answer has. `look_at`: a VM to signal."""

    body: dict[str, Any] | None
    status: int = 200
    look_at: int | None = None
    look: bool = False
    secret: tuple[str, ...] = ()
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Outcome:
    status: int
    body: str
    done: Done | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Call:
    """One request of one room: `admin` or `customer`."""

    def __init__(self, request: Request, raw: bytes, *, admin: bool) -> None:
        self._request = request
        self._raw = raw
        self._admin = admin
        self._deps: ApiDeps = request.app.state.deps
        self._token_text = bearer(request)
        self._caller: Caller | None = None
        self.now = self._deps.clock.utc()

    @property
    def deps(self) -> ApiDeps:
        """What the API was built from."""
        return self._deps

    def read(self, work: Callable[[Transaction, Caller], T]) -> T:
        """Do `work` for a caller who may read."""

        def read(tx: Transaction) -> T:
            caller = self._let_in(tx, writes=False)
            answer = work(tx, caller)
            if isinstance(answer, Response):
                answer.headers.update(_disarmed(tx, caller))
            return answer

        return self._deps.store.run(read)

    def write(self, kind: type[B], work: Callable[[Transaction, Caller, B], Done]) -> Response:
        """Do `work` with the parsed body, once per idempotency key. A refusal is audited in its own transaction."""
        try:
            outcome = self._deps.store.run(lambda tx: self._once(tx, kind, work))
        except Exception as error:
            self._audit_refusal(error)
            raise
        if outcome.done is not None and outcome.done.look:
            self._signal(outcome.done.look_at)
        headers = {"Idempotency-Replayed": "true"} if outcome.done is None else dict(outcome.headers)
        if not outcome.body:
            return Response(status_code=outcome.status, headers=headers)
        return Response(outcome.body, outcome.status, headers, media_type="application/json")

    def _once(self, tx: Transaction, kind: type[B], work: Callable[[Transaction, Caller, B], Done]) -> _Outcome:
        caller = self._let_in(tx, writes=True)
        key = self._request.headers.get("Idempotency-Key") if self._request.method == "POST" else None
        owner = caller.project.id if caller.project else OPERATORS
        if key is not None:
            kept = kept_answer(tx, owner, key, self._sha256())
            if kept is not None:
                return _Outcome(kept.status_code, kept.body)
        done = work(stamped(tx, self._request.state.correlation_id), caller, self._parse(kind))
        if key is not None:
            # The texts of tokens and secrets are stored nowhere, so not here either: a repeat gets null.
            shown = {**(done.body or {}), **dict.fromkeys(done.secret)}
            keep_answer(tx, answer_to(owner, key, self._sha256(), done.status, json.dumps(shown), self.now))
        self._audit(tx, caller, done.status, done.details)
        text = "" if done.body is None else json.dumps(done.body)
        return _Outcome(done.status, text, done, tuple(_disarmed(tx, caller).items()))

    def _let_in(self, tx: Transaction, *, writes: bool) -> Caller:
        token = authenticate(tx, self._token_text, self.now, writes=writes)
        self._caller = Caller(token, None)
        if self._admin:
            require_operator(token)
        else:
            wanted = self._request.headers.get("X-Holdfast-Project", "")
            self._caller = Caller(token, project_of(tx, token, wanted))
        return self._caller

    def _parse(self, kind: type[B]) -> B:
        raw = self._raw
        if issubclass(kind, NoBody) and not raw.strip():
            raw = b"{}"
        try:
            return kind.model_validate_json(raw)
        except ValidationError as error:
            raise body_error(error) from error

    def _sha256(self) -> str:
        url = self._request.url
        head = f"{self._request.method} {url.path}?{url.query}\n".encode()
        return hashlib.sha256(head + self._raw).hexdigest()

    def _audit(self, tx: Transaction, caller: Caller, status: int, details: dict[str, str]) -> None:
        url = self._request.url
        path = f"{url.path}?{url.query}" if url.query else url.path
        record_audit(
            tx,
            caller.token,
            caller.project.id if caller.project else None,
            (self._request.method, path),
            status,
            self._request.state.correlation_id,
            details,
            self.now,
        )

    def _audit_refusal(self, error: Exception) -> None:
        """Who has no token asks for nothing that could be written down here: the log has it."""
        caller, refusal = self._caller, refusal_of(error, operator=True)
        if caller is None or isinstance(error, StoreUnavailable):
            return
        status = refusal.status if refusal else 500
        details = {"code": refusal.code, "message": refusal.message[:1000]} if refusal else {"code": "server_error"}
        try:
            self._deps.store.run(lambda tx: self._audit(tx, caller, status, details))
        except (StoreUnavailable, DomainError) as failed:
            log.warning("a refused write could not be audited", error=str(failed), status=status)

    def _signal(self, vm_id: int | None) -> None:
        try:
            self._deps.signal(vm_id)
        except Exception as error:  # noqa: BLE001
            log.warning("the agents were not told, they find it at their next sweep", error=str(error))


def _disarmed(tx: Transaction, caller: Caller) -> dict[str, str]:
    """Every answer to an operator says so while automation is disarmed, in a header: nobody may overlook it."""
    if caller.token.scope != "admin":
        return {}
    settings = current_settings(tx)
    if settings.armed:
        return {}
    since = f"{settings.disarmed_at:%F %T} UTC" if settings.disarmed_at else "an unknown time"
    return {DISARMED: quote(f"by {settings.disarmed_by} since {since}: {settings.disarmed_reason}")}


def bearer(request: Request) -> str:
    """The text of the token. Unauthorized without one."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not 0 < len(text.strip()) <= _TOKEN_MAX:
        raise Unauthorized("send a token in the header `Authorization: Bearer TOKEN`")
    return text.strip()


async def _customer(request: Request) -> Call:
    return Call(request, await request.body(), admin=False)


async def _operator(request: Request) -> Call:
    return Call(request, await request.body(), admin=True)


CustomerCall = Annotated[Call, Depends(_customer)]
OperatorCall = Annotated[Call, Depends(_operator)]


def body_schema(kind: type[Body]) -> dict[str, Any]:
    """For the description of the API: bodies are parsed in the transaction, where FastAPI does not see them."""
    schema = kind.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
