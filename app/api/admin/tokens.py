"""`/admin/v1/tokens`."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response
from pydantic import AwareDatetime

from app.api.admin import shapes
from app.api.call import Body, Caller, Done, NoBody, OperatorCall, body_schema
from app.api.customer.bodies import IdOrName, Text
from app.api.pages import PageWanted
from app.domain.errors import InvalidInput
from app.ports.store import Transaction
from app.services.issue_token import issue_token
from app.services.revoke_token import revoke_token

router = APIRouter(prefix="/admin/v1/tokens", tags=["tokens"])


class CreateToken(Body):
    """POST /admin/v1/tokens. `project` by id or name, for the scopes read and write; `expires` with its time zone."""

    name: Text
    scope: str
    project: IdOrName | None = None
    expires: AwareDatetime | None = None


@router.get("")
def list_tokens(call: OperatorCall, paging: PageWanted) -> JSONResponse:
    """All tokens; their texts are stored nowhere."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        page = tx.tokens.page(page=paging.page, per_page=paging.per_page)
        return paging.answer("tokens", [shapes.token(t) for t in page.rows], page.total)

    return call.read(work)


@router.post("", status_code=201, openapi_extra=body_schema(CreateToken))
def create_token(call: OperatorCall) -> Response:
    """Make a token. Its text is in this answer only; a repeat with the same key gets null for it."""

    def work(tx: Transaction, _: Caller, body: CreateToken) -> Done:
        project_id = project_named(tx, body.project)
        expires: datetime | None = body.expires
        token, text = issue_token(tx, body.name, body.scope, project_id, expires, call.now)
        answer = {"token": shapes.token(token), "text": text}
        return Done(answer, 201, secret=("text",), details={"token": str(token.id), "scope": token.scope})

    return call.write(CreateToken, work)


def project_named(tx: Transaction, wanted: int | str | None) -> int | None:
    """The id of a project that is named by id or name. InvalidInput if there is none."""
    if wanted is None:
        return None
    found = tx.projects.where(id=wanted) if isinstance(wanted, int) else tx.projects.where(name=wanted)
    if not found:
        raise InvalidInput("project", f"there is no project {wanted!r}; GET /admin/v1/projects lists them")
    return found[0].id


@router.delete("/{token_id}", status_code=204)
def delete_token(call: OperatorCall, token_id: Annotated[int, Path(ge=1, le=2**53 - 1)]) -> Response:
    """Take a token away: from now on it is unknown."""

    def work(tx: Transaction, _: Caller, __: NoBody) -> Done:
        revoke_token(tx, token_id, call.now)
        return Done(None, 204, details={"token": str(token_id)})

    return call.write(NoBody, work)
