"""Rolling upgrades: `/admin/v1/upgrade/plan`, `/admin/v1/upgrade`, `/admin/v1/upgrade/finish`. `/admin/v1/rolling/stop`
stops one.
"""

from importlib.metadata import version as installed
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from app.api.admin.rolling import NodeName, plan_rows, show_run
from app.api.call import Body, Caller, Done, NoBody, OperatorCall, body_schema
from app.api.pages import PageWanted
from app.ports.store import Transaction
from app.services.refusals import WrongState
from app.services.start_rolling import ask_upgrade, start_upgrade

router = APIRouter(prefix="/admin/v1/upgrade", tags=["maintenance"])
_Version = Annotated[str, Field(max_length=50, pattern=r"^\d+(\.\d+)*((a|b|rc|\.post|\.dev)\d+)?$")]


class StartUpgrade(Body):
    """POST /admin/v1/upgrade. `nodes` empty: all. `force`: the guarantee may be broken, never quorum or room."""

    version: _Version
    nodes: Annotated[list[NodeName], Field(max_length=1000, default_factory=list)]
    force: bool = False


@router.get("/plan")
def plan(
    call: OperatorCall,
    paging: PageWanted,
    version: Annotated[_Version, Query()],
    node: Annotated[list[NodeName] | None, Query()] = None,
    force: bool = False,
) -> JSONResponse:
    """Every node once that does not run that version yet, in the order of their upgrades; those that cannot go last."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        rows = plan_rows(ask_upgrade(tx, version, node or (), call.now, force=force))
        return paging.answer("nodes", list(paging.cut(rows)), len(rows))

    return call.read(work)


@router.get("")
def get_upgrade(call: OperatorCall) -> JSONResponse:
    """The newest run, an upgrade or not: how far it is, and what it waits for."""
    return call.read(lambda tx, _: JSONResponse({"upgrade": show_run(tx, call)}))


@router.post("", openapi_extra=body_schema(StartUpgrade))
def start(call: OperatorCall) -> Response:
    """Upgrade these nodes one after the other; the coordinator does it. Said again: the run that is under way."""

    def work(tx: Transaction, _: Caller, body: StartUpgrade) -> Done:
        start_upgrade(tx, body.version, body.nodes, call.now, force=body.force)
        details = {"version": body.version, "nodes": ", ".join(body.nodes) or "all"}
        return Done({"upgrade": show_run(tx, call)}, 201, look=True, details=details)

    return call.write(StartUpgrade, work)


@router.post("/finish", openapi_extra=body_schema(NoBody))
def finish(call: OperatorCall) -> Response:
    """Take away of the schema what only the version before used; from then on that does not start any more.

    422 while a node runs anything but this API's version. Said again nothing happens.
    """
    mine = installed("holdfast")

    def work(tx: Transaction, _: Caller, _body: NoBody) -> Done:
        behind = [f"{n.name} runs {n.version or 'an unknown version'}" for n in tx.nodes.where() if n.version != mine]
        if behind:
            raise WrongState(f"this API is of version {mine}, but {', '.join(behind)}")
        return Done(None, 204)

    call.write(NoBody, work)
    # Outside of the transaction: each statement of it is one of its own, and may take minutes.
    contracted = call.deps.contract_schema()
    return JSONResponse({"upgrade": {"version": mine, "contracted": list(contracted)}})
