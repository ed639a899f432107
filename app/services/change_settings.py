"""An operator changes what is set for the whole cluster. Arming and disarming are commands of their own."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from app.domain.cluster_settings import ClusterSettings
from app.domain.errors import InvalidInput
from app.domain.placement_strategy import STRATEGIES
from app.domain.records import ClusterEvent
from app.ports.store import Transaction
from app.services.hold_guarantee import check_new_guarantee
from app.services.load_view import current_settings, load_view

#: a change of these changes what the guarantee rests on
_PROMISED_WITH = ("guarantee", "strategy", "memory_overcommit", "cpu_overcommit", "storm_share")


def change_settings(tx: Transaction, changes: Mapping[str, object], now: datetime) -> ClusterSettings:
    """The settings as they are now. InvalidInput names the field. What is said twice is written once."""
    old = current_settings(tx)
    new = replace(old, **changes)  # type: ignore[arg-type]
    if new == old:
        return old
    _check(new)
    if new.guarantee and any(getattr(old, name) != getattr(new, name) for name in _PROMISED_WITH):
        check_new_guarantee(replace(load_view(tx, now), settings=new))
    tx.settings.save(new)
    said = ", ".join(f"{name} {getattr(old, name)} -> {getattr(new, name)}" for name in changes)
    tx.events.add(ClusterEvent(0, now, "cluster.settings", f"settings changed: {said}"))
    return new


def _check(settings: ClusterSettings) -> None:
    """What no single field can say; ranges are checked where the request is parsed."""
    if settings.strategy not in STRATEGIES:
        raise InvalidInput("strategy", f"{settings.strategy!r} is no strategy; there are {', '.join(STRATEGIES)}")
    if settings.migrations_per_node_max > settings.migrations_max:
        raise InvalidInput(
            "migrations_per_node_max",
            f"{settings.migrations_per_node_max} is more than migrations_max, which is {settings.migrations_max}",
        )
