"""What customers' tools call the states of a VM. They know nine and stop at any other.

| here | there | because |
|---|---|---|
| recovering | starting | it is being started again elsewhere, and who waits for `running` waits for the right thing |
| paused | unknown | its CPUs stand still because its node lost its storage or its quorum: neither running nor off |
| unplaced | unknown | it is owed a running copy and no node has room; it starts as soon as one has |

The rest have the same name. The truth is next to it, in the server's field `holdfast`.
"""

from app.domain.vm import Status, Vm, status_of

_THERE = {Status.RECOVERING: "starting", Status.PAUSED: "unknown", Status.UNPLACED: "unknown"}
KNOWN = ("running", "initializing", "starting", "stopping", "off", "deleting", "migrating", "rebuilding", "unknown")
_HINTS = {
    Status.RECOVERING: "its node failed; it is being started on another one",
    Status.PAUSED: "its node has lost its storage or its contact to the others for the moment",
    Status.UNPLACED: "no node has room for it at the moment; it starts by itself as soon as one has",
}


def customer_status(vm: Vm) -> str:
    """One of KNOWN."""
    status = status_of(vm)
    return _THERE.get(status, status.value)


def extra_status(vm: Vm) -> dict[str, str]:
    """What their nine words cannot say."""
    status = status_of(vm)
    return {"status": status.value, "hint": _HINTS.get(status, "")}
