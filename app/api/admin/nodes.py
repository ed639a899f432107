"""`/admin/v1/nodes`."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from app.api.admin import shapes
from app.api.call import Body, Caller, Done, NoBody, OperatorCall, body_schema
from app.api.pages import PageWanted
from app.ports.store import Transaction
from app.services.confirm_dead import confirm_dead
from app.services.find_node import find_node
from app.services.place_vm import current_loads
from app.services.quarantine import release_node
from app.services.set_maintenance import set_maintenance
from app.services.set_tags import set_tags

router = APIRouter(prefix="/admin/v1/nodes", tags=["nodes"])
Name = Annotated[str, Path(max_length=255)]


class Maintenance(Body):
    """POST /admin/v1/nodes/{name}/maintenance. `force`: also where the guarantee is broken by it."""

    maintenance: bool
    force: bool = False


class Tags(Body):
    """PUT /admin/v1/nodes/{name}/tags."""

    tags: Annotated[list[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,63}$")]], Field(max_length=64)]


class ConfirmDead(Body):
    """POST /admin/v1/nodes/{name}/confirm-dead: how the operator knows."""

    reason: Annotated[str, Field(max_length=1000)]


@router.get("")
def list_nodes(call: OperatorCall, paging: PageWanted) -> JSONResponse:
    """All nodes, by name, with what they carry."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        loads = sorted(current_loads(tx).values(), key=lambda x: x.node.name)
        return paging.answer("nodes", [shapes.node(load) for load in paging.cut(loads)], len(loads))

    return call.read(work)


@router.get("/{name}")
def get_node(call: OperatorCall, name: Name) -> JSONResponse:
    """One node."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        find_node(tx, name)
        return JSONResponse({"node": shapes.node(current_loads(tx)[name])})

    return call.read(work)


@router.post("/{name}/maintenance", openapi_extra=body_schema(Maintenance))
def put_into_maintenance(call: OperatorCall, name: Name) -> Response:
    """Keep new VMs away from the node, or let them come again. Those that it has stay."""

    def work(tx: Transaction, _: Caller, body: Maintenance) -> Done:
        set_maintenance(tx, name, body.maintenance, call.now, force=body.force)
        shown = shapes.node(current_loads(tx)[name])
        return Done({"node": shown}, look=True, details={"node": name, "maintenance": str(body.maintenance)})

    return call.write(Maintenance, work)


@router.put("/{name}/tags", openapi_extra=body_schema(Tags))
def put_tags(call: OperatorCall, name: Name) -> Response:
    """Exactly these tags; VMs may need or avoid them."""

    def work(tx: Transaction, _: Caller, body: Tags) -> Done:
        set_tags(tx, name, body.tags, call.now)
        shown = shapes.node(current_loads(tx)[name])
        return Done({"node": shown}, look=True, details={"node": name, "tags": ",".join(body.tags)})

    return call.write(Tags, work)


@router.get("/{name}/paths")
def list_paths(call: OperatorCall, name: Name) -> JSONResponse:
    """The storage paths of a node as it last saw them."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        find_node(tx, name)
        return JSONResponse({"paths": [shapes.plain(p) for p in tx.paths.where(node=name)]})

    return call.read(work)


@router.post("/{name}/confirm-dead", openapi_extra=body_schema(ConfirmDead))
def confirm_node_dead(call: OperatorCall, name: Name) -> Response:
    """An operator's word that a lost node is dead: its VMs are then started elsewhere, on that word alone."""

    def work(tx: Transaction, caller: Caller, body: ConfirmDead) -> Done:
        confirm_dead(tx, name, caller.token.name, body.reason, call.deps.members(), call.now)
        shown = shapes.node(current_loads(tx)[name])
        return Done({"node": shown}, look=True, details={"node": name, "reason": body.reason})

    return call.write(ConfirmDead, work)


@router.post("/{name}/release", openapi_extra=body_schema(NoBody))
def release_from_quarantine(call: OperatorCall, name: Name) -> Response:
    """End a node's quarantine and forget its losses."""

    def work(tx: Transaction, caller: Caller, _: NoBody) -> Done:
        release_node(tx, name, caller.token.name, call.now)
        return Done({"node": shapes.node(current_loads(tx)[name])}, look=True, details={"node": name})

    return call.write(NoBody, work)
