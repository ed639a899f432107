"""An operator, or billing, asks what the cluster can carry. Only the reading needs a transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.capacity import Capacity, broken_promise, prove
from app.domain.cluster import ClusterView
from app.domain.errors import InvalidInput, NotFound
from app.domain.records import Plan
from app.domain.what_if import Loss, NewNode, Stock, lose, stock, with_nodes, with_vms
from app.ports.store import Transaction
from app.services.load_view import load_view


@dataclass(frozen=True, slots=True)
class Question:
    """First `nodes` come, then `add` VMs of `plan`, then `lose` fail. `fits`: a plan to count. `pool`: of new VMs."""

    racks: bool = False
    failures_max: int | None = None
    lose: tuple[str, ...] = ()
    add: int = 0
    plan: str = ""
    fits: str = ""
    nodes: tuple[NewNode, ...] = ()
    pool: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the question needs of the state."""

    view: ClusterView
    pool: str
    plan: Plan | None = None
    fits: Plan | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """`broken`: why the guarantee does not hold, empty when it does. `added`: VMs that found room, of `wanted`."""

    capacity: Capacity
    guarantee: int
    broken: str
    wanted: int = 0
    added: int | None = None
    loss: Loss | None = None
    stock: Stock | None = None


def load_question(tx: Transaction, question: Question, now: datetime) -> Loaded:
    """NotFound for a plan or a node that does not exist, InvalidInput for a count without a plan."""
    if question.add and not question.plan:
        raise InvalidInput("plan", "say which plan the VMs to add are of")
    view = load_view(tx, now)
    for name in question.lose:
        if view.node(name) is None:
            raise NotFound(f"there is no node {name!r}")
    images = tx.images.page(page=1, per_page=1).rows
    pool = question.pool or (images[0].pool if images else "")
    return Loaded(view, pool, _plan(tx, question.plan), _plan(tx, question.fits))


def answer(question: Question, loaded: Loaded) -> Answer:
    """Pure arithmetic; seconds for a large and tight cluster."""
    view = with_nodes(loaded.view, question.nodes)
    added = None
    if question.add and loaded.plan is not None:
        view, added = with_vms(view, loaded.plan, loaded.pool, question.add)
    guarantee = view.settings.guarantee
    return Answer(
        prove(view, racks=question.racks, failures_max=question.failures_max),
        guarantee,
        broken_promise(view, guarantee),
        question.add,
        added,
        lose(view, question.lose) if question.lose else None,
        stock(view, loaded.fits, loaded.pool) if loaded.fits is not None else None,
    )


def stock_of(view: ClusterView, plans: Sequence[Plan], pool: str) -> list[Stock]:
    """What can be sold of each plan."""
    return [stock(view, plan, pool) for plan in plans]


def _plan(tx: Transaction, name: str) -> Plan | None:
    if not name:
        return None
    rows = tx.plans.where(name=name)
    if not rows:
        raise NotFound(f"there is no plan {name!r}; `holdfast capacity` and GET /admin/v1/plans know those there are")
    return rows[0]
