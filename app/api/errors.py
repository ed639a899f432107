"""Refusals in the shape that customers' tools read: {"error": {"code", "message", "details"}}.

Status and code are those of the contract's table of error codes. Tools repeat a request by themselves on `conflict`, so
that code is only for what another try can cure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from app.domain import errors as e
from app.ports.store import StoreUnavailable
from app.services import refusals as r

RETRY_SECONDS = "2"

#: the first of an error's classes that is in here decides
_BY_CLASS: dict[type[Exception], tuple[int, str]] = {
    r.Unauthorized: (401, "unauthorized"),
    r.TokenReadonly: (401, "token_readonly"),
    r.Forbidden: (403, "forbidden"),
    r.NotAdmitted: (403, "forbidden"),
    e.QuotaExceeded: (403, "resource_limit_exceeded"),
    e.NotFound: (404, "not_found"),
    e.NameTaken: (409, "uniqueness_error"),
    r.WrongState: (422, "unsupported_error"),
    e.Conflict: (409, "conflict"),
    e.NoCapacity: (412, "resource_unavailable"),
    e.InvalidInput: (422, "invalid_input"),
    e.IdempotencyMismatch: (422, "invalid_input"),
    e.Locked: (423, "locked"),
    e.DomainError: (422, "service_error"),
    StoreUnavailable: (503, "unavailable"),
}
_BY_STATUS = {400: "json_error", 404: "not_found", 405: "method_not_allowed", 413: "invalid_input"}
KEPT_FREE = (
    "there is no room for a server of this type at the moment: what is left is kept free, so that the servers of this "
    "cloud survive failures; try a smaller type, or again later"
)
NO_ROOM = "there is no room for a server of this type at the moment; try a smaller type, or again later"


class BrokenJson(Exception):
    """The body is not JSON."""


class BadBody(Exception):
    """The body is JSON, but not what is wanted. `fields`: name -> what is wrong with it."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        super().__init__("; ".join(f"{name}: {', '.join(said)}" for name, said in fields.items()))
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that says no."""

    status: int
    code: str
    message: str
    details: dict[str, Any] | None = None

    def response(self) -> JSONResponse:
        """With the headers that belong to the status."""
        headers = {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.status in (429, 503) or self.code == "conflict":
            headers["Retry-After"] = RETRY_SECONDS
        error = {"code": self.code, "message": self.message, "details": self.details}
        return JSONResponse({"error": error}, self.status, headers)


def refusal_of(error: Exception, *, operator: bool = False) -> Refusal | None:
    """What to answer; None for a defect. A customer is not told the names and loads of nodes."""
    if isinstance(error, BrokenJson):
        return Refusal(400, "json_error", str(error))
    if isinstance(error, BadBody):
        return _invalid(error.fields)
    if isinstance(error, e.InvalidInput):
        return _invalid({error.field: [str(error)]})
    if isinstance(error, e.IdempotencyMismatch):
        return _invalid({"Idempotency-Key": [str(error)]})
    found = next((_BY_CLASS[c] for c in type(error).__mro__ if c in _BY_CLASS), None)
    if found is None:
        return None
    status, code = found
    if isinstance(error, StoreUnavailable):
        return Refusal(status, code, "the database does not answer; try again in a moment")
    if isinstance(error, e.NoCapacity) and not operator:
        return Refusal(status, code, KEPT_FREE if isinstance(error, e.GuaranteeBroken) else NO_ROOM)
    details: dict[str, Any] | None = None
    if isinstance(error, e.NameTaken):
        details = {"fields": [{"name": "name"}]}
    if isinstance(error, e.QuotaExceeded):
        details = {"limits": [{"name": "server_limit"}]}
    return Refusal(status, code, str(error), details)


def _invalid(fields: dict[str, list[str]]) -> Refusal:
    said = "; ".join(f"invalid input in field '{name}': {', '.join(messages)}" for name, messages in fields.items())
    details = {"fields": [{"name": name, "messages": messages} for name, messages in fields.items()]}
    return Refusal(422, "invalid_input", said, details)


def fields_of(errors: Sequence[Any], *, skip: int = 0) -> dict[str, list[str]]:
    """pydantic's errors by field; `skip` leaves out the first parts of each place ("body", "query")."""
    fields: dict[str, list[str]] = {}
    for error in errors:
        place = [str(part) for part in error["loc"][skip:]]
        message = "is not a known field" if error["type"] == "extra_forbidden" else _lower(error["msg"])
        if error["type"] == "missing":
            message = "is missing"
        said = fields.setdefault(place[0] if place else "body", [])
        where = ".".join(place[1:])
        text = f"{where}: {message}" if where else message
        if text not in said:
            said.append(text)
    return fields


def _lower(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def body_error(error: ValidationError) -> BrokenJson | BadBody:
    """What pydantic found in a body."""
    first = error.errors(include_url=False, include_context=False, include_input=False)
    if first[0]["type"] == "json_invalid":
        return BrokenJson(f"the body is not valid JSON: {first[0]['msg'].removeprefix('Invalid JSON: ')}")
    return BadBody(fields_of(first))


def add_error_handlers(api: FastAPI) -> None:
    """Every refusal leaves in the same shape; a defect is the middleware's to catch."""

    async def on_request_validation(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        errors = error.errors()
        if any(one["loc"][0] == "path" for one in errors):
            return Refusal(404, "not_found", "there is nothing with this id").response()
        return _invalid(fields_of(errors, skip=1)).response()

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = _BY_STATUS.get(error.status_code, "service_error")
        message = f"{request.method} {request.url.path}: {str(error.detail).lower()}"
        answer = Refusal(error.status_code, code, message).response()
        answer.headers.update(error.headers or {})
        return answer

    async def on_refusal(request: Request, error: Exception) -> JSONResponse:
        refusal = refusal_of(error, operator=request.url.path.startswith("/admin/"))
        assert refusal is not None
        return refusal.response()

    api.add_exception_handler(RequestValidationError, on_request_validation)
    api.add_exception_handler(HTTPException, on_http)
    for kind in (e.DomainError, StoreUnavailable, BrokenJson, BadBody):
        api.add_exception_handler(kind, on_refusal)
