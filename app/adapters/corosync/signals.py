"""Signals on the wire: a small JSON object, {"version": 1, "kind": ..., "vm_id": number or null, "epoch": number},
and "node": text where it is about a node.
"""

import json

from app.domain.events import SignalReceived

VERSION = 1
PAYLOAD_BYTES_MAX = 1024
KIND_CHARACTERS_MAX = 64
NODE_CHARACTERS_MAX = 255


class MalformedSignal(ValueError):
    """Not a signal of this version. The text says why."""


def encode(kind: str, vm_id: int | None, epoch: int, node: str = "") -> bytes:
    """One signal as bytes."""
    about = {"node": node} if node else {}
    return json.dumps({"version": VERSION, "kind": kind, "vm_id": vm_id, "epoch": epoch, **about}).encode()


def decode(sender: str, payload: bytes) -> SignalReceived:
    """Raises MalformedSignal. Fields that this version does not know are passed over."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise MalformedSignal(f"{len(payload)} bytes, at most {PAYLOAD_BYTES_MAX} are a signal")
    try:
        data = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MalformedSignal(f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise MalformedSignal("not a JSON object")
    if data.get("version") != VERSION:
        raise MalformedSignal(f"version {data.get('version')!r}, this is version {VERSION}")
    kind, vm_id, epoch = data.get("kind"), data.get("vm_id"), data.get("epoch")
    if not isinstance(kind, str) or not 0 < len(kind) <= KIND_CHARACTERS_MAX:
        raise MalformedSignal(f"kind must be a word, is {kind!r}")
    node = data.get("node", "")
    if not isinstance(node, str) or len(node) > NODE_CHARACTERS_MAX:
        raise MalformedSignal(f"node must be the name of a node, is {node!r:.80}")
    about_vm = None if vm_id is None else _number("vm_id", vm_id)
    return SignalReceived(sender, kind, about_vm, _number("epoch", epoch), node)


def _number(field: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedSignal(f"{field} must be a number from 0 on, is {value!r}")
    return value
