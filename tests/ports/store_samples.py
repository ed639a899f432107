"""Values of every kind that a store keeps: one with as much as possible in it, one with as little."""

from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.cluster import Incident, IncidentPhase, Proof, Step
from app.domain.cluster_settings import ClusterSettings
from app.domain.layout import Layout, Member
from app.domain.migration import Migration
from app.domain.node import Node, NodeRole, NodeState
from app.domain.placement_group import GroupDomain, GroupKind, PlacementGroup
from app.domain.policy import AfterEnd, AfterIoError, HaClass, HaPolicy, PlacementNeeds, QuorumLoss
from app.domain.records import (
    ActionStatus,
    ApiAction,
    AuditEntry,
    ClusterEvent,
    Epoch,
    FenceCheck,
    IdempotencyRecord,
    Image,
    NodePath,
    OutboxMessage,
    Plan,
    Project,
    Token,
    WebhookEndpoint,
)
from app.domain.rolling_run import RollingRun, RunState, RunStep
from app.domain.vm import Desired, Observed, PowerSeen, StopMode, Vm

NOW = datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=UTC)
LATER = NOW + timedelta(microseconds=1)
ODD = "Ünïcode 🚀 100 % 'quoted' \"twice\" \\back\nnew line"
LONG = ODD * 3000


def vm(name: str = "web-1", project_id: int = 7, **changes: Any) -> Vm:
    fields: dict[str, Any] = {
        "plan": "small", "cores": 2, "memory_mib": 2048, "disk_gib": 20, "image": "debian-12",
        "pool": "local", "created": NOW,
    }  # fmt: skip
    return Vm(id=0, name=name, project_id=project_id, **{**fields, **changes})


def full_vm() -> Vm:
    return vm(
        desired=Desired.STOPPED,
        stop_mode=StopMode.ACPI,
        locked=True,
        node="node-1",
        generation=12,
        priority=90,
        resets_wanted=3,
        reset_mode=StopMode.ACPI,
        observed=Observed(PowerSeen.FAILED, 11, "node-2", LATER, ODD, 2, "hung", 7, 3),
        unplaced_reason=ODD,
        incident_id=4,
        failed_nodes=("node-2", "node-3"),
        labels={"env": "prod", "ü": ODD, "": ""},
        user_data=LONG,
        ha=HaPolicy(
            HaClass.BEST_EFFORT,
            QuorumLoss.KEEP,
            AfterEnd.STOP,
            AfterEnd.RESTART,
            AfterEnd.IGNORE,
            AfterEnd.STOP,
            12.5,
            0.1,
            (3, 4),
            True,
            AfterIoError.KEEP,
        ),
        needs=PlacementNeeds(("ssd", "ü"), ("old",), ("dmz",), "EPYC", ("db",)),
        migrating_to="node-3",
        migration=Migration(13, "node-3", ODD, NOW, 42, ODD, 2, ODD),
        local=True,
        home="node-9",
        correlation_id="incident-3",
    )


STEPS = (Step(NOW, "opened"), Step(LATER, "placed", ODD, 17, "node-2"))

#: attribute of a Transaction -> (full, least)
SAMPLES: dict[str, tuple[Any, Any]] = {
    "vms": (full_vm(), vm("least")),
    "nodes": (
        Node(
            0,
            "node-1",
            "10.0.0.1",
            NodeRole.SPARE,
            NodeState.FENCED,
            262144,
            64,
            "r1",
            True,
            10.1,
            "b-1",
            ODD,
            5,
            ("EPYC",),
            ("ceph",),
            ("dmz",),
            ("ssd", "ü"),
            True,
            (NOW, LATER),
            LATER,
            leaving="freeze",
            frozen_until=LATER,
            reboot_of="b-1",
            storage_cut=("ceph", "ü"),
            storage_token=1_800_000_000_123,
            cleaned=True,
        ),
        Node(0, "node-2", "10.0.0.2"),
    ),
    "incidents": (
        Incident(0, "node-1", IncidentPhase.STARTING, NOW, LATER, Proof("fence_ipmilan", ODD), LONG, STEPS),
        Incident(0, "node-1", IncidentPhase.FENCING, NOW),
    ),
    "projects": (Project(0, ODD, 12), Project(0, "least")),
    "tokens": (Token(0, ODD, "a" * 64, "write", 7, NOW, LATER), Token(0, "least", "b" * 64, "admin", None, NOW)),
    "plans": (Plan(0, "small", 2, 2048, 20, ODD), Plan(0, "least", 1, 128, 1)),
    "images": (
        Image(0, "debian-12", "local", "/images/x", 5, NOW, "/k", "/i", ODD, 512, "debian", "12"),
        Image(0, "least", "local", "/images/y", 1, NOW),
    ),
    "actions": (
        ApiAction(0, 7, "create", 3, ActionStatus.ERROR, NOW, LATER, 50, "no_space", LONG, "corr-1"),
        ApiAction(0, 7, "create", 3, ActionStatus.RUNNING, NOW),
    ),
    "idempotency": (
        IdempotencyRecord(0, 7, "key", "c" * 64, 201, LONG, NOW),
        IdempotencyRecord(0, 8, "key", "c" * 64, 201, "", NOW),
    ),
    "endpoints": (
        WebhookEndpoint(0, "https://example.com/" + "x" * 2000, "whsec_x", 7, ("vm.started", "vm.stopped"), True),
        WebhookEndpoint(0, "https://example.com/", "whsec_y"),
    ),
    "outbox": (
        OutboxMessage(0, 3, "msg_1", "vm.started", LONG, NOW, 4, LATER, LATER, ODD),
        OutboxMessage(0, 3, "msg_2", "vm.started", "{}", NOW),
    ),
    "epochs": (Epoch(0, 3, "node-1", NOW, 99), Epoch(0, 4, "")),
    "events": (ClusterEvent(0, NOW, "path.switched", LONG, "node-1", 3, "corr-1"), ClusterEvent(0, NOW, "x", "")),
    "paths": (
        NodePath(0, "node-1", "10.99.0.1", "ib0", True, False, NOW, ODD, 0.123456789012345),
        NodePath(0, "node-1", "10.99.0.1", "eth1", False, True, NOW),
    ),
    "fence_checks": (
        FenceCheck(0, "node-1", "power2", "node-2", True, LONG, NOW, LATER),
        FenceCheck(0, "node-1", "power", "node-2", False, "", NOW, NOW),
    ),
    "groups": (
        PlacementGroup(0, 7, ODD, GroupKind.TOGETHER, GroupDomain.RACK, {"ü": ODD}, LATER),
        PlacementGroup(0, 7, "least"),
    ),
    "settings": (
        ClusterSettings(0, False, "op", ODD, NOW, "best-fit", 2, 1.5, 8.25, 0.3, 4, 1.5, 2.5, 3, 2, 5, True, LATER),
        ClusterSettings(0),
    ),
    "layouts": (
        Layout(0, 7, "rack-1", 1500, (Member(1, "node1", ("10.0.0.1", "fd00::1"), NodeRole.WITNESS, False),), 9),
        Layout(0, 1, "least", 1000, (), 2),
    ),
    "rollings": (
        RollingRun(
            0,
            RunState.STOPPING,
            ("node-3",),
            ("node-1", "ü"),
            "node-2",
            RunStep.SETTLING,
            "b-1",
            NOW,
            LATER,
            True,
            LONG,
            7,
            "1.2.0",
        ),
        RollingRun(0),
    ),
    "audit": (
        AuditEntry(0, NOW, 5, 7, "POST", "/v1/servers?" + "x" * 3000, 201, "corr-1", {"vm": "3", "ü": ODD}),
        AuditEntry(0, NOW, None, None, "GET", "/", 401, ""),
    ),
}
