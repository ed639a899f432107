"""Corosync in the lab: one stock `corosync -f` per node over the management network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from app.adapters.cluster_files.corosync_conf import HOLD_SOON
from app.lab.state import NodeState

ARGV = ("corosync", "-f")


@dataclass(frozen=True)
class Token:
    """Corosync's time-out for a lost token, in milliseconds; `per_node` is added for each node above two.

    corosync.conf(5), token_coefficient: with its default of 650 a token of 1000 is one of 1650 on three nodes. With 0
    a loss is known after 2.2 s (the token, then a consensus of 1.2 tokens): for machines with time to spare.
    """

    milliseconds: int = 1000
    per_node_milliseconds: int = 650


def write_config(directory: Path, nodes: tuple[NodeState, ...], token: Token, key: bytes | None) -> None:
    """`directory`: the node's /etc/corosync. `key`: encrypt node-to-node traffic with it; None: plain."""
    (directory / "corosync.conf").write_text(config(nodes, token, encrypted=key is not None))
    if key is not None:
        (directory / "authkey").write_bytes(key)
        (directory / "authkey").chmod(0o400)


def config(nodes: tuple[NodeState, ...], token: Token, encrypted: bool) -> str:
    """corosync.conf(5). Its parser wants every `{` at the end of its line."""
    cipher, digest = ("aes256", "sha256") if encrypted else ("none", "none")
    lines = [
        "totem {",
        "version: 2",
        "cluster_name: holdfast",
        "transport: knet",
        f"crypto_cipher: {cipher}",
        f"crypto_hash: {digest}",
        f"token: {token.milliseconds}",
        f"token_coefficient: {token.per_node_milliseconds}",
        HOLD_SOON,
        "}",
        "quorum {",
        "provider: corosync_votequorum",
        "}",
        "nodelist {",
    ]
    for node in nodes:
        lines += [
            "node {",
            f"ring0_addr: {node.address}",
            f"name: {node.name}",
            f"nodeid: {node.number}",
            "}",
        ]
    lines += [
        "}",
        "logging {",
        "to_stderr: yes",
        "to_syslog: no",
        "to_logfile: yes",
        "logfile: /var/log/corosync/corosync.log",
        "timestamp: hires",
        "}",
    ]
    return "\n".join(lines) + "\n"


def new_key() -> bytes:
    return os.urandom(256)
