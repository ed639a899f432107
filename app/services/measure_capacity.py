"""The capacity promise as metrics. Arithmetic on a view that was read before: it needs no transaction."""

from prometheus_client.core import Metric

from app.domain.capacity import broken_promise, prove
from app.domain.cluster import ClusterView
from app.services.measure_cluster import one


def measure_capacity(view: ClusterView) -> list[Metric]:
    """What is promised, whether it holds, and what is survived, up to one failure above the promise."""
    wanted = view.settings.guarantee
    survivable = prove(view, failures_max=wanted + 1).survivable
    return [
        one("holdfast_guarantee_failures", "Number of node failures that were promised to be survived", wanted),
        one("holdfast_guarantee_kept", "1 if the promise holds now", not broken_promise(view, wanted)),
        one(
            "holdfast_capacity_survivable_failures",
            "Number of node failures that are survived now; looked at up to one above the promise",
            survivable,
        ),
    ]
