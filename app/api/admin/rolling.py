"""Rolling reboots: `/admin/v1/rolling/plan`, `/admin/v1/rolling`, `/admin/v1/rolling/stop`."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from app.api.admin import shapes
from app.api.call import Body, Caller, Done, NoBody, OperatorCall, body_schema
from app.api.pages import PageWanted
from app.domain.rolling import RollingPlan
from app.domain.rolling_steps import standing
from app.ports.store import Transaction
from app.services.load_view import current_run, load_view
from app.services.start_rolling import ask_rolling, start_rolling
from app.services.stop_rolling import stop_rolling

router = APIRouter(prefix="/admin/v1/rolling", tags=["maintenance"])
NodeName = Annotated[str, Field(min_length=1, max_length=255)]


class StartRolling(Body):
    """POST /admin/v1/rolling. `nodes` empty: all. `force`: the guarantee may be broken, never quorum or room."""

    nodes: Annotated[list[NodeName], Field(max_length=1000, default_factory=list)]
    force: bool = False


@router.get("/plan")
def plan(
    call: OperatorCall, paging: PageWanted, node: Annotated[list[NodeName] | None, Query()] = None, force: bool = False
) -> JSONResponse:
    """Every node once, in the order of their reboots, those that cannot go last. `node` again and again: only those."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        found = ask_rolling(tx, node or (), call.now, force=force)
        rows = plan_rows(found)
        return paging.answer("nodes", list(paging.cut(rows)), len(rows))

    return call.read(work)


@router.get("")
def get_rolling(call: OperatorCall) -> JSONResponse:
    """The newest run: how far it is, and what it waits for."""
    return call.read(lambda tx, _: JSONResponse({"rolling": show_run(tx, call)}))


@router.post("", openapi_extra=body_schema(StartRolling))
def start(call: OperatorCall) -> Response:
    """Reboot these nodes one after the other; the coordinator does it."""

    def work(tx: Transaction, _: Caller, body: StartRolling) -> Done:
        start_rolling(tx, body.nodes, call.now, force=body.force)
        return Done({"rolling": show_run(tx, call)}, 201, look=True, details={"nodes": ", ".join(body.nodes) or "all"})

    return call.write(StartRolling, work)


@router.post("/stop", openapi_extra=body_schema(NoBody))
def stop(call: OperatorCall) -> Response:
    """No further node; one that may be rebooting by now is waited for."""

    def work(tx: Transaction, _: Caller, _body: NoBody) -> Done:
        stop_rolling(tx, call.now)
        return Done({"rolling": show_run(tx, call)}, look=True)

    return call.write(NoBody, work)


def plan_rows(found: RollingPlan) -> list[dict[str, Any]]:
    """Every node of a plan once, those that cannot go last."""
    rows: list[dict[str, Any]] = [
        {"node": s.node, "step": i, "vms_moved": len(s.moves), "breaks": s.breaks, "refused": ""}
        for i, s in enumerate(found.steps, start=1)
    ]
    return rows + [
        {"node": r.node, "step": None, "vms_moved": 0, "breaks": "", "refused": r.reason} for r in found.refused
    ]


def show_run(tx: Transaction, call: OperatorCall) -> dict[str, Any]:
    """The newest run as operators see it."""
    run = current_run(tx)
    shown = shapes.plain(run)
    del shown["id"], shown["turns"]
    lists = {"pending": list(run.pending), "rebooted": list(run.rebooted)}
    return {
        **shown, **lists, "state": run.state.value, "step": run.step.value if run.node else None,
        "active": run.active, "waits": standing(load_view(tx, call.now)),
    }  # fmt: skip
