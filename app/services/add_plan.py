"""An operator offers a plan."""

from app.domain.errors import NameTaken
from app.domain.records import Plan
from app.ports.store import Transaction


def add_plan(tx: Transaction, plan: Plan) -> Plan:
    """NameTaken."""
    if tx.plans.where(name=plan.name):
        raise NameTaken(f"a plan with the name {plan.name!r} exists already")
    return tx.plans.add(plan)
