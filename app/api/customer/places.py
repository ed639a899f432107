"""`/v1/locations` and `/v1/datacenters`: one of each, derived from the settings."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from app.api.call import Caller, CustomerCall
from app.api.customer import shapes
from app.api.customer.servers import Id
from app.api.pages import PageWanted
from app.domain.errors import NotFound
from app.ports.store import Transaction

router = APIRouter(prefix="/v1", tags=["places"])


@router.get("/locations")
def list_locations(call: CustomerCall, paging: PageWanted, name: str = "") -> JSONResponse:
    """The one there is."""

    def work(_: Transaction, __: Caller) -> JSONResponse:
        one = shapes.location(call.deps.settings)
        rows = [one] if name in ("", one["name"]) else []
        return paging.answer("locations", paging.cut(rows), len(rows))

    return call.read(work)


@router.get("/locations/{location_id}")
def get_location(call: CustomerCall, location_id: Id) -> JSONResponse:
    """By id."""

    def work(_: Transaction, __: Caller) -> JSONResponse:
        if location_id != shapes.LOCATION_ID:
            raise NotFound(f"location with ID '{location_id}' not found")
        return JSONResponse({"location": shapes.location(call.deps.settings)})

    return call.read(work)


@router.get("/datacenters")
def list_datacenters(call: CustomerCall, paging: PageWanted, name: str = "") -> JSONResponse:
    """The one there is."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        one = shapes.datacenter(call.deps.settings, [p.id for p in tx.plans.where()])
        rows = [one] if name in ("", one["name"]) else []
        return paging.answer("datacenters", paging.cut(rows), len(rows))

    return call.read(work)


@router.get("/datacenters/{datacenter_id}")
def get_datacenter(call: CustomerCall, datacenter_id: Id) -> JSONResponse:
    """By id."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        if datacenter_id != shapes.LOCATION_ID:
            raise NotFound(f"datacenter with ID '{datacenter_id}' not found")
        plans = [p.id for p in tx.plans.where()]
        return JSONResponse({"datacenter": shapes.datacenter(call.deps.settings, plans)})

    return call.read(work)
