"""`/admin/v1/placement`: rules that contradict each other, and groups of every kind."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from app.api.admin import shapes
from app.api.call import Body, Caller, Done, NoBody, OperatorCall, body_schema
from app.api.customer.bodies import Text
from app.api.pages import PageWanted
from app.domain.errors import InvalidInput
from app.domain.placement_group import GroupDomain, GroupKind, PlacementGroup
from app.domain.placement_problems import placement_problems
from app.ports.store import Transaction
from app.services.load_view import load_view
from app.services.placement_groups import add_group, remove_group

router = APIRouter(prefix="/admin/v1/placement", tags=["placement"])
_Id = Annotated[int, Path(ge=1, le=2**53 - 1)]


class GroupBody(Body):
    """POST /admin/v1/placement/groups. `kind`: spread, spread-soft or together; `domain`: node or rack."""

    project_id: Annotated[int, Field(ge=1, le=2**31 - 1)]
    name: Text
    kind: str = GroupKind.SPREAD.value
    domain: str = GroupDomain.NODE.value


@router.get("/problems")
def list_problems(call: OperatorCall, paging: PageWanted) -> JSONResponse:
    """What the next recovery would run into."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        found = placement_problems(load_view(tx, call.now))
        rows = [{**asdict(p), "vms": list(p.vms)} for p in paging.cut(found)]
        return paging.answer("problems", rows, len(found))

    return call.read(work)


@router.get("/groups")
def list_groups(call: OperatorCall, paging: PageWanted) -> JSONResponse:
    """Of all projects."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        page = tx.groups.page(page=paging.page, per_page=paging.per_page)
        return paging.answer("groups", [_shown(tx, g) for g in page.rows], page.total)

    return call.read(work)


@router.post("/groups", status_code=201, openapi_extra=body_schema(GroupBody))
def create_group(call: OperatorCall) -> Response:
    """A group of a project; VMs are put into it by their `needs.groups`."""

    def work(tx: Transaction, _: Caller, body: GroupBody) -> Done:
        for field, value, kind in (("kind", body.kind, GroupKind), ("domain", body.domain, GroupDomain)):
            if value not in {k.value for k in kind}:
                raise InvalidInput(field, f"{value[:50]!r} is not one of {', '.join(k.value for k in kind)}")
        wanted = PlacementGroup(
            0, body.project_id, body.name, GroupKind(body.kind), GroupDomain(body.domain), created=call.now
        )
        group = add_group(tx, wanted)
        return Done({"group": _shown(tx, group)}, 201, details={"group": str(group.id)})

    return call.write(GroupBody, work)


@router.delete("/groups/{group_id}", status_code=204)
def delete_group(call: OperatorCall, group_id: _Id) -> Response:
    """The group goes; its VMs stay where they are."""

    def work(tx: Transaction, _: Caller, __: NoBody) -> Done:
        remove_group(tx, None, group_id)
        return Done(None, 204, details={"group": str(group_id)})

    return call.write(NoBody, work)


def _shown(tx: Transaction, group: PlacementGroup) -> shapes.Json:
    members = [v.id for v in tx.vms.where(project_id=group.project_id) if group.name in v.needs.groups]
    return {**shapes.plain(group), "kind": group.kind.value, "domain": group.domain.value, "vms": members}
