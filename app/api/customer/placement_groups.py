"""`/v1/placement_groups`: groups whose servers never share a node."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from app.api.call import Body, Caller, CustomerCall, Done, NoBody, body_schema
from app.api.customer import shapes
from app.api.customer.bodies import Labels, Text
from app.api.customer.label_selector import label_selector as selector_of
from app.api.customer.servers import Id
from app.api.pages import PageWanted, Sort, parse_sort
from app.domain.errors import InvalidInput
from app.domain.placement_group import GroupKind, PlacementGroup
from app.ports.store import Transaction
from app.services.begin_action import begin_action
from app.services.check_labels import check_labels
from app.services.placement_groups import add_group, change_group, enter_group, find_group, leave_group, remove_group

router = APIRouter(prefix="/v1", tags=["placement groups"])


class CreateGroup(Body):
    """POST /v1/placement_groups."""

    name: Text
    type: str
    labels: Labels | None = None


class UpdateGroup(Body):
    """PUT /v1/placement_groups/{id}; what is not sent stays."""

    name: Text | None = None
    labels: Labels | None = None


class EnterGroup(Body):
    """POST /v1/servers/{id}/actions/add_to_placement_group."""

    placement_group: Annotated[int, Field(ge=1, le=2**31 - 1)]


@router.get("/placement_groups")
def list_groups(
    call: CustomerCall,
    paging: PageWanted,
    name: str = "",
    label_selector: str = "",
    type: Annotated[list[str] | None, Query()] = None,
    sort: Sort = None,
) -> JSONResponse:
    """The project's groups."""

    def work(tx: Transaction, caller: Caller) -> JSONResponse:
        order = parse_sort(sort, ("id", "name", "created"))
        equals: dict[str, object] = {"project_id": caller.project_id} | ({"name": name} if name else {})
        matches = selector_of(label_selector) if label_selector else lambda _: True
        rows = [g for g in tx.groups.where(**equals) if matches(g.labels) and (not type or _type(g) in type)]
        for field, descending in reversed(order):
            rows.sort(key=lambda g: (getattr(g, field) is not None, getattr(g, field)), reverse=descending)
        return paging.answer("placement_groups", [shapes.placement_group(tx, g) for g in paging.cut(rows)], len(rows))

    return call.read(work)


def _type(group: PlacementGroup) -> str:
    return group.kind.value


@router.post("/placement_groups", status_code=201, openapi_extra=body_schema(CreateGroup))
def create_group(call: CustomerCall) -> Response:
    """Done at once: there is no action to wait for."""

    def work(tx: Transaction, caller: Caller, body: CreateGroup) -> Done:
        if body.type != GroupKind.SPREAD.value:
            raise InvalidInput("type", f"{body.type[:50]!r} is not one of spread")
        check_labels(body.labels or {})
        wanted = PlacementGroup(0, caller.project_id, body.name, labels=body.labels or {}, created=call.now)
        group = add_group(tx, wanted)
        shown = {"placement_group": shapes.placement_group(tx, group), "action": None}
        return Done(shown, 201, details={"placement_group": str(group.id)})

    return call.write(CreateGroup, work)


@router.get("/placement_groups/{group_id}")
def get_group(call: CustomerCall, group_id: Id) -> JSONResponse:
    """One group and its servers."""

    def work(tx: Transaction, caller: Caller) -> JSONResponse:
        group = find_group(tx, caller.project_id, group_id)
        return JSONResponse({"placement_group": shapes.placement_group(tx, group)})

    return call.read(work)


@router.put("/placement_groups/{group_id}", openapi_extra=body_schema(UpdateGroup))
def update_group(call: CustomerCall, group_id: Id) -> Response:
    """Change the name or the labels."""

    def work(tx: Transaction, caller: Caller, body: UpdateGroup) -> Done:
        group = change_group(tx, caller.project_id, group_id, body.name, body.labels)
        return Done({"placement_group": shapes.placement_group(tx, group)}, details={"placement_group": str(group.id)})

    return call.write(UpdateGroup, work)


@router.delete("/placement_groups/{group_id}", status_code=204)
def delete_group(call: CustomerCall, group_id: Id) -> Response:
    """The group goes; its servers run on where they are."""

    def work(tx: Transaction, caller: Caller, _: NoBody) -> Done:
        remove_group(tx, caller.project_id, group_id)
        return Done(None, 204, details={"placement_group": str(group_id)})

    return call.write(NoBody, work)


@router.post(
    "/servers/{server_id}/actions/add_to_placement_group", status_code=201, openapi_extra=body_schema(EnterGroup)
)
def add_to_placement_group(call: CustomerCall, server_id: Id) -> Response:
    """The server must be off; it counts from its next start on."""

    def work(tx: Transaction, caller: Caller, body: EnterGroup) -> Done:
        vm = enter_group(tx, caller.project_id, server_id, body.placement_group, call.now)
        action = begin_action(tx, vm, "add_to_placement_group", call.now, done=True)
        return Done({"action": shapes.action(action)}, 201, details={"vm": str(server_id)})

    return call.write(EnterGroup, work)


@router.post("/servers/{server_id}/actions/remove_from_placement_group", status_code=201)
def remove_from_placement_group(call: CustomerCall, server_id: Id) -> Response:
    """Where it runs it runs on."""

    def work(tx: Transaction, caller: Caller, _: NoBody) -> Done:
        vm = leave_group(tx, caller.project_id, server_id)
        action = begin_action(tx, vm, "remove_from_placement_group", call.now, done=True)
        return Done({"action": shapes.action(action)}, 201, details={"vm": str(server_id)})

    return call.write(NoBody, work)
