"""The agent: inbox -> step() -> execute, again and again. The same for real parts and for the simulator."""

from collections.abc import Callable

from app.domain import coordinator, coordinator_state, node_agent
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.events import Event
from app.domain.node_agent_state import NodeAgentSettings
from app.engine.execute import execute
from app.engine.inbox import Inbox
from app.engine.ports import AgentPorts


class Agent:
    """One node's agent: both cores on one inbox. `tick` does one round and is all that touches the states."""

    def __init__(
        self,
        ports: AgentPorts,
        inbox: Inbox,
        coordinator_settings: CoordinatorSettings,
        node_agent_settings: NodeAgentSettings,
    ) -> None:
        self.ports = ports
        self.inbox = inbox
        self._coordinator_settings = coordinator_settings
        self._node_agent_settings = node_agent_settings
        now = ports.clock.monotonic()
        self.coordinator = coordinator_state.start(ports.facts.name, now)
        self.node = node_agent.start(ports.facts.name, now)

    def tick(self, events: tuple[Event, ...]) -> None:
        """Take in the facts, decide, act. The watchdog is fed last: a round that hangs feeds nothing."""
        now = self.ports.clock.monotonic()
        self.coordinator, lead = coordinator.step(self.coordinator, now, events, self._coordinator_settings)
        self.node, own = node_agent.step(self.node, now, events, self._node_agent_settings)
        for action in (*lead, *own):
            execute(action, self.ports)

    def run(
        self, stopped: Callable[[], bool], *, interval_seconds: float = 0.2, alive: Callable[[], None] = lambda: None
    ) -> None:
        """Rounds until `stopped`: at once when a fact comes in, else every interval. `alive` is told of each."""
        while not stopped():
            self.tick(self.inbox.drain(interval_seconds))
            alive()
