"""The storm guard: when many nodes seem to be lost at once, the fault is more likely with who looks than with them.

A switch that restarts for a minute must not make the survivors cut the power of half a rack. While more than
`ClusterSettings.storm_share` of the nodes are lost no new fence begins; those that had begun go on. It holds the
hand that cuts power, neither the eye nor the clock: a node whose devices read off, or that was absent for longer
than its watchdog, is proven dead all the same, for those proofs hurt nobody. The guard is lifted by an operator, for
a time, or by nodes that return.

"More than": of two nodes one may be fenced with a share of 50 %, and one of three. A node in maintenance is not
counted, neither as lost nor as one that could be.
"""

from app.domain.cluster import ClusterView
from app.domain.node import NodeState

#: the step of an incident that says that its fence is held
HELD = "storm-guard"


def storm(view: ClusterView, missing: frozenset[str]) -> str:
    """Why no new fence may begin; empty when it may. `missing`: nodes that the membership lost just now."""
    settings = view.settings
    lifted = settings.storm_lifted_until is not None and view.at is not None and view.at < settings.storm_lifted_until
    counted = [n for n in view.nodes if not n.maintenance]
    lost = sum(n.state is not NodeState.ONLINE or n.name in missing for n in counted)
    if lifted or lost <= settings.storm_share * len(counted):
        return ""
    return (
        f"{lost} of {len(counted)} nodes are lost, more than {settings.storm_share:.0%}: no new fence begins until "
        "nodes return or an operator lifts the guard (holdfast cluster lift-storm-guard)"
    )
