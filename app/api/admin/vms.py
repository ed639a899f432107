"""`/admin/v1/vms`: every project's VMs, with what customers are not shown."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse

from app.api.admin import shapes
from app.api.call import Caller, OperatorCall
from app.api.pages import PageWanted, Sort, parse_sort
from app.domain.errors import NotFound
from app.domain.vm import Vm
from app.ports.store import Transaction

router = APIRouter(prefix="/admin/v1/vms", tags=["vms"])


@router.get("")
def list_vms(
    call: OperatorCall,
    paging: PageWanted,
    node: str = "",
    name: str = "",
    project_id: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    sort: Sort = None,
) -> JSONResponse:
    """All VMs; `node=-` for those without one."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        equals: dict[str, object] = {}
        if node:
            equals["node"] = None if node == "-" else node
        if name:
            equals["name"] = name
        if project_id is not None:
            equals["project_id"] = project_id
        field, descending = parse_sort(sort, ("id", "name", "node", "created", "priority"))[0]
        page = tx.vms.page(page=paging.page, per_page=paging.per_page, sort=field, descending=descending, **equals)
        return paging.answer("vms", [shapes.vm(vm) for vm in page.rows], page.total)

    return call.read(work)


@router.get("/{vm_id}")
def get_vm(call: OperatorCall, vm_id: Annotated[int, Path(ge=1, le=2**53 - 1)]) -> JSONResponse:
    """One VM, and `why`: the decision that brought it where it is."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        vm = tx.vms.get(vm_id)
        if vm is None:
            raise NotFound(f"there is no VM {vm_id}")
        return JSONResponse({"vm": {**shapes.vm(vm), "why": why(tx, vm)}})

    return call.read(work)


def why(tx: Transaction, vm: Vm) -> str:
    """The newest word on its placement: of a request (event) or of a recovery (a step of its incidents)."""
    if vm.node is None:
        return vm.unplaced_reason
    events = tx.events.page(page=1, per_page=1, descending=True, kind="vm.placed", vm_id=vm.id).rows
    words = [(event.at, event.text) for event in events if event.node == vm.node]
    incidents = tx.incidents.page(page=1, per_page=20, descending=True).rows
    steps = [s for i in incidents for s in i.steps if s.vm_id == vm.id and s.what == "assigned" and s.node == vm.node]
    words += [(s.at, s.detail) for s in steps]
    return max(words)[1] if words else ""
