"""What the demonstration computes, without any lab: the figures out of an incident, the kernel out of its package."""

from __future__ import annotations

import gzip
import json
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

from app.lab.corosync import Token, config
from app.lab.figures import read_figures
from app.lab.guest.build import unpacked
from app.lab.state import NodeState

CUT = datetime(2030, 1, 1, tzinfo=UTC)


def _step(seconds: float, what: str, vm_id: int | None = None) -> dict[str, Any]:
    at = (CUT + timedelta(seconds=seconds)).isoformat()
    return {"at": at, "what": what, "vm_id": vm_id, "node": "n3", "detail": ""}


def test_figures_of_an_incident() -> None:
    steps = [_step(2.2, "detected"), _step(2.5, "fenced"), _step(2.6, "planned"), _step(2.6, "unplaced", 3)]
    steps += [_step(3, "started", 1), _step(3.5, "started", 2), _step(6, "verified", 2), _step(5, "verified", 1)]
    steps += [_step(9, "verified", 99)]
    incident = {"node": "n3", "proof": {"method": "power", "saw": "off"}, "steps": steps}
    figures = read_figures(incident, {1: "a", 2: "b", 3: "c"}, CUT, nodes=3)
    body = json.loads(figures.as_json())
    assert (body["nodes"], body["vms"], body["fence_proof"], body["unplaced"]) == (3, 3, "power", ["c"])
    assert (body["detected_s"], body["fenced_s"], body["planned_s"]) == (2.2, 2.5, 2.6)
    assert (body["first_up_s"], body["all_up_s"], body["double_writes"]) == (5.0, 6.0, 0)
    assert {vm["name"]: (vm["started_s"], vm["verified_s"]) for vm in body["per_vm"]} == {
        "a": (3.0, 5.0), "b": (3.5, 6.0),
    }  # fmt: skip


def _bz_image(payload: bytes) -> bytes:
    setup = bytearray(2 * 512)
    setup[0x1F1] = 1
    struct.pack_into("<II", setup, 0x248, 16, len(payload))
    return bytes(setup) + bytes(16) + payload


def test_the_kernel_inside_of_a_bz_image() -> None:
    kernel = b"\x7fELF" + bytes(1000)
    image = _bz_image(gzip.compress(kernel) + struct.pack("<I", len(kernel)))
    assert unpacked(image) == kernel


def test_a_bz_image_that_nothing_here_can_unpack_stays_as_it_is() -> None:
    for payload in (b"unknown" * 10, gzip.compress(b"not a kernel") + bytes(4)):
        image = _bz_image(payload)
        assert unpacked(image) == image


def test_a_token_means_what_it_says_without_a_coefficient() -> None:
    nodes = tuple(NodeState(f"n{i}", i, "compute", "", 1, 1, f"ns{i}", i) for i in (1, 2, 3))
    lines = config(nodes, Token(1000, per_node_milliseconds=0), encrypted=False).splitlines()
    assert "token: 1000" in lines
    assert "token_coefficient: 0" in lines
