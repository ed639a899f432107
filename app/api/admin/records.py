"""`/admin/v1/events` and `/admin/v1/audit`: what happened, and who asked for what."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from app.api.admin import shapes
from app.api.call import Caller, OperatorCall
from app.api.pages import PageWanted, Sort, parse_sort
from app.ports.store import Transaction

router = APIRouter(prefix="/admin/v1", tags=["records"])
_RowId = Annotated[int | None, Query(ge=1, le=2**31 - 1)]


@router.get("/events")
def list_events(
    call: OperatorCall,
    paging: PageWanted,
    kind: str = "",
    node: str = "",
    vm_id: _RowId = None,
    sort: Sort = None,
) -> JSONResponse:
    """The newest first."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        equals: dict[str, object] = {k: v for k, v in (("kind", kind), ("node", node), ("vm_id", vm_id)) if v}
        field, descending = parse_sort(sort, ("id", "at"), "id:desc")[0]
        page = tx.events.page(page=paging.page, per_page=paging.per_page, sort=field, descending=descending, **equals)
        return paging.answer("events", [shapes.plain(e) for e in page.rows], page.total)

    return call.read(work)


@router.get("/audit")
def list_audit(
    call: OperatorCall,
    paging: PageWanted,
    project_id: _RowId = None,
    token_id: _RowId = None,
    correlation_id: Annotated[str, Query(max_length=64)] = "",
    sort: Sort = None,
) -> JSONResponse:
    """Every write that a known token asked for, the refused ones too; the newest first."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        equals: dict[str, object] = {
            "project_id": project_id, "token_id": token_id, "correlation_id": correlation_id,
        }  # fmt: skip
        equals = {k: v for k, v in equals.items() if v}
        field, descending = parse_sort(sort, ("id", "at"), "id:desc")[0]
        page = tx.audit.page(page=paging.page, per_page=paging.per_page, sort=field, descending=descending, **equals)
        return paging.answer("audit", [shapes.plain(a) for a in page.rows], page.total)

    return call.read(work)
