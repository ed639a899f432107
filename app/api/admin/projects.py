"""`/admin/v1/projects`: the tenants."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from app.api.admin import shapes
from app.api.call import Body, Caller, Done, OperatorCall, body_schema
from app.api.customer.bodies import Text
from app.api.pages import PageWanted
from app.domain.errors import NotFound
from app.domain.records import Project
from app.ports.store import Transaction
from app.services.save_project import add_project, change_project

router = APIRouter(prefix="/admin/v1/projects", tags=["projects"])
_Id = Annotated[int, Path(ge=1, le=2**53 - 1)]


class ProjectBody(Body):
    """`vms_max` 0: no limit."""

    name: Text
    vms_max: Annotated[int, Field(ge=0, le=1_000_000)] = 0


@router.get("")
def list_projects(call: OperatorCall, paging: PageWanted) -> JSONResponse:
    """All projects."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        page = tx.projects.page(page=paging.page, per_page=paging.per_page)
        return paging.answer("projects", [shapes.plain(p) for p in page.rows], page.total)

    return call.read(work)


@router.get("/{project_id}")
def get_project(call: OperatorCall, project_id: _Id) -> JSONResponse:
    """One project and how many VMs it has."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        project = tx.projects.get(project_id)
        if project is None:
            raise NotFound(f"there is no project {project_id}")
        vms = tx.vms.page(page=1, per_page=1, project_id=project_id).total
        return JSONResponse({"project": {**shapes.plain(project), "vms": vms}})

    return call.read(work)


@router.post("", status_code=201, openapi_extra=body_schema(ProjectBody))
def create_project(call: OperatorCall) -> Response:
    """Add a tenant."""

    def work(tx: Transaction, _: Caller, body: ProjectBody) -> Done:
        project = add_project(tx, Project(0, body.name, body.vms_max))
        return Done({"project": shapes.plain(project)}, 201, details={"project": str(project.id)})

    return call.write(ProjectBody, work)


@router.put("/{project_id}", openapi_extra=body_schema(ProjectBody))
def update_project(call: OperatorCall, project_id: _Id) -> Response:
    """Change name and limits; both are sent."""

    def work(tx: Transaction, _: Caller, body: ProjectBody) -> Done:
        project = change_project(tx, Project(project_id, body.name, body.vms_max))
        return Done({"project": shapes.plain(project)}, details={"project": str(project.id)})

    return call.write(ProjectBody, work)
