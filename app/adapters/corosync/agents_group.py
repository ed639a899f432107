"""From processes to nodes: what a change of the agents' group means for the nodes."""

from collections.abc import Callable

from app.adapters.corosync.cpg import GroupSeen, Process
from app.domain.events import GroupChanged


class AgentsGroup:
    """Keeps which agent processes are in the group.

    A node is a member as long as one agent process of it is. A second process on a node means that its agent was
    restarted: the node left and joined, in one event, also when the old process is still listed.
    """

    def __init__(self, name_of: Callable[[int], str]) -> None:
        self._name_of = name_of
        self._present: frozenset[Process] = frozenset()

    def take_in(self, seen: GroupSeen) -> GroupChanged | None:
        """None when nothing changed for any node."""
        before = {node for node, _ in self._present}
        now = {node for node, _ in seen.members}
        came = {node for node, _ in (seen.joined & seen.members) | (seen.members - self._present)}
        restarted = before & now & came
        self._present = seen.members
        joined, left = (now - before) | restarted, (before - now) | restarted
        if not joined and not left:
            return None
        return GroupChanged(self._names(now), self._names(joined), self._names(left))

    def lost(self) -> GroupChanged:
        """Corosync is gone: nobody is known to be in the group."""
        left = self._names({node for node, _ in self._present})
        self._present = frozenset()
        return GroupChanged(frozenset(), frozenset(), left)

    def _names(self, nodes: set[int]) -> frozenset[str]:
        return frozenset(self._name_of(node) for node in nodes)
