"""`/admin/v1/settings`: what an operator sets for the whole cluster while it runs."""

from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from app.api.admin import shapes
from app.api.call import Body, Caller, Done, OperatorCall, body_schema
from app.domain.cluster_settings import AfterKeep
from app.domain.errors import InvalidInput
from app.ports.store import Transaction
from app.services.change_settings import change_settings
from app.services.load_view import current_settings

router = APIRouter(prefix="/admin/v1/settings", tags=["settings"])
_Ratio = Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)]
_Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
_Seconds = Annotated[float, Field(ge=0, le=30 * 86_400, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1, le=1000)]


class ChangeSettings(Body):
    """PATCH /admin/v1/settings: what is not sent stays as it is. Shares are 0..1, ratios 1 and more, times seconds.

    `armed` is no field here: arming and disarming are commands of their own, with a reason.
    """

    strategy: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    guarantee: Annotated[int, Field(ge=0, le=100)] | None = None
    memory_overcommit: _Ratio | None = None
    cpu_overcommit: _Ratio | None = None
    storm_share: _Share | None = None
    quarantine_losses: _Count | None = None
    quarantine_window_seconds: _Seconds | None = None
    quarantine_seconds: _Seconds | None = None
    migrations_max: _Count | None = None
    migrations_per_node_max: _Count | None = None
    starts_max: Annotated[int, Field(ge=0, le=1000)] | None = None
    rebalance: bool | None = None
    isolated_keep_seconds: _Seconds | None = None
    isolated_then: AfterKeep | None = None


@router.get("")
def get_settings(call: OperatorCall) -> JSONResponse:
    """All of them, and whether automation is armed."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        return JSONResponse({"settings": shapes.plain(current_settings(tx))})

    return call.read(work)


@router.patch("", openapi_extra=body_schema(ChangeSettings))
def patch_settings(call: OperatorCall) -> Response:
    """Change some of them."""

    def work(tx: Transaction, _: Caller, body: ChangeSettings) -> Done:
        changes = body.model_dump(exclude_unset=True)
        for name, value in changes.items():
            if value is None:
                raise InvalidInput(name, "null is no value; leave the field out to keep what is set")
        new = change_settings(tx, changes, call.now)
        return Done(
            {"settings": shapes.plain(new)}, look=True, details={name: str(value) for name, value in changes.items()}
        )

    return call.write(ChangeSettings, work)
