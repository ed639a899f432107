"""`/admin/v1/webhooks` and `/admin/v1/outbox`: where events go, and what became of each."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse, Response

from app.api.admin import shapes
from app.api.admin.tokens import project_named
from app.api.call import Body, Caller, Done, NoBody, OperatorCall, body_schema
from app.api.customer.bodies import IdOrName
from app.api.pages import PageWanted, Sort, parse_sort
from app.domain.records import WebhookEndpoint
from app.ports.store import Transaction
from app.services.replay_message import replay_message
from app.services.save_endpoint import add_endpoint, change_endpoint, find_endpoint, remove_endpoint
from app.services.try_endpoint import try_endpoint

router = APIRouter(prefix="/admin/v1", tags=["webhooks"])
_Id = Annotated[int, Path(ge=1, le=2**53 - 1)]


class WebhookBody(Body):
    """`events` empty: all. Without a project it hears of everything."""

    url: str
    events: tuple[str, ...] = ()
    project: IdOrName | None = None
    disabled: bool = False

    def endpoint(self, tx: Transaction, endpoint_id: int) -> WebhookEndpoint:
        """The row, without its secret."""
        project_id = project_named(tx, self.project)
        return WebhookEndpoint(endpoint_id, self.url, "", project_id, tuple(dict.fromkeys(self.events)), self.disabled)


@router.get("/webhooks")
def list_webhooks(call: OperatorCall, paging: PageWanted) -> JSONResponse:
    """All endpoints."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        page = tx.endpoints.page(page=paging.page, per_page=paging.per_page)
        return paging.answer("webhooks", [shapes.endpoint(e) for e in page.rows], page.total)

    return call.read(work)


@router.post("/webhooks", status_code=201, openapi_extra=body_schema(WebhookBody))
def create_webhook(call: OperatorCall) -> Response:
    """Add an endpoint. Its secret is in this answer only."""

    def work(tx: Transaction, _: Caller, body: WebhookBody) -> Done:
        row = add_endpoint(tx, body.endpoint(tx, 0))
        answer = {"webhook": shapes.endpoint(row), "secret": row.secret}
        return Done(answer, 201, secret=("secret",), details={"webhook": str(row.id)})

    return call.write(WebhookBody, work)


@router.get("/webhooks/{webhook_id}")
def get_webhook(call: OperatorCall, webhook_id: _Id) -> JSONResponse:
    """One endpoint."""
    return call.read(lambda tx, _: JSONResponse({"webhook": shapes.endpoint(find_endpoint(tx, webhook_id))}))


@router.put("/webhooks/{webhook_id}", openapi_extra=body_schema(WebhookBody))
def update_webhook(call: OperatorCall, webhook_id: _Id) -> Response:
    """Replace all but the secret; `disabled` false lets a disabled one hear again."""

    def work(tx: Transaction, _: Caller, body: WebhookBody) -> Done:
        row = change_endpoint(tx, body.endpoint(tx, webhook_id))
        return Done({"webhook": shapes.endpoint(row)}, details={"webhook": str(row.id)})

    return call.write(WebhookBody, work)


@router.delete("/webhooks/{webhook_id}", status_code=204)
def delete_webhook(call: OperatorCall, webhook_id: _Id) -> Response:
    """Remove an endpoint."""

    def work(tx: Transaction, _: Caller, __: NoBody) -> Done:
        remove_endpoint(tx, webhook_id)
        return Done(None, 204, details={"webhook": str(webhook_id)})

    return call.write(NoBody, work)


@router.post("/webhooks/{webhook_id}/test", status_code=201)
def test_webhook(call: OperatorCall, webhook_id: _Id) -> Response:
    """Deliver a test event to it, once; its row in the outbox then says what came of it."""

    def work(tx: Transaction, caller: Caller, _: NoBody) -> Done:
        row = try_endpoint(tx, webhook_id, caller.token.name, call.now)
        return Done({"message": shapes.message(row)}, 201, details={"webhook": str(webhook_id)})

    return call.write(NoBody, work)


@router.get("/outbox")
def list_outbox(
    call: OperatorCall,
    paging: PageWanted,
    webhook_id: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    kind: str = "",
    undelivered: bool = False,
    sort: Sort = None,
) -> JSONResponse:
    """Events and their deliveries, the newest first."""

    def work(tx: Transaction, _: Caller) -> JSONResponse:
        equals: dict[str, object] = {"kind": kind} if kind else {}
        if webhook_id is not None:
            equals["endpoint_id"] = webhook_id
        if undelivered:
            equals["delivered_at"] = None
        field, descending = parse_sort(sort, ("id", "created", "next_try", "delivered_at"), "id:desc")[0]
        page = tx.outbox.page(page=paging.page, per_page=paging.per_page, sort=field, descending=descending, **equals)
        return paging.answer("outbox", [shapes.message(m) for m in page.rows], page.total)

    return call.read(work)


@router.post("/outbox/{message_id}/replay")
def replay(call: OperatorCall, message_id: _Id) -> Response:
    """Deliver it once more, under the same id."""

    def work(tx: Transaction, _: Caller, __: NoBody) -> Done:
        row = replay_message(tx, message_id, call.now)
        return Done({"message": shapes.message(row)}, details={"message": str(row.id)})

    return call.write(NoBody, work)
