"""`/admin/v1/cluster`: how the whole stands, and the switch that freezes all automation."""

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from app.api.call import Body, Caller, Done, NoBody, OperatorCall, body_schema
from app.domain.cluster_settings import ClusterSettings
from app.domain.node import NodeState
from app.ports.store import Transaction
from app.services.disarm_cluster import arm_cluster, disarm_cluster, lift_storm_guard
from app.services.epoch import current_epoch
from app.services.load_view import OPEN_PHASES, current_settings

router = APIRouter(prefix="/admin/v1/cluster", tags=["cluster"])


class Disarm(Body):
    """POST /admin/v1/cluster/disarm."""

    reason: Annotated[str, Field(max_length=1000)]


class StormGuard(Body):
    """POST /admin/v1/cluster/storm-guard: lifted for so long; 0 puts it back."""

    lifted_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


@router.get("")
def get_cluster(call: OperatorCall) -> JSONResponse:
    """Whether automation is armed, who leads, how many nodes are in which state, how many incidents are open."""
    return call.read(lambda tx, _: JSONResponse({"cluster": _status(tx)}))


@router.post("/disarm", openapi_extra=body_schema(Disarm))
def disarm(call: OperatorCall) -> Response:
    """Freeze all automation of the cluster. What keeps a VM from running twice stays."""

    def work(tx: Transaction, caller: Caller, body: Disarm) -> Done:
        disarm_cluster(tx, caller.token.name, body.reason, call.now)
        return Done({"cluster": _status(tx)}, look=True, details={"reason": body.reason})

    return call.write(Disarm, work)


@router.post("/arm", openapi_extra=body_schema(NoBody))
def arm(call: OperatorCall) -> Response:
    """Let automation go on, by level."""

    def work(tx: Transaction, caller: Caller, _: NoBody) -> Done:
        arm_cluster(tx, caller.token.name, call.now)
        return Done({"cluster": _status(tx)}, look=True)

    return call.write(NoBody, work)


@router.post("/storm-guard", openapi_extra=body_schema(StormGuard))
def storm_guard(call: OperatorCall) -> Response:
    """Let fences begin although many nodes are lost, for a time; or put the guard back."""

    def work(tx: Transaction, caller: Caller, body: StormGuard) -> Done:
        lift_storm_guard(tx, caller.token.name, body.lifted_seconds, call.now)
        details = {"lifted_seconds": f"{body.lifted_seconds:g}"}
        return Done({"cluster": _status(tx)}, look=True, details=details)

    return call.write(StormGuard, work)


def _status(tx: Transaction) -> dict[str, Any]:
    settings, epoch, nodes = current_settings(tx), current_epoch(tx), tx.nodes.where()
    return {
        **_armed(settings),
        "storm_share": settings.storm_share,
        "storm_lifted_until": settings.storm_lifted_until and settings.storm_lifted_until.isoformat(),
        "epoch": epoch.epoch,
        "coordinator": epoch.holder,
        "nodes": {state.value: sum(n.state is state for n in nodes) for state in NodeState},
        "nodes_quarantined": sum(n.quarantined_until is not None for n in nodes),
        "incidents_open": len(tx.incidents.where(phase=OPEN_PHASES)),
    }


def _armed(settings: ClusterSettings) -> dict[str, Any]:
    at = settings.disarmed_at
    return {
        "armed": settings.armed,
        "disarmed_by": settings.disarmed_by,
        "disarmed_reason": settings.disarmed_reason,
        "disarmed_at": at and at.isoformat(),
    }
