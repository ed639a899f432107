"""Emptying nodes and moving VMs: `/admin/v1/nodes/{name}/drain`, `/return`, `/admin/v1/vms/{id}/migrate`."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from app.api.admin import shapes
from app.api.call import Body, Caller, Done, NoBody, OperatorCall, body_schema
from app.api.pages import PageWanted
from app.domain.drain import DrainProgress, Leaving, drain_progress
from app.ports.store import Transaction
from app.services.cancel_migration import cancel_migration
from app.services.drain_node import drain_node
from app.services.find_node import find_node
from app.services.load_view import load_view
from app.services.request_migration import request_migration
from app.services.return_node import return_node

router = APIRouter(prefix="/admin/v1", tags=["maintenance"])
Name = Annotated[str, Path(max_length=255)]
VmId = Annotated[int, Path(ge=1, le=2**53 - 1)]


class Drain(NoBody):
    """POST /admin/v1/nodes/{name}/drain. `force`: also where the guarantee is broken by it."""

    force: bool = False


class Migrate(Body):
    """POST /admin/v1/vms/{id}/migrate. `to` empty: wherever there is room."""

    to: Annotated[str, Field(max_length=255)] = ""


@router.post("/nodes/{name}/drain", openapi_extra=body_schema(Drain))
def drain(call: OperatorCall, name: Name) -> Response:
    """Move the node's VMs away while they run, and keep others out. Said again, what was stuck is tried anew."""

    def work(tx: Transaction, _: Caller, body: Drain) -> Done:
        drain_node(tx, name, call.now, force=body.force)
        return Done({"drain": _progress(tx, name)}, look=True, details={"node": name, "force": str(body.force)})

    return call.write(Drain, work)


@router.post("/nodes/{name}/return", openapi_extra=body_schema(NoBody))
def end_maintenance(call: OperatorCall, name: Name) -> Response:
    """Let the node take VMs again; what is still on its way out stays."""

    def work(tx: Transaction, _: Caller, _body: NoBody) -> Done:
        return_node(tx, name, call.now)
        return Done({"drain": _progress(tx, name)}, look=True, details={"node": name})

    return call.write(NoBody, work)


@router.get("/nodes/{name}/drain")
def get_drain(call: OperatorCall, name: Name) -> JSONResponse:
    """How far it is."""
    return call.read(lambda tx, _: JSONResponse({"drain": _progress(tx, name)}))


@router.get("/nodes/{name}/drain/vms")
def list_drain_vms(call: OperatorCall, name: Name, paging: PageWanted) -> JSONResponse:
    """The VMs that the node still has, those that need an operator first, each with the reason."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        order = (Leaving.STUCK, Leaving.MOVING, Leaving.WAITING)
        rows = sorted(_look(tx, name).vms, key=lambda v: (order.index(v.state), v.vm_id))
        shown = [{**asdict(v), "state": v.state.value} for v in paging.cut(rows)]
        return paging.answer("vms", shown, len(rows))

    return call.read(work)


@router.post("/vms/{vm_id}/migrate", openapi_extra=body_schema(Migrate))
def migrate(call: OperatorCall, vm_id: VmId) -> Response:
    """Move a VM to another node while it runs. The caps on migrations decide when; the action ends with it."""

    def work(tx: Transaction, _: Caller, body: Migrate) -> Done:
        action = request_migration(tx, vm_id, body.to, call.now)
        shown = {**shapes.plain(action), "status": action.status.value}
        return Done({"action": shown}, 201, look=True, look_at=vm_id, details={"vm": str(vm_id), "to": body.to})

    return call.write(Migrate, work)


@router.post("/vms/{vm_id}/cancel-migration", openapi_extra=body_schema(NoBody))
def cancel(call: OperatorCall, vm_id: VmId) -> Response:
    """End a migration. The VM runs on where it is."""

    def work(tx: Transaction, _: Caller, _body: NoBody) -> Done:
        vm = cancel_migration(tx, vm_id, call.now)
        return Done({"vm": shapes.vm(vm)}, look=True, look_at=vm_id, details={"vm": str(vm_id)})

    return call.write(NoBody, work)


def _look(tx: Transaction, name: str) -> DrainProgress:
    find_node(tx, name)
    return drain_progress(load_view(tx), name)


def _progress(tx: Transaction, name: str) -> dict[str, Any]:
    progress = _look(tx, name)
    counts = {state.value: progress.count(state) for state in Leaving}
    return {"node": name, "draining": progress.draining, "done": progress.done, **counts}
