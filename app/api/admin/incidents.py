"""`/admin/v1/incidents`."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse

from app.api.admin import shapes
from app.api.call import Caller, OperatorCall
from app.api.pages import PageWanted, Sort, parse_sort
from app.domain.cluster import IncidentPhase
from app.domain.errors import InvalidInput, NotFound
from app.ports.store import Transaction

router = APIRouter(prefix="/admin/v1/incidents", tags=["incidents"])


@router.get("")
def list_incidents(
    call: OperatorCall, paging: PageWanted, node: str = "", phase: str = "", sort: Sort = None
) -> JSONResponse:
    """The newest first. Their steps are in each one alone."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        equals: dict[str, object] = {"node": node} if node else {}
        if phase:
            equals["phase"] = _phase(phase)
        field, descending = parse_sort(sort, ("id", "node", "opened_at", "closed_at"), "id:desc")[0]
        page = tx.incidents.page(
            page=paging.page, per_page=paging.per_page, sort=field, descending=descending, **equals
        )
        return paging.answer("incidents", [shapes.incident(i, whole=False) for i in page.rows], page.total)

    return call.read(work)


def _phase(text: str) -> IncidentPhase:
    try:
        return IncidentPhase(text)
    except ValueError as error:
        raise InvalidInput("phase", f"{text[:50]!r} is not one of {', '.join(IncidentPhase)}") from error


@router.get("/{incident_id}")
def get_incident(call: OperatorCall, incident_id: Annotated[int, Path(ge=1, le=2**53 - 1)]) -> JSONResponse:
    """One incident with the time of each step."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        found = tx.incidents.get(incident_id)
        if found is None:
            raise NotFound(f"there is no incident {incident_id}")
        return JSONResponse({"incident": shapes.incident(found, whole=True)})

    return call.read(work)
