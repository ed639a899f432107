"""`/admin/v1/capacity`: which failures are survived, what if, and how many more VMs of each plan fit."""

import re
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from app.api.call import Caller, OperatorCall
from app.api.pages import PageWanted
from app.domain.capacity import Capacity
from app.domain.errors import InvalidInput
from app.domain.what_if import NewNode, Stock
from app.ports.store import Transaction
from app.services.ask_capacity import Answer, Question, answer, load_question, stock_of
from app.services.load_view import load_view

router = APIRouter(prefix="/admin/v1/capacity", tags=["capacity"])
_Name = Annotated[str, Query(max_length=255)]
_Names = Annotated[list[str], Query(max_length=50)]
_NODE = re.compile(r"(\d{1,9}):(\d{1,5})(?::([a-zA-Z0-9._-]{1,63}))?")


@router.get("")
def get_capacity(
    call: OperatorCall,
    racks: bool = False,
    failures: Annotated[int | None, Query(ge=1, le=100)] = None,
    lose: _Names = [],  # noqa: B006  FastAPI copies it
    add: Annotated[int, Query(ge=0, le=10_000)] = 0,
    plan: _Name = "",
    fits: _Name = "",
    node: _Names = [],  # noqa: B006
    pool: _Name = "",
) -> JSONResponse:
    """How many failures are survived, and the worst of them.

    What if: `node` MEMORY_MIB:CORES[:RACK] adds nodes, then `add` VMs of `plan` are placed, then the nodes `lose` fail.
    `fits` asks how many more VMs of a plan have room. Only the reading is a transaction; the rest is arithmetic.
    """
    nodes = tuple(map(_new_node, node))
    wanted = Question(racks, failures, tuple(lose), add, plan, fits, nodes, pool)
    loaded = call.read(lambda tx, _: load_question(tx, wanted, call.now))
    return JSONResponse({"capacity": _shown(answer(wanted, loaded))})


@router.get("/stock")
def get_stock(call: OperatorCall, paging: PageWanted, pool: _Name = "") -> JSONResponse:
    """How many more VMs of each plan there is room for, at all and with the guarantee: what can be sold."""

    def work(tx: Transaction, _: Caller) -> tuple[Any, Any, str]:
        page = tx.plans.page(page=paging.page, per_page=paging.per_page)
        return page, load_view(tx, call.now), pool or _first_pool(tx)

    page, view, where = call.read(work)
    return paging.answer("stock", [_stock(s) for s in stock_of(view, page.rows, where)], page.total)


def _first_pool(tx: Transaction) -> str:
    images = tx.images.page(page=1, per_page=1).rows
    return images[0].pool if images else ""


def _new_node(text: str) -> NewNode:
    found = _NODE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise InvalidInput(
            "node", f"{text[:50]!r}: write MEMORY_MIB:CORES or MEMORY_MIB:CORES:RACK, as in 262144:64:r2"
        )
    return NewNode(int(found[1]), int(found[2]), found[3] or "")


def _shown(answer: Answer) -> dict[str, Any]:
    shown = {"guarantee": answer.guarantee, "guarantee_kept": not answer.broken, "broken": answer.broken}
    shown |= _capacity(answer.capacity)
    if answer.added is not None:
        shown["added"] = {"wanted": answer.wanted, "placed": answer.added}
    if answer.loss is not None:
        shown["loss"] = asdict(answer.loss)
    if answer.stock is not None:
        shown["fits"] = _stock(answer.stock)
    return shown


def _capacity(row: Capacity) -> dict[str, Any]:
    return {
        "domain": row.domain,
        "survivable": row.survivable,
        "proof": "exact" if row.exact else "bound",
        "by_room": row.by_room,
        "by_votes": row.by_votes,
        "by_storm_guard": row.by_storm_guard,
        "levels": [
            {**{k: v for k, v in asdict(x).items() if k != "exact"}, "proof": "exact" if x.exact else "bound"}
            for x in row.levels
        ],
        "waiting": [asdict(x) for x in row.waiting],
    }


def _stock(row: Stock) -> dict[str, Any]:
    return asdict(row)
