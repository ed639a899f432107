"""What plugins say about placement, made safe: the core is handed two functions that neither raise nor hang.

A recovery must not depend on a plugin. What raises, or answers with something else than it should, is logged and does
not count, that time; what does not answer within `ANSWER_SECONDS_MAX` is not asked again before the next start.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from app.domain.node import Node
from app.domain.placement_advice import PlacementAdvice
from app.domain.vm import Vm

log = structlog.get_logger(__name__)

ANSWER_SECONDS_MAX = 1.0
Hook = Callable[[Vm, tuple[Node, ...]], Any]


class GuardedHook:
    """One plugin's hook. Its answers are checked, and it is dropped when it hangs."""

    def __init__(self, plugin: str, hook: str, ask: Hook, good: Callable[[Any], bool], wanted: str) -> None:
        self._plugin, self._hook, self._ask = plugin, hook, ask
        self._good, self._wanted = good, wanted
        self._dropped = False

    def __call__(self, vm: Vm, nodes: tuple[Node, ...]) -> Mapping[str, Any]:
        """The answer for the nodes that were asked about; nothing when there is no good one."""
        if self._dropped:
            return {}
        answer: list[Any] = []
        failed: list[Exception] = []

        def ask() -> None:
            try:
                answer.append(self._ask(vm, nodes))
            except Exception as error:  # noqa: BLE001
                failed.append(error)

        thread = threading.Thread(target=ask, name=f"{self._plugin} {self._hook}", daemon=True)
        thread.start()
        thread.join(ANSWER_SECONDS_MAX)
        if thread.is_alive():
            self._dropped = True
            return self._ignored(f"no answer within {ANSWER_SECONDS_MAX:g} s; it is not asked again")
        if failed:
            return self._ignored(f"{type(failed[0]).__name__}: {failed[0]}")
        if not isinstance(answer[0], Mapping) or not all(
            isinstance(name, str) and self._good(value) for name, value in answer[0].items()
        ):
            return self._ignored(f"must return {self._wanted}, not {answer[0]!r:.200}")
        asked = {n.name for n in nodes}
        return {name: value for name, value in answer[0].items() if name in asked}

    def _ignored(self, why: str) -> Mapping[str, Any]:
        log.error("a placement hook is ignored", plugin=self._plugin, hook=self._hook, why=why)
        return {}


def is_reason(value: Any) -> bool:
    """A sentence that ends what the node's name begins."""
    return isinstance(value, str) and bool(value.strip())


def is_score(value: Any) -> bool:
    """A number, and a finite one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def advice_of(filters: Sequence[GuardedHook], scores: Sequence[GuardedHook]) -> PlacementAdvice | None:
    """The hooks of all plugins as one value; None where there are none, which keeps plans fast."""
    if not filters and not scores:
        return None

    def refuse(vm: Vm, nodes: tuple[Node, ...]) -> Mapping[str, str]:
        refused: dict[str, str] = {}
        for one in filters:
            refused = {**one(vm, nodes), **refused}
        return refused

    def score(vm: Vm, nodes: tuple[Node, ...]) -> Mapping[str, float]:
        total: dict[str, float] = {}
        for one in scores:
            for name, points in one(vm, nodes).items():
                total[name] = total.get(name, 0.0) + float(points)
        return total

    return PlacementAdvice(refuse, score)
