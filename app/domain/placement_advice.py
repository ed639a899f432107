"""What plugins add to placement: nodes that they refuse for a VM, and nodes that they like better.

The core gets two plain functions by value and knows nothing of plugins. They are asked once for a VM with all nodes
that the rules allow; they must answer the same to the same question, and whoever hands them in sees to it that they
neither raise nor hang (`app.plugin_api.placement_hooks` does).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.domain.node import Node
from app.domain.vm import Vm


def _nothing_against(_vm: Vm, _nodes: tuple[Node, ...]) -> Mapping[str, str]:
    return {}


def _all_alike(_vm: Vm, _nodes: tuple[Node, ...]) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, slots=True)
class PlacementAdvice:
    """`refuse`: node name -> why not. `score`: node name -> points; more is better, a node that is not named has 0."""

    refuse: Callable[[Vm, tuple[Node, ...]], Mapping[str, str]] = _nothing_against
    score: Callable[[Vm, tuple[Node, ...]], Mapping[str, float]] = _all_alike
