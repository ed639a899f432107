"""`/v1/actions`: what customers asked for and can follow."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse

from app.api.call import CustomerCall
from app.api.customer import shapes
from app.api.pages import PageWanted, Paging, Sort, parse_sort
from app.domain.errors import InvalidInput, NotFound
from app.domain.records import ActionStatus
from app.ports.store import Transaction

router = APIRouter(prefix="/v1/actions", tags=["actions"])
_FIELDS = ("id", "command", "status", "started", "finished")


def action_page(
    tx: Transaction,
    paging: Paging,
    project_id: int,
    ids: Sequence[int] | None,
    statuses: Sequence[str] | None,
    sort: Sequence[str] | None,
    **equals: object,
) -> JSONResponse:
    """The project's actions that match. Of several sort fields the first counts."""
    if unknown := [s for s in statuses or () if s not in tuple(ActionStatus)]:
        raise InvalidInput("status", f"{unknown[0][:50]!r} is not one of {', '.join(ActionStatus)}")
    if ids:
        equals["id"] = tuple(i for i in ids if 0 < i < 2**31)
    if statuses:
        equals["status"] = tuple(ActionStatus(s) for s in statuses)
    field, descending = parse_sort(sort, _FIELDS)[0]
    page = tx.actions.page(
        page=paging.page, per_page=paging.per_page, sort=field, descending=descending, project_id=project_id, **equals
    )
    return paging.answer("actions", [shapes.action(row) for row in page.rows], page.total)


def find_action(tx: Transaction, project_id: int, action_id: int, vm_id: int | None = None) -> JSONResponse:
    """One action. NotFound also for another project's."""
    row = tx.actions.get(action_id)
    if row is None or row.project_id != project_id or vm_id not in (None, row.vm_id):
        raise NotFound(f"action with ID '{action_id}' not found")
    return JSONResponse({"action": shapes.action(row)})


@router.get("")
def list_actions(
    call: CustomerCall,
    paging: PageWanted,
    id: Annotated[list[int] | None, Query()] = None,
    status: Annotated[list[str] | None, Query()] = None,
    sort: Sort = None,
) -> JSONResponse:
    """Those with the ids, or all of the project."""
    return call.read(lambda tx, caller: action_page(tx, paging, caller.project_id, id, status, sort))


@router.get("/{action_id}")
def get_action(call: CustomerCall, action_id: Annotated[int, Path(ge=1, le=2**53 - 1)]) -> JSONResponse:
    """One action."""
    return call.read(lambda tx, caller: find_action(tx, caller.project_id, action_id))
