"""`/admin/v1/fence-devices`: how the fence devices answered when they were last read, by each node that checks them."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from app.api.admin import shapes
from app.api.call import Caller, OperatorCall
from app.api.pages import PageWanted, Sort, parse_sort
from app.ports.store import Transaction

router = APIRouter(prefix="/admin/v1/fence-devices", tags=["nodes"])


@router.get("")
def list_fence_devices(
    call: OperatorCall, paging: PageWanted, node: str = "", works: bool | None = None, sort: Sort = None
) -> JSONResponse:
    """By node. `works=false`: those that could not be read."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        equals: dict[str, object] = {k: v for k, v in (("node", node or None), ("works", works)) if v is not None}
        field, descending = parse_sort(sort, ("node", "checked_at", "since", "id"), "node:asc")[0]
        page = tx.fence_checks.page(
            page=paging.page, per_page=paging.per_page, sort=field, descending=descending, **equals
        )
        return paging.answer("fence_devices", [shapes.plain(c) for c in page.rows], page.total)

    return call.read(work)
