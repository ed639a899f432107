"""What speaks against a node whatever it carries: its role and state, what it reaches, what it is called.

Each rule gives the end of a sentence that begins with the node's name, or nothing. Where an agent said nothing (an
empty list of pools, networks or CPU models) the rule lets the node pass.
"""

from datetime import datetime

from app.domain.node import Node, NodeRole, NodeState
from app.domain.vm import Vm


def closed(node: Node, at: datetime | None, *, recovery: bool) -> str:
    """Why this node takes no VM at all now; empty when it does. `at`: the time of the view, None: unknown."""
    if node.role is NodeRole.WITNESS:
        return "is a witness and hosts no VMs"
    if node.state is not NodeState.ONLINE:
        return f"is {node.state.value}"
    if node.leaving:
        return "is being shut down"
    if node.maintenance:
        return "is in maintenance"
    if node.evacuating:
        return "is being emptied for a maintenance"
    until = node.quarantined_until
    if until is not None and (at is None or at < until):
        return f"is in quarantine until {until.isoformat(timespec='seconds')}, after repeated losses"
    if node.role is NodeRole.SPARE and not recovery:
        return "is a spare, kept empty until a failure"
    return ""


def unsuited(node: Node, vm: Vm) -> str:
    """Why this node is not for this VM, however empty it is; empty when it is."""
    needs = vm.needs
    if node.name in vm.failed_nodes:
        return "failed to start it before"
    if node.pools and vm.pool not in node.pools:
        return f"does not reach the pool {vm.pool}"
    if node.networks and (away := [n for n in needs.networks if n not in node.networks]):
        return f"does not reach the network {away[0]}"
    if needs.cpu_model and node.cpu_models and needs.cpu_model not in node.cpu_models:
        return f"does not offer the CPU model {needs.cpu_model}"
    if lacking := [t for t in needs.tags if t not in node.tags]:
        return f"lacks the tag {lacking[0]}"
    if unwanted := [t for t in needs.avoid_tags if t in node.tags]:
        return f"has the tag {unwanted[0]}, which this VM avoids"
    if node.cores < vm.cores:
        return f"has {node.cores} cores, {vm.cores} needed"
    return ""
