"""The power actions of a server, and the actions that servers had."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from app.api.call import Caller, CustomerCall, Done, NoBody
from app.api.customer import shapes
from app.api.customer.actions import action_page, find_action
from app.api.customer.servers import Id
from app.api.pages import PageWanted, Sort
from app.domain.vm import Command
from app.ports.store import Transaction
from app.services.find_vm import find_vm
from app.services.power_vm import power_vm

router = APIRouter(prefix="/v1/servers", tags=["server actions"])
Ids = Annotated[list[int] | None, Query()]
Statuses = Annotated[list[str] | None, Query()]


@router.get("/actions")
def list_actions(
    call: CustomerCall, paging: PageWanted, id: Ids = None, status: Statuses = None, sort: Sort = None
) -> JSONResponse:
    """Of all servers of the project, those that are gone included."""
    return call.read(lambda tx, caller: action_page(tx, paging, caller.project_id, id, status, sort))


@router.get("/actions/{action_id}")
def get_action(call: CustomerCall, action_id: Id) -> JSONResponse:
    """One action of any server."""
    return call.read(lambda tx, caller: find_action(tx, caller.project_id, action_id))


@router.get("/{server_id}/actions")
def list_server_actions(
    call: CustomerCall, paging: PageWanted, server_id: Id, status: Statuses = None, sort: Sort = None
) -> JSONResponse:
    """Of one server."""

    def work(tx: Transaction, caller: Caller) -> JSONResponse:
        find_vm(tx, caller.project_id, server_id)
        return action_page(tx, paging, caller.project_id, None, status, sort, vm_id=server_id)

    return call.read(work)


@router.get("/{server_id}/actions/{action_id}")
def get_server_action(call: CustomerCall, server_id: Id, action_id: Id) -> JSONResponse:
    """One action of one server."""

    def work(tx: Transaction, caller: Caller) -> JSONResponse:
        find_vm(tx, caller.project_id, server_id)
        return find_action(tx, caller.project_id, action_id, vm_id=server_id)

    return call.read(work)


def _power(command: Command) -> Callable[[CustomerCall, Id], Response]:
    def route(call: CustomerCall, server_id: Id) -> Response:
        def work(tx: Transaction, caller: Caller, _: NoBody) -> Done:
            action = power_vm(tx, caller.project_id, server_id, command, call.now, call.deps.placement)
            details = {"vm": str(server_id), "action": str(action.id)}
            return Done({"action": shapes.action(action)}, 201, look_at=server_id, look=True, details=details)

        return call.write(NoBody, work)

    return route


for _command in (Command.POWERON, Command.POWEROFF, Command.SHUTDOWN, Command.REBOOT, Command.RESET):
    router.post(f"/{{server_id}}/actions/{_command.value}", status_code=201, name=_command.value)(_power(_command))
