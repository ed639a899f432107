"""`PATCH /admin/v1/vms/{id}`: how HA treats a VM and where it may be; `explain`: why it is where it is."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from app.api.admin import shapes
from app.api.admin.vms import why
from app.api.call import Body, Caller, Done, OperatorCall, body_schema
from app.api.customer.bodies import Text
from app.domain.errors import InvalidInput, NotFound
from app.domain.placement import explain
from app.domain.placement_problems import problems_with
from app.domain.policy import AfterEnd, HaClass, QuorumLoss
from app.ports.store import Transaction
from app.services.load_view import load_view
from app.services.set_vm_rules import set_vm_rules

router = APIRouter(prefix="/admin/v1/vms", tags=["vms"])
_Id = Annotated[int, Path(ge=1, le=2**53 - 1)]
_Seconds = Annotated[float, Field(ge=0, le=7 * 86_400, allow_inf_nan=False)]
_Names = Annotated[list[Text], Field(max_length=64)]


class HaBody(Body):
    """See `HaPolicy`; what is not sent stays."""

    ha_class: str | None = None
    on_quorum_loss: str | None = None
    on_crash: str | None = None
    on_guest_shutdown: str | None = None
    on_panic: str | None = None
    on_hang: str | None = None
    guest_silence_seconds: _Seconds | None = None
    restart_hold_seconds: _Seconds | None = None
    waits_for: Annotated[list[Annotated[int, Field(ge=1, le=2**31 - 1)]], Field(max_length=64)] | None = None
    failback: bool | None = None


class NeedsBody(Body):
    """See `PlacementNeeds`; what is not sent stays, an empty list takes the demand away."""

    tags: _Names | None = None
    avoid_tags: _Names | None = None
    networks: _Names | None = None
    cpu_model: Annotated[str, Field(max_length=255)] | None = None
    groups: _Names | None = None


class VmRules(Body):
    """PATCH /admin/v1/vms/{id}. `force`: also where the guarantee is broken by it."""

    ha: HaBody = HaBody()
    needs: NeedsBody = NeedsBody()
    priority: Annotated[int, Field(ge=0, le=1000)] | None = None
    force: bool = False


_WORDS: dict[str, type[HaClass] | type[QuorumLoss] | type[AfterEnd]] = {
    "ha_class": HaClass, "on_quorum_loss": QuorumLoss, "on_crash": AfterEnd, "on_guest_shutdown": AfterEnd,
    "on_panic": AfterEnd, "on_hang": AfterEnd,
}  # fmt: skip


@router.patch("/{vm_id}", openapi_extra=body_schema(VmRules))
def change_rules(call: OperatorCall, vm_id: _Id) -> Response:
    """What is not sent stays. It counts from the VM's next placement, or failure, on."""

    def work(tx: Transaction, _: Caller, body: VmRules) -> Done:
        ha, needs = _given(body.ha), _given(body.needs)
        vm = set_vm_rules(tx, vm_id, ha, needs, body.priority, call.now, force=body.force)
        return Done({"vm": shapes.vm(vm)}, look_at=vm_id, look=True, details={"vm": str(vm_id)})

    return call.write(VmRules, work)


def _given(body: Body) -> dict[str, Any]:
    """The fields that were sent, in the domain's types."""
    given: dict[str, Any] = {}
    for name, value in body.model_dump(exclude_none=True).items():
        words = _WORDS.get(name)
        if words is not None and value not in {w.value for w in words}:
            raise InvalidInput(name, f"{value[:50]!r} is not one of {', '.join(w.value for w in words)}")
        given[name] = words(value) if words is not None else tuple(value) if isinstance(value, list) else value
    return given


@router.get("/{vm_id}/explain")
def explain_vm(call: OperatorCall, vm_id: _Id) -> JSONResponse:
    """Why it is where it is, and what speaks for and against every node now."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        vm = tx.vms.get(vm_id)
        if vm is None:
            raise NotFound(f"there is no VM {vm_id}")
        view = load_view(tx, call.now, call.deps.placement)
        nodes = [{"node": j.node, "takes": j.takes, "why": j.why, "here": j.node == vm.node} for j in explain(view, vm)]
        problems = [p.text for p in problems_with(view, vm)]
        shown = {
            "vm": vm.id,
            "name": vm.name,
            "node": vm.node,
            "why": why(tx, vm),
            "nodes": nodes,
            "problems": problems,
        }
        return JSONResponse({"explain": shown})

    return call.read(work)
