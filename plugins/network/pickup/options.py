"""What an operator configures of a storage address."""

from ipaddress import IPv4Address

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.plugin_api import PathSettings

#: added to the metric of a route that must not be used; so a configured metric stays below it
PENALTY = 100_000
_DEFAULTS = PathSettings()


class PathOptions(BaseModel):
    """One way to the target. `probe`: the address that is asked whether the path works; empty: the gateway.

    The lower the metric, the more a path is preferred. The interface may come and go.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(min_length=1)
    interface: str = Field(pattern=r"^[^/\s]{1,15}$")
    gateway: IPv4Address
    metric: int = Field(ge=1, lt=PENALTY)
    probe: IPv4Address | None = None

    @property
    def probed(self) -> str:
        """The address that probes go to."""
        return str(self.probe or self.gateway)


class PickupOptions(BaseModel):
    """`target` is the storage service's address, `source` this node's own for storage traffic.

    `close_connections`: on a switch away from a failed path, close TCP connections to the target (`ss -K`). A client
    that reconnects (Ceph, iSCSI, NFS) is then back in 0.1 s instead of waiting for its retransmission timer; turn it
    off for a client that does not reconnect. The other figures are those of the product's `PathSettings`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    target: IPv4Address
    source: IPv4Address
    paths: tuple[PathOptions, ...] = Field(min_length=1)
    close_connections: bool = True
    probe_interval_seconds: float = Field(_DEFAULTS.probe_interval_seconds, ge=0.02, le=60)
    probe_misses_max: int = Field(_DEFAULTS.probe_misses_max, ge=1)
    failback_seconds: float = Field(_DEFAULTS.failback_seconds, ge=0)
    flap_window_seconds: float = Field(_DEFAULTS.flap_window_seconds, ge=0)
    flap_max: int = Field(_DEFAULTS.flap_max, ge=1)

    @model_validator(mode="after")
    def _distinct(self) -> "PickupOptions":
        for what in ("name", "interface", "metric"):
            values = [getattr(path, what) for path in self.paths]
            if len(set(values)) != len(values):
                raise ValueError(f"every path needs a {what} of its own")
        return self

    @property
    def preferred_first(self) -> tuple[PathOptions, ...]:
        """The paths by metric."""
        return tuple(sorted(self.paths, key=lambda path: path.metric))

    @property
    def settings(self) -> PathSettings:
        """What the decision needs."""
        return PathSettings(
            probe_interval_seconds=self.probe_interval_seconds,
            probe_misses_max=self.probe_misses_max,
            failback_seconds=self.failback_seconds,
            flap_window_seconds=self.flap_window_seconds,
            flap_max=self.flap_max,
        )
