"""The application: every room's routes, the shape of refusals, the envelope around all."""

from importlib.metadata import version

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse

from app.api.admin import routes as admin
from app.api.customer import routes as customer
from app.api.deps import ApiDeps
from app.api.errors import add_error_handlers
from app.api.metrics import ApiMetrics
from app.api.metrics import router as metrics
from app.api.middleware import Envelope
from app.ports.store import StoreUnavailable
from app.services.epoch import current_epoch

VERSION = version("holdfast")

probes = APIRouter(tags=["probes"])


@probes.get("/healthz")
def healthz() -> dict[str, str]:
    """This process answers, and it is of this version."""
    return {"status": "ok", "version": VERSION}


@probes.get("/readyz")
def readyz(request: Request) -> JSONResponse:
    """The database answers, too; 503 otherwise."""
    deps: ApiDeps = request.app.state.deps
    try:
        epoch = deps.store.run(current_epoch)
    except KeyError as error:  # it answers, and has no schema yet
        raise StoreUnavailable(str(error)) from error
    return JSONResponse({"status": "ok", "epoch": epoch.epoch, "coordinator": epoch.holder})


def create_api(deps: ApiDeps) -> FastAPI:
    """The whole API on these parts. It holds no state of its own."""
    api = FastAPI(title="Holdfast", docs_url=None, redoc_url=None, openapi_url="/openapi.json", redirect_slashes=False)
    api.state.deps = deps
    api.state.metrics = ApiMetrics(VERSION)
    for router in (probes, metrics, *customer, *admin):
        api.include_router(router)
    add_error_handlers(api)
    api.add_middleware(
        Envelope, body_bytes_max=deps.settings.body_bytes_max, count=api.state.metrics.count, tracer=deps.tracer
    )
    return api
