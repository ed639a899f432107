"""Requests of customers and operators in a script, by the services that the API calls: they may be refused."""

from collections.abc import Callable

from app.domain.errors import DomainError
from app.domain.records import Plan, Project
from app.domain.vm import Command as Power
from app.ports.store import Transaction
from app.services.change_settings import change_settings
from app.services.create_vm import VmOrder, create_vm
from app.services.power_vm import power_vm
from app.services.set_maintenance import set_maintenance
from app.simulator.cluster import SimCluster

#: the commands of a script that are requests
REQUESTS = (("vm", "create"), ("vm", "poweron"), ("vm", "poweroff"), ("cordon",), ("uncordon",), ("guarantee",))


def perform_request(cluster: SimCluster, words: tuple[str, ...], about: tuple[str, ...]) -> None:
    """All of it or nothing; a refusal is told."""
    now = cluster.clock.utc()

    def work(tx: Transaction) -> None:
        match words:
            case ("vm", "create"):
                _create(tx, about[0], int(about[1]), cluster)
            case ("vm", "poweron" | "poweroff" as what):
                (vm,) = tx.vms.where(name=about[0])
                power_vm(tx, vm.project_id, vm.id, Power(what), now)
            case ("cordon" | "uncordon" as what,):
                set_maintenance(tx, about[0], what == "cordon", now)
            case ("guarantee",):
                change_settings(tx, {"guarantee": int(about[0])}, now)

    _say_refusal(cluster, lambda: cluster.write(work))


def _say_refusal(cluster: SimCluster, ask: Callable[[], None]) -> None:
    try:
        ask()
    except DomainError as refused:
        cluster.tell(">>", f"is refused: {refused}")


def _create(tx: Transaction, name: str, memory_mib: int, cluster: SimCluster) -> None:
    """A VM of one core, of a plan with so much memory."""
    project = next(iter(tx.projects.where()), None) or tx.projects.add(Project(0, "customer"))
    plan = f"m{memory_mib}"
    if not tx.plans.where(name=plan):
        tx.plans.add(Plan(0, plan, 1, memory_mib, 10))
    create_vm(tx, project, VmOrder(name, plan, "image", {}), (), cluster.clock.utc())
