"""House rules: who may have large VMs, which nodes a test VM keeps away from, and which nodes are liked better."""

from collections.abc import Mapping

from app.plugin_api import Node, Vm, hookimpl

MEMORY_MAX_MIB = 65536


@hookimpl
def holdfast_admit_vm(plan: str, memory_mib: int) -> str | None:
    """A vote on each new VM. The text is what the customer reads."""
    if memory_mib > MEMORY_MAX_MIB:
        return f"servers of more than {MEMORY_MAX_MIB // 1024} GiB ({plan}) are made by our sales team: write to us"
    return None


@hookimpl
def holdfast_placement_filter(vm: Vm, nodes: tuple[Node, ...]) -> Mapping[str, str]:
    """Nodes that this VM may not be on, each with the reason that `holdfast vm explain` then shows."""
    if vm.labels.get("env") != "test":
        return {}
    return {n.name: "is for production, and the VM is labelled env=test" for n in nodes if "production" in n.tags}


@hookimpl
def holdfast_placement_score(nodes: tuple[Node, ...]) -> Mapping[str, float]:
    """Points for nodes that are liked better: here the larger ones. A hook names only the arguments that it needs."""
    return {n.name: n.memory_mib / 1024 for n in nodes}
