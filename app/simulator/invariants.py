"""What must never break (DESIGN section 2), checked after everything that happens.

* At most one: never two copies of a VM whose CPUs run.
* Proof: the VMs of a lost node move only with a proof in its incident, and the proof is true: none of them is up there.
* A VM leaves a node that is online only if that node gave up starting it, or attests that it handed its copy over; and
  no passenger of a migration runs before that is written.
* Self-fence: a node that has a watchdog and is outside of every quorate ring runs nothing once the watchdog's timeout
  and the detection skew have passed. This is the promise that the proof by time rests on. Both count from the end of
  its last lease, if a coordinator lets its VMs run on; and it feeds its watchdog only under such a lease. None is given
  before the incident says so.
* Storage: a node that is cut off from its pools has them again only when it was let in, is clean or was not proven.
* Generations only grow, and grow with every change of node.
* The dead stay dead: what is stopped, locked or deleted is not started, nor is a copy that has another owner.
* A node that was lost or fenced lets nothing run, and an agent that was replaced as the coordinator writes nothing.
* One effect: a node has one incident at a time; an incident that is closed and an action that has ended stay so.
* While an operator has disarmed the cluster nothing is lost, proven, planned or moved by itself, but by software of a
  version that knows of no disarming.
* A node is told to reboot or to upgrade by the coordinator only, and only when nothing is up there.
* Written down: a VM that is given a node, or taken from one, has a step of an incident or an event that says so.
* Never gives up (`settled`): in the end every protected VM is verified up once, or unplaced with a reason that is true.
"""

from functools import partial

from app.adapters.sim.store import Change
from app.domain.cluster import ClusterView, Incident, IncidentPhase
from app.domain.host_shutdown import ShutdownPolicy
from app.domain.node import Node, NodeState
from app.domain.policy import QuorumLoss
from app.domain.recovery import plan_waiting
from app.domain.vm import PowerSeen, Vm
from app.simulator.cluster import SimCluster
from app.simulator.lease_witness import LeaseWitness

#: the most by which a clock of a healthy node can be too fast or too slow
DRIFT = 0.0005
#: how old a reading of the database may be that an agent acts on; the cores have their own figure, checked by this
LEASE_SECONDS = 4.0 * (1 + DRIFT)


_EARLY = (IncidentPhase.FENCING, IncidentPhase.PLANNING)


class Violation(AssertionError):
    """An invariant does not hold. The text says which and where."""


class Invariants:
    """The witness of one simulation. What it finds is kept and raised by `check`, never inside a piece of work."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._cluster: SimCluster | None = None
        #: VM -> when its row last ceased to allow a start here: (node, generation) -> time
        self._ended: dict[tuple[int, str, int], float] = {}
        #: node -> when it was cast out
        self._cast_out: dict[str, float] = {}
        #: node -> since when it is outside of every quorate ring
        self._outside: dict[str, float] = {}
        self._holder = ""

    def watch(self, cluster: SimCluster) -> None:
        """Begin; `committed` and `started` must be the cluster's."""
        self._cluster = cluster
        self._leases = LeaseWitness(cluster, DRIFT, self.found)
        for name, server in cluster.servers.items():
            server.fed = partial(self._fed, name)

    def ring(self, members: frozenset[str], quorate: bool) -> None:
        """A new ring. Who is left outside has the time of its watchdog, and the skew, to run nothing any more but
        what it may keep.
        """
        cluster = self._watched()
        now = cluster.clock.monotonic()
        for name in members if not quorate else [n for n in cluster.servers if n not in members]:
            if name not in self._outside:
                self._outside[name] = now
                self._look_at(name, now)
        for name in members if quorate else ():
            self._leases.in_the_ring(name, self._outside.pop(name, None))

    def _copies(self, name: str) -> list[int]:
        """The VMs that are up there, but for those that it may keep: nobody else reaches their disks."""
        cluster = self._watched()
        kept = {v.id for v in cluster.view().vms if v.local and v.ha.on_quorum_loss is QuorumLoss.KEEP}
        return sorted(cluster.servers[name].hypervisor.copies().keys() - kept)

    def _writing(self, name: str) -> list[int]:
        """Those of them that can write: not cut off from their volumes."""
        cluster = self._watched()
        return [vm_id for vm_id in self._copies(name) if not cluster.storage_fences.cut_off(name, vm_id)]

    def _look_at(self, name: str, since: float) -> None:
        cluster = self._watched()
        watchdog = cluster.servers[name].layout.watchdog_seconds
        if watchdog is None:
            return
        wait = (watchdog + cluster.layout.detection_skew_seconds) * (1 + DRIFT)

        def look() -> None:
            leased_until = self._leases.over_at(name, since)
            if leased_until + wait > cluster.clock.monotonic() and leased_until > since:
                cluster.clock.at(leased_until + wait, look)
                return
            copies = self._copies(name)
            if self._outside.get(name) == since and copies:
                self.found.append(
                    f"{name} is outside of the quorate ring for {wait:.1f} s, and VMs {copies} are up there"
                )

        cluster.clock.at(since + wait, look)

    def _fed(self, name: str) -> None:
        """A node fed its watchdog. Outside of the ring, with VMs up, only a lease allows that."""
        cluster, since = self._watched(), self._outside.get(name)
        now = cluster.clock.monotonic()
        if since is None or now <= since + cluster.layout.detection_skew_seconds * (1 + DRIFT):
            return
        if now > self._leases.over_at(name, since) and self._copies(name):
            self.found.append(f"{name} fed its watchdog {now - since:.1f} s after it left the ring, without a lease")

    def _leased(self, name: str) -> bool:
        since = self._outside.get(name)
        return since is not None and since < self._watched().clock.monotonic() <= self._leases.over_at(name, since)

    def check(self) -> None:
        """After everything that happens. Violation with the first that was found."""
        cluster = self._watched()
        found = self.found or cluster.disks.violations
        if found:
            raise Violation(f"+{cluster.clock.monotonic():.1f}s {found[0]}")

    def committed(self, who: str, changes: list[Change]) -> None:
        """A transaction ended."""
        if self._cluster is None:
            return
        incidents = {c.after.id: c.after for c in changes if c.kind == "incidents" and c.after is not None}
        nodes = {c.after.name: c for c in changes if c.kind == "nodes" and c.after is not None}
        for change in changes:
            if change.kind == "vms" and change.before is not None:
                self._vm_changed(change.before, change.after, incidents, nodes)
            if change.kind == "epochs":
                self._holder = change.after.holder
                if change.after.epoch < change.before.epoch:
                    self.found.append("the epoch went backwards")
        for change in changes:
            self._judge(who, change)
            self._once(change)
        self._written_down(changes)

    def started(self, node: str, vm_id: int, generation: int) -> None:
        """A copy was let run. What was allowed when its agent last read the database is forgiven for the lease."""
        cluster = self._watched()
        ended = self._ended.get((vm_id, node, generation))
        lease = LEASE_SECONDS
        if self._leased(node):
            return  # it goes on with what it has: nobody has decided about it
        cast_out = self._cast_out.get(node)
        # a resume that began under its lease may end when the node is in the ring again, and not let in yet
        began_leased = cluster.clock.monotonic() <= self._leases.left_until(node)
        if cast_out is not None and not began_leased and cluster.clock.monotonic() - cast_out > lease:
            self.found.append(f"{node} let VM {vm_id} run, and was cast out more than {lease:g} s before")
        if ended is not None and cluster.clock.monotonic() - ended > lease:
            self.found.append(f"{node} started VM {vm_id} in generation {generation}, which was over for {lease:g} s")
        vm = cluster.database.truth.run(lambda tx: tx.vms.get(vm_id))
        if vm is not None and generation > vm.generation:
            self.found.append(f"{node} started VM {vm_id} in generation {generation}, its row has {vm.generation}")

    def all_well(self) -> bool:
        """True when `settled` finds nothing."""
        try:
            self.settled()
        except Violation:
            return False
        return True

    def settled(self) -> None:
        """After faults ended and time passed: nothing may be left undone."""
        cluster = self._watched()
        view = cluster.view()
        waits = {u.vm_id for u in plan_waiting(view).assigned}
        for vm in view.vms:
            if not vm.wants_to_run:
                copies = [n for n, s in cluster.servers.items() if vm.id in s.hypervisor.copies()]
                if copies:
                    raise Violation(f"{vm.name} is wanted off and still has a copy on {', '.join(copies)}")
            elif vm.node is None:
                if not vm.unplaced_reason or vm.id in waits:
                    raise Violation(f"{vm.name} is unplaced without a reason that is true: {vm.unplaced_reason!r}")
            elif not vm.verified and vm.unplaced_reason and not _online(view, vm.node):
                continue  # it waits for its node, and says so
            elif not vm.verified:
                raise Violation(f"{vm.name} is not verified up on {vm.node}: seen {vm.observed}")
            elif cluster.disks.writers(vm.id) == frozenset():
                raise Violation(f"{vm.name} is said to be up on {vm.node} and nothing runs")
        unplaced = {v.incident_id for v in view.vms if v.wants_to_run and v.node is None}
        for incident in view.incidents:
            if incident.id not in unplaced:
                raise Violation(f"the incident of {incident.node} is still open in phase {incident.phase.value}")
        fences = cluster.storage_fences.values()
        moving = [v.name for v in view.vms if v.migrating_to is not None]
        if moving:
            raise Violation(f"{', '.join(moving)} migrates for ever")
        for name, server in cluster.servers.items():
            strangers = [i for i, g in server.hypervisor.copies().items() if not _owned(view, name, i, g)]
            if strangers:
                raise Violation(f"{name} has copies that no row names: VMs {strangers}")
        cut = [n.name for n in view.online() if n.storage_cut or any(f.is_cut(n.name) for f in fences)]
        if cut:
            raise Violation(f"{', '.join(cut)} is let in and cut off from its storage")
        kept_out = [n for n in view.nodes if n.quarantined_until is None and n.state is not NodeState.ONLINE]
        away = [n.name for n in kept_out if cluster.servers[n.name].on]
        if away:
            raise Violation(f"{', '.join(away)} is on and not let in again")

    def _judge(self, who: str, change: Change) -> None:
        """What only the coordinator may write, and what follows for the node."""
        before, after, wrote = change.before, change.after, ""
        if change.kind == "nodes" and before is not None and before.state is not after.state:
            if before.state is NodeState.ONLINE:
                self._cast_out[after.name] = self._watched().clock.monotonic()
            elif after.state is NodeState.ONLINE:
                self._cast_out.pop(after.name, None)
            if before.state is not NodeState.FENCED:
                wrote = f"made {after.name} {after.state.value}"
        if change.kind == "nodes" and before is not None and after.reboot_of and not before.reboot_of:
            wrote = f"had {after.name} rebooted"
            copies = self._copies(after.name)
            if copies:
                self.found.append(f"{after.name} is to reboot, and VMs {copies} are up there")
        if change.kind == "nodes" and before is not None and after.upgrade_to and not before.upgrade_to:
            wrote = f"had {after.name} upgraded"
            copies = self._copies(after.name)
            if copies:
                self.found.append(f"{after.name} is to upgrade, and VMs {copies} are up there")
        if change.kind == "incidents" and (before is None or before.phase is not after.phase):
            wrote = f"wrote phase {after.phase.value} of the incident of {after.node}"
        if change.kind == "vms" and before is not None and after is not None and before.node != after.node:
            handed_over = (before.migrating_to is not None or after.node is None) and before.node == who
            # a request may place a VM that is off
            wrote = "" if handed_over or who == "customer" else f"moved {after.name}"
        if wrote and who != self._holder:
            self.found.append(f"{who} {wrote}, and {self._holder or 'nobody'} is the coordinator")
        if wrote and not wrote.startswith("wrote phase closed") and self._may_not_decide(who):
            self.found.append(f"{who} {wrote}, while an operator has disarmed the cluster")

    def _may_not_decide(self, who: str) -> bool:
        cluster = self._watched()
        return not cluster.view().settings.armed and not (who in cluster.servers and cluster.servers[who].outdated)

    def _once(self, change: Change) -> None:
        """What has ended stays as it is, and nothing is begun twice."""
        before, after = change.before, change.after
        if change.kind == "incidents" and before is None:
            others = self._watched().database.truth.run(lambda tx: tx.incidents.where(node=after.node, phase=_EARLY))
            if len(others) > 1:
                self.found.append(f"{after.node} has {len(others)} incidents at a time")
        if change.kind == "incidents" and before is not None and before.phase is IncidentPhase.CLOSED:
            self.found.append(f"the incident {before.id} of {before.node} is closed, and was written to")
        if change.kind == "vms" and before is not None and after is not None and before.incident_id is not None:
            self._left_its_incident(before, after)
        if change.kind == "actions" and before is not None and before.finished and before != after:
            self.found.append(f"the action {before.id} has ended as {before.status.value}, and became {after}")
        if change.kind == "incidents" and after.proof is not None and (before is None or before.proof is None):
            # A device that shows what is not makes a false proof. It must be void before a VM moves: see `_left`.
            copies = self._writing(after.node)
            faked = self._watched().fence.faked.union(*(f.faked for f in self._watched().storage_fences.values()))
            if copies and after.node not in faked:
                self.found.append(f"{after.node} is said to be fenced by {after.proof.method}, and VMs {copies} are up")

    def _left_its_incident(self, before: Vm, after: Vm) -> None:
        if after.incident_id is None and after.wants_to_run and not after.verified:
            self.found.append(f"{after.name} is not verified up, and its incident {before.incident_id} is closed")

    def _written_down(self, changes: list[Change]) -> None:
        """Nobody has to wonder why a VM is where it is."""
        told = {c.after.vm_id for c in changes if c.kind == "events" and c.after is not None}
        for change in changes:
            if change.kind == "incidents":
                known = len(change.before.steps) if change.before is not None else 0
                told |= {s.vm_id for s in change.after.steps[known:]}
        for change in changes:
            before, after = change.before, change.after
            if change.kind != "vms" or before is None or after is None or before.node == after.node:
                continue
            if after.wants_to_run and after.id not in told:
                self.found.append(f"{after.name} went from {before.node} to {after.node}, and nothing says why")

    def _watched(self) -> SimCluster:
        assert self._cluster is not None
        return self._cluster

    def _vm_changed(
        self, before: Vm, after: Vm | None, incidents: dict[int, Incident], nodes: dict[str, Change]
    ) -> None:
        now = self._watched().clock.monotonic()
        placed = before.node is not None and before.wants_to_run
        if placed and (after is None or not after.wants_to_run or (after.node, after.generation) != _place(before)):
            self._ended[before.id, before.node or "", before.generation] = now
        if after is None:
            return
        if after.wants_to_run and after.node:
            self._ended.pop((after.id, after.node, after.generation), None)
        if after.generation < before.generation:
            self.found.append(f"the generation of {before.name} fell from {before.generation} to {after.generation}")
        if after.node != before.node and after.generation <= before.generation:
            self.found.append(f"{before.name} went from {before.node} to {after.node} without a new generation")
        if before.node is not None and after.node != before.node:
            self._left(before, before.node, incidents, nodes)

    def _left(self, vm: Vm, node: str, incidents: dict[int, Incident], nodes: dict[str, Change]) -> None:
        """A VM was taken from a node: only with a true proof, or because the node had given it up."""
        cluster = self._watched()
        state = self._node(node, nodes).state
        gave_up = vm.seen_current and vm.observed.power is PowerSeen.FAILED
        copy = cluster.servers[node].hypervisor.domain(vm.id)
        handed_over = vm.migrating_to is not None and copy is not None and copy.ended == "migrated"
        if handed_over:
            return
        gave_up = gave_up or self._node(node, nodes).leaving == ShutdownPolicy.RESTART_ELSEWHERE
        if state is NodeState.ONLINE and not gave_up:
            self.found.append(f"{vm.name} was taken from {node}, which is online and had not given it up")
        if state is not NodeState.ONLINE and not self._proven(node, incidents):
            self.found.append(f"{vm.name} was taken from {node} without a proof that it is fenced")
        copies = cluster.servers[node].hypervisor.copies()
        if vm.id in copies and not cluster.storage_fences.cut_off(node, vm.id):
            self.found.append(f"{vm.name} was taken from {node}, where generation {copies[vm.id]} is still up")

    def _node(self, name: str, nodes: dict[str, Change]) -> Node:
        """The row as it was before the transaction."""
        if name in nodes:
            before: Node = nodes[name].before
            return before
        found = self._watched().view().node(name)
        assert found is not None
        return found

    def _proven(self, node: str, incidents: dict[int, Incident]) -> bool:
        mine = [i for i in incidents.values() if i.node == node]
        return any(i.proof is not None and i.phase is IncidentPhase.STARTING for i in mine)


def _online(view: ClusterView, node: str) -> bool:
    return any(n.name == node for n in view.online())


def _place(vm: Vm) -> tuple[str | None, int]:
    return vm.node, vm.generation


def _owned(view: ClusterView, node: str, vm_id: int, generation: int) -> bool:
    return any(v.id == vm_id and (v.node, v.generation) == (node, generation) for v in view.vms)
