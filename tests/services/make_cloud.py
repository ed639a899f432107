"""A store with nodes, a plan and an image, and short ways to ask what the services are asked."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from app.adapters.sim.store import MemoryStore
from app.domain.actions import VmSeen
from app.domain.node import Node
from app.domain.records import ActionStatus, ApiAction, Image, Plan, Project
from app.domain.vm import Command, PowerSeen, Vm
from app.ports.store import Transaction
from app.services.create_vm import CreatedVm, VmOrder, Vote, create_vm
from app.services.power_vm import power_vm
from app.services.report_observed import NodeFacts, report_observed
from tests.domain.make import WHEN, node

T = TypeVar("T")


class Cloud:
    """Two nodes of 4096 MiB; plan `small` of 1024 MiB, `large` of 3072 MiB; project 1."""

    def __init__(self, *nodes: Node) -> None:
        self.store = MemoryStore()
        self.run(lambda tx: self._fill(tx, nodes or (node("n1"), node("n2"))))

    def _fill(self, tx: Transaction, nodes: tuple[Node, ...]) -> None:
        for one in nodes:
            tx.nodes.add(one)
        tx.projects.add(Project(0, "shop"))
        tx.plans.add(Plan(0, "small", 1, 1024, 10))
        tx.plans.add(Plan(0, "large", 2, 3072, 10))
        tx.images.add(Image(0, "debian", "shared", "debian.qcow2", 2, WHEN, memory_min_mib=512))

    def run(self, work: Callable[[Transaction], T]) -> T:
        return self.store.run(work)

    def create(self, name: str = "web", *, votes: tuple[Vote, ...] = (), **order: Any) -> CreatedVm:
        wanted = VmOrder(**{"name": name, "plan": "small", "image": "debian", "labels": {}, **order})

        def work(tx: Transaction) -> CreatedVm:
            (project,) = tx.projects.where()
            return create_vm(tx, project, wanted, votes, WHEN)

        return self.run(work)

    def power(self, command: Command, vm_id: int = 1) -> ApiAction:
        return self.run(lambda tx: power_vm(tx, 1, vm_id, command, WHEN))

    def vm(self, vm_id: int = 1) -> Vm:
        found = self.run(lambda tx: tx.vms.get(vm_id))
        assert found is not None
        return found

    def change(self, vm_id: int = 1, **fields: Any) -> None:
        self.run(lambda tx: tx.vms.save(replace(self._get(tx, vm_id), **fields)))

    def see(self, power: PowerSeen, vm_id: int = 1) -> None:
        """The node of the VM reports about its present placement."""

        def work(tx: Transaction) -> None:
            vm = self._get(tx, vm_id)
            node = tx.nodes.where(name=vm.node)[0]
            facts = NodeFacts(
                node.id, node.name, node.address, node.role, node.memory_mib, node.cores, "", node.watchdog_seconds, ""
            )
            seen = VmSeen(vm.id, vm.generation, power, verified=power is PowerSeen.RUNNING)
            report_observed(tx, facts, [seen], "ok", WHEN)

        self.run(work)

    def change_node(self, name: str, **fields: Any) -> None:
        self.run(lambda tx: tx.nodes.save(replace(tx.nodes.where(name=name)[0], **fields)))

    def node(self, name: str) -> Node:
        return self.run(lambda tx: tx.nodes.where(name=name)[0])

    def actions(self, status: ActionStatus | None = None) -> list[str]:
        rows = self.run(lambda tx: tx.actions.where(**({} if status is None else {"status": status})))
        return [a.command for a in rows]

    @staticmethod
    def _get(tx: Transaction, vm_id: int) -> Vm:
        vm = tx.vms.get(vm_id)
        assert vm is not None
        return vm
