"""The coordinator begins live migrations: what `moves` plans, who goes home (`failback`), and what `rebalance` finds
worth it, one write a view."""

from app.domain.actions import Action, CommitMoves
from app.domain.cluster import ClusterView
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.coordinator_state import CoordinatorState
from app.domain.failback import goes_home, homecomings
from app.domain.moves import Begin, plan_moves
from app.domain.rebalance import look
from app.domain.replace import replace
from app.domain.vm import Vm


def decide_moves(
    state: CoordinatorState, now: float, settings: CoordinatorSettings, actions: list[Action]
) -> CoordinatorState:
    """After the recoveries: a migration is never begun on a view that something was just decided on."""
    view, epoch = state.view, state.epoch
    if view is None or epoch is None or state.writing:
        return state
    view = _only_to_members(view, state.members)
    state = _rest(state, now, view, settings)
    if not _concerned(view):
        return state
    memory, worth = look(view, now, state.rebalance, settings.rebalance)
    by_id = {v.id: v for v in view.vms}
    wishes = tuple(
        Begin(
            m.vm_id, by_id[m.vm_id].generation, by_id[m.vm_id].next_generation, m.target, f"for an even load: {m.why}"
        )
        for m in worth
    )
    resting = {v: "waits a while after a failed try" for v, (_, until) in state.moves_rest.items() if now < until}
    wished = {w.vm_id for w in wishes}
    waits = wished | resting.keys()
    homeward = tuple(_home(by_id[h.vm_id], h.node) for h in homecomings(view) if h.vm_id not in waits)
    plan = plan_moves(view, resting, (*homeward, *wishes))
    for begun in plan.begin:
        memory = memory.moved(begun.vm_id, now) if begun.vm_id in wished else memory
    state = replace(state, rebalance=memory)
    if plan.empty:
        return state
    actions.append(CommitMoves(epoch, plan))
    return replace(state, writing=state.writing | {"moves:"})


def _only_to_members(view: ClusterView, members: frozenset[str]) -> ClusterView:
    """Nothing migrates to a node that Corosync does not see, also where it is not lost yet: it could not go on there,
    and would come after the time by which nothing runs on such a node.
    """
    if members.issuperset(n.name for n in view.nodes):
        return view
    return replace(view, nodes=tuple(n if n.name in members else replace(n, maintenance=True) for n in view.nodes))


def _concerned(view: ClusterView) -> bool:
    """Most views ask for no migration at all: they cost nothing here."""
    if view.settings.rebalance or any(n.evacuating or n.leaving or n.quarantined_until for n in view.nodes):
        return True
    return any(v.migrating_to is not None or v.migration.wanted_to is not None or goes_home(v) for v in view.vms)


def _home(vm: Vm, node: str) -> Begin:
    return Begin(vm.id, vm.generation, vm.next_generation, node, f"{node} is well again, and it belongs there")


def _rest(state: CoordinatorState, now: float, view: ClusterView, settings: CoordinatorSettings) -> CoordinatorState:
    """Note new failures. A new coordinator knows of none and counts the pause from its first look."""
    failed = {v.id: v.migration.tries for v in view.vms if v.migration.tries}
    if not failed and not state.moves_rest:
        return state
    rest = {}
    for vm_id, tries in failed.items():
        known = state.moves_rest.get(vm_id)
        pause = settings.move_retry_seconds * 2 ** min(tries - 1, 6)
        rest[vm_id] = known if known is not None and known[0] == tries else (tries, now + pause)
    return replace(state, moves_rest=rest)
