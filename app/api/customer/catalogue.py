"""`/v1/server_types` and `/v1/images`: what servers can be made of."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from app.api.call import Caller, CustomerCall
from app.api.customer import shapes
from app.api.customer.servers import Id
from app.api.pages import PageWanted, Sort, parse_sort
from app.domain.errors import NotFound
from app.ports.store import Transaction

router = APIRouter(prefix="/v1", tags=["catalogue"])
_Words = Annotated[list[str] | None, Query()]


@router.get("/server_types")
def list_server_types(call: CustomerCall, paging: PageWanted, name: str = "") -> JSONResponse:
    """All plans."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        equals: dict[str, Any] = {"name": name} if name else {}
        page = tx.plans.page(page=paging.page, per_page=paging.per_page, **equals)
        rows = [shapes.server_type(p, call.deps.settings) for p in page.rows]
        return paging.answer("server_types", rows, page.total)

    return call.read(work)


@router.get("/server_types/{type_id}")
def get_server_type(call: CustomerCall, type_id: Id) -> JSONResponse:
    """One plan."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        plan = tx.plans.get(type_id)
        if plan is None:
            raise NotFound(f"server type with ID '{type_id}' not found")
        return JSONResponse({"server_type": shapes.server_type(plan, call.deps.settings)})

    return call.read(work)


@router.get("/images")
def list_images(
    call: CustomerCall,
    paging: PageWanted,
    name: str = "",
    label_selector: str = "",
    type: _Words = None,
    status: _Words = None,
    architecture: _Words = None,
    bound_to: _Words = None,
    sort: Sort = None,
) -> JSONResponse:
    """All images; every one is a system image for x86 without labels."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        field, descending = parse_sort(sort, ("id", "name", "created"))[0]
        equals: dict[str, Any] = {"name": name} if name else {}
        fits = _has(type, "system") and _has(status, "available") and _has(architecture, "x86")
        if not fits or bound_to or (label_selector and not label_selector.startswith("!")):
            equals["id"] = ()
        page = tx.images.page(page=paging.page, per_page=paging.per_page, sort=field, descending=descending, **equals)
        return paging.answer("images", [shapes.image(i) for i in page.rows], page.total)

    return call.read(work)


def _has(wanted: Sequence[str] | None, what: str) -> bool:
    return not wanted or what in wanted


@router.get("/images/{image_id}")
def get_image(call: CustomerCall, image_id: Id) -> JSONResponse:
    """One image."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        image = tx.images.get(image_id)
        if image is None:
            raise NotFound(f"image with ID '{image_id}' not found")
        return JSONResponse({"image": shapes.image(image)})

    return call.read(work)
