"""`/admin/v1/images` and `/admin/v1/plans`: what customers can choose from."""

from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from app.api.admin import shapes
from app.api.call import Body, Caller, Done, OperatorCall, body_schema
from app.api.customer.bodies import Text
from app.api.pages import PageWanted
from app.domain.records import Image, Plan
from app.ports.store import Transaction
from app.services.add_image import add_image
from app.services.add_plan import add_plan

router = APIRouter(prefix="/admin/v1", tags=["catalogue"])
#: what customers' tools accept as a name and tell from an id
CatalogueName = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9._-]{0,62}$")]
_Path = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00-\x1f]*$")]
DiskGib = Annotated[int, Field(ge=1, le=65_536)]
MemoryMib = Annotated[int, Field(ge=1, le=16 * 1024 * 1024)]


class CreateImage(Body):
    """POST /admin/v1/images. `path` (and `kernel`, `initrd`) are what the pool's plugin understands."""

    name: CatalogueName
    pool: Text
    path: Annotated[_Path, Field(min_length=1)]
    disk_gib: DiskGib
    kernel: _Path = ""
    initrd: _Path = ""
    cmdline: Annotated[str, Field(max_length=2048, pattern=r"^[^\x00-\x1f]*$")] = ""
    memory_min_mib: Annotated[int, Field(ge=0, le=16 * 1024 * 1024)] = 0
    os_flavor: Annotated[str, Field(max_length=50)] = "unknown"
    os_version: Annotated[str, Field(max_length=50)] = ""


class CreatePlan(Body):
    """POST /admin/v1/plans. Memory from 16 MiB to 16 TiB, disk to 64 TiB."""

    name: CatalogueName
    cores: Annotated[int, Field(ge=1, le=1024)]
    memory_mib: Annotated[MemoryMib, Field(ge=16)]
    disk_gib: DiskGib
    description: Annotated[str, Field(max_length=1000)] = ""


@router.get("/images")
def list_images(call: OperatorCall, paging: PageWanted) -> JSONResponse:
    """All images, with where they lie."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        page = tx.images.page(page=paging.page, per_page=paging.per_page)
        return paging.answer("images", [shapes.plain(i) for i in page.rows], page.total)

    return call.read(work)


@router.post("/images", status_code=201, openapi_extra=body_schema(CreateImage))
def create_image(call: OperatorCall) -> Response:
    """Offer an image. Whether its pool has it is found out when a VM is started from it."""

    def work(tx: Transaction, _: Caller, body: CreateImage) -> Done:
        image = add_image(tx, Image(id=0, created=call.now, **body.model_dump()))
        return Done({"image": shapes.plain(image)}, 201, details={"image": image.name})

    return call.write(CreateImage, work)


@router.get("/plans")
def list_plans(call: OperatorCall, paging: PageWanted) -> JSONResponse:
    """All plans."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        page = tx.plans.page(page=paging.page, per_page=paging.per_page)
        return paging.answer("plans", [shapes.plain(p) for p in page.rows], page.total)

    return call.read(work)


@router.post("/plans", status_code=201, openapi_extra=body_schema(CreatePlan))
def create_plan(call: OperatorCall) -> Response:
    """Offer a plan."""

    def work(tx: Transaction, _: Caller, body: CreatePlan) -> Done:
        plan = add_plan(tx, Plan(id=0, **body.model_dump()))
        return Done({"plan": shapes.plain(plan)}, 201, details={"plan": plan.name})

    return call.write(CreatePlan, work)
