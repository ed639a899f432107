"""`/v1/servers`: list, create, get, update, delete."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse, Response

from app.api.call import Caller, CustomerCall, Done, NoBody, body_schema
from app.api.customer import shapes
from app.api.customer.bodies import CreateServer, UpdateServer
from app.api.customer.label_selector import label_selector
from app.api.customer.status import KNOWN, customer_status
from app.api.deps import ApiSettings
from app.api.pages import PageWanted, Sort, parse_sort
from app.domain.errors import InvalidInput
from app.domain.vm import Vm
from app.ports.store import Page, Transaction
from app.services.create_vm import VmOrder, create_vm
from app.services.delete_vm import delete_vm
from app.services.find_vm import find_vm
from app.services.update_vm import update_vm

router = APIRouter(prefix="/v1/servers", tags=["servers"])
Id = Annotated[int, Path(ge=1, le=2**53 - 1)]


@router.get("")
def list_servers(
    call: CustomerCall,
    paging: PageWanted,
    name: str = "",
    label_selector: str = "",
    status: Annotated[list[str] | None, Query()] = None,
    sort: Sort = None,
) -> JSONResponse:
    """The project's servers, those that are being deleted among them."""

    def work(tx: Transaction, caller: Caller) -> JSONResponse:
        equals: dict[str, object] = {"project_id": caller.project_id} | ({"name": name} if name else {})
        order = parse_sort(sort, ("id", "name", "created"))
        if label_selector or status or len(order) > 1:
            rows = _sorted(_matching(tx.vms.where(**equals), label_selector, status or []), order)
            page: Page[Vm] = Page(paging.cut(rows), len(rows))
        else:
            field, descending = order[0]
            page = tx.vms.page(page=paging.page, per_page=paging.per_page, sort=field, descending=descending, **equals)
        catalogue = shapes.catalogue_for(tx, page.rows, call.deps.settings)
        return paging.answer("servers", [shapes.server(vm, catalogue) for vm in page.rows], page.total)

    return call.read(work)


def _matching(vms: Sequence[Vm], selector: str, statuses: Sequence[str]) -> list[Vm]:
    if unknown := [s for s in statuses if s not in KNOWN]:
        raise InvalidInput("status", f"{unknown[0][:50]!r} is not one of {', '.join(KNOWN)}")
    matches = label_selector(selector) if selector else lambda _: True
    return [vm for vm in vms if matches(vm.labels) and (not statuses or customer_status(vm) in statuses)]


def _sorted(vms: list[Vm], order: list[tuple[str, bool]]) -> list[Vm]:
    for field, descending in reversed(order):
        vms.sort(key=lambda vm: getattr(vm, field), reverse=descending)
    return vms


@router.post("", status_code=201, openapi_extra=body_schema(CreateServer))
def create_server(call: CustomerCall) -> Response:
    """Create a server; the action ends when it is up."""

    def work(tx: Transaction, caller: Caller, body: CreateServer) -> Done:
        body.refuse_what_is_missing()
        _check_place(body, call.deps.settings)
        order = VmOrder(
            body.name, body.server_type, body.image, body.labels or {}, body.user_data or "", body.start_after_create,
            body.placement_group, call.deps.local_pools,
        )  # fmt: skip
        assert caller.project is not None
        created = create_vm(tx, caller.project, order, call.deps.admission, call.now, call.deps.placement)
        catalogue = shapes.catalogue_for(tx, [created.vm], call.deps.settings)
        answer = {
            "server": shapes.server(created.vm, catalogue),
            "action": shapes.action(created.action),
            "next_actions": [shapes.action(a) for a in created.next_actions],
            "root_password": None,
        }
        vm = created.vm
        return Done(answer, 201, look_at=vm.id, look=True, details={"vm": str(vm.id), "node": vm.node or ""})

    return call.write(CreateServer, work)


def _check_place(body: CreateServer, settings: ApiSettings) -> None:
    if body.location is not None and body.datacenter is not None:
        raise InvalidInput("datacenter", "must not be used together with location")
    one = shapes.LOCATION_ID, str(shapes.LOCATION_ID)
    if body.location is not None and body.location not in (settings.location, *one):
        raise InvalidInput("location", f"there is no location {body.location!r}; there is {settings.location}")
    datacenter = f"{settings.location}-dc1"
    if body.datacenter is not None and body.datacenter not in (datacenter, *one):
        raise InvalidInput("datacenter", f"there is no datacenter {body.datacenter!r}; there is {datacenter}")


@router.get("/{server_id}")
def get_server(call: CustomerCall, server_id: Id) -> JSONResponse:
    """One server."""

    def work(tx: Transaction, caller: Caller) -> JSONResponse:
        vm = find_vm(tx, caller.project_id, server_id)
        return JSONResponse({"server": shapes.server(vm, shapes.catalogue_for(tx, [vm], call.deps.settings))})

    return call.read(work)


@router.put("/{server_id}", openapi_extra=body_schema(UpdateServer))
def update_server(call: CustomerCall, server_id: Id) -> Response:
    """Change the name or the labels."""

    def work(tx: Transaction, caller: Caller, body: UpdateServer) -> Done:
        vm = update_vm(tx, caller.project_id, server_id, body.name, body.labels)
        catalogue = shapes.catalogue_for(tx, [vm], call.deps.settings)
        return Done({"server": shapes.server(vm, catalogue)}, details={"vm": str(vm.id)})

    return call.write(UpdateServer, work)


@router.delete("/{server_id}")
def delete_server(call: CustomerCall, server_id: Id) -> Response:
    """Delete a server and its disk."""

    def work(tx: Transaction, caller: Caller, _: NoBody) -> Done:
        action = delete_vm(tx, caller.project_id, server_id, call.now)
        return Done({"action": shapes.action(action)}, look_at=server_id, look=True, details={"vm": str(server_id)})

    return call.write(NoBody, work)
