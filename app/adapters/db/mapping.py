"""Frozen values of the domain to rows and back, one table for all kinds.

Fields map by name. What is not a plain column is named here: nested values become columns with a prefix, tuples and
dicts become JSON, enums their value.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from pydantic import TypeAdapter
from sqlmodel import SQLModel

from app.adapters.db import tables as t
from app.domain import records as r
from app.domain.cluster import Incident, IncidentPhase, Proof, Step
from app.domain.cluster_settings import AfterKeep, ClusterSettings
from app.domain.layout import Layout, Member
from app.domain.migration import Migration
from app.domain.node import Node, NodeRole, NodeState
from app.domain.placement_group import GroupDomain, GroupKind, PlacementGroup
from app.domain.policy import HaPolicy, PlacementNeeds
from app.domain.rolling_run import RollingRun, RunState, RunStep
from app.domain.vm import Desired, Observed, PowerSeen, StopMode, Vm

Values = dict[str, Any]


@dataclass(frozen=True)
class Mapped:
    """How one kind is stored. `read` and `write` change the columns that do not map by themselves.

    `nested` columns hold a value each as JSON: a save merges into what is there, see `rows`.
    """

    kind: type
    row: type[SQLModel]
    read: Callable[[Values], Values] = dict
    write: Callable[[Values], Values] = dict
    nested: tuple[str, ...] = ()

    def to_columns(self, value: Any) -> Values:
        """The columns of a value, its id among them."""
        plain = {f.name: getattr(value, f.name) for f in fields(self.kind)}
        return {k: _column(k, v) for k, v in self.write(plain).items()}

    def to_value(self, columns: Mapping[str, Any]) -> Any:
        """The value of a row's columns."""
        return self.kind(**self.read(dict(columns)))


def _column(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return _utc(name, value)
    return value.value if isinstance(value, Enum) else value


def _utc(name: str, value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError(f"{name}: {value!r} has no time zone")
    return value.astimezone(UTC)


#: A nested value is one JSON column: what an older version does not know it neither reads nor removes; what is missing
#: is default.
_HA, _NEEDS, _MIGRATION = TypeAdapter(HaPolicy), TypeAdapter(PlacementNeeds), TypeAdapter(Migration)
_NODE_LISTS = ("cpu_models", "pools", "networks", "tags")


_OBSERVED = tuple(f.name for f in fields(Observed))


def _read_vm(c: Values) -> Values:
    seen = {name: c.pop(f"observed_{name}") for name in _OBSERVED}
    seen["power"] = PowerSeen(seen["power"])
    return {
        **c, "observed": Observed(**seen), "desired": Desired(c["desired"]), "stop_mode": StopMode(c["stop_mode"]),
        "reset_mode": StopMode(c["reset_mode"]), "failed_nodes": tuple(c["failed_nodes"]),
        "ha": _HA.validate_python(c["ha"] or {}), "needs": _NEEDS.validate_python(c["needs"] or {}),
        "migration": _MIGRATION.validate_python(c["migration"] or {}),
    }  # fmt: skip


def _write_vm(v: Values) -> Values:
    seen: Observed = v.pop("observed")
    observed = {f"observed_{name}": getattr(seen, name) for name in _OBSERVED}
    nested = {"ha": _HA.dump_python(v["ha"], mode="json"), "needs": _NEEDS.dump_python(v["needs"], mode="json")}
    nested["migration"] = _MIGRATION.dump_python(v["migration"], mode="json")
    return {**v, **observed, **nested, "failed_nodes": list(v["failed_nodes"])}


def _read_incident(c: Values) -> Values:
    method, saw = c.pop("proof_method"), c.pop("proof_saw")
    steps = (Step(**{**s, "at": datetime.fromisoformat(s["at"])}) for s in json.loads(c["steps"] or "[]"))
    proof = Proof(method, saw) if method is not None else None
    return {**c, "phase": IncidentPhase(c["phase"]), "proof": proof, "steps": tuple(steps)}


def _write_incident(v: Values) -> Values:
    proof: Proof | None = v.pop("proof")
    steps = [{f.name: getattr(s, f.name) for f in fields(Step)} for s in v["steps"]]
    text = json.dumps([{**s, "at": _utc("at", s["at"]).isoformat()} for s in steps], separators=(",", ":"))
    return {**v, "steps": text, "proof_method": proof and proof.method, "proof_saw": proof and proof.saw}


def _read_node(c: Values) -> Values:
    lists = {name: tuple(c[name]) for name in _NODE_LISTS}
    losses = tuple(datetime.fromisoformat(at) for at in c["losses"])
    return {
        **c,
        **lists,
        "storage_cut": tuple(json.loads(c["storage_cut"] or "[]")),
        "losses": losses,
        "role": NodeRole(c["role"]),
        "state": NodeState(c["state"]),
    }


def _write_node(v: Values) -> Values:
    losses = [_utc("losses", at).isoformat() for at in v["losses"]]
    lists = {name: list(v[name]) for name in _NODE_LISTS}
    return {**v, **lists, "losses": losses, "storage_cut": json.dumps(v["storage_cut"])}


def _read_group(c: Values) -> Values:
    return {**c, "kind": GroupKind(c["kind"]), "domain": GroupDomain(c["domain"])}


def _read_action(c: Values) -> Values:
    return {**c, "status": r.ActionStatus(c["status"])}


def _read_settings(c: Values) -> Values:
    return {**c, "isolated_then": AfterKeep(c["isolated_then"])}


def _events_to_tuple(c: Values) -> Values:
    return {**c, "events": tuple(c["events"])}


def _events_to_list(v: Values) -> Values:
    return {**v, "events": list(v["events"])}


def _read_rolling(c: Values) -> Values:
    lists = {name: tuple(c[name]) for name in _RUN_LISTS}
    return {**c, **lists, "state": RunState(c["state"]), "step": RunStep(c["step"])}


def _write_rolling(v: Values) -> Values:
    return {**v, **{name: list(v[name]) for name in _RUN_LISTS}}


_RUN_LISTS = ("pending", "rebooted")
_MEMBERS = TypeAdapter(tuple[Member, ...])


def _read_layout(c: Values) -> Values:
    return {**c, "members": _MEMBERS.validate_python(c["members"])}


def _write_layout(v: Values) -> Values:
    return {**v, "members": _MEMBERS.dump_python(v["members"], mode="json")}


#: attribute of a Transaction -> how its rows are stored
KINDS: dict[str, Mapped] = {
    "vms": Mapped(Vm, t.VmRow, _read_vm, _write_vm, ("ha", "needs", "migration")),
    "nodes": Mapped(Node, t.NodeRow, _read_node, _write_node),
    "incidents": Mapped(Incident, t.IncidentRow, _read_incident, _write_incident),
    "projects": Mapped(r.Project, t.ProjectRow),
    "tokens": Mapped(r.Token, t.TokenRow),
    "plans": Mapped(r.Plan, t.PlanRow),
    "images": Mapped(r.Image, t.ImageRow),
    "actions": Mapped(r.ApiAction, t.ActionRow, _read_action),
    "idempotency": Mapped(r.IdempotencyRecord, t.IdempotencyRow),
    "endpoints": Mapped(r.WebhookEndpoint, t.EndpointRow, _events_to_tuple, _events_to_list),
    "outbox": Mapped(r.OutboxMessage, t.OutboxRow),
    "epochs": Mapped(r.Epoch, t.EpochRow),
    "events": Mapped(r.ClusterEvent, t.EventRow),
    "paths": Mapped(r.NodePath, t.PathRow),
    "fence_checks": Mapped(r.FenceCheck, t.FenceCheckRow),
    "audit": Mapped(r.AuditEntry, t.AuditRow),
    "groups": Mapped(PlacementGroup, t.GroupRow, _read_group),
    "settings": Mapped(ClusterSettings, t.SettingsRow, _read_settings),
    "layouts": Mapped(Layout, t.LayoutRow, _read_layout, _write_layout),
    "rollings": Mapped(RollingRun, t.RollingRow, _read_rolling, _write_rolling),
}
