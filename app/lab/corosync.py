"""Corosync in the lab: one stock `corosync -f` per node over the management network."""

from __future__ import annotations

import os
from pathlib import Path

from app.lab.state import NodeState

ARGV = ("corosync", "-f")


def write_config(directory: Path, nodes: tuple[NodeState, ...], token_milliseconds: int, key: bytes | None) -> None:
    """`directory`: the node's /etc/corosync. `key`: encrypt node-to-node traffic with it; None: plain."""
    (directory / "corosync.conf").write_text(config(nodes, token_milliseconds, encrypted=key is not None))
    if key is not None:
        (directory / "authkey").write_bytes(key)
        (directory / "authkey").chmod(0o400)


def config(nodes: tuple[NodeState, ...], token_milliseconds: int, encrypted: bool) -> str:
    """corosync.conf(5). Its parser wants every `{` at the end of its line."""
    cipher, digest = ("aes256", "sha256") if encrypted else ("none", "none")
    lines = [
        "totem {",
        "version: 2",
        "cluster_name: holdfast",
        "transport: knet",
        f"crypto_cipher: {cipher}",
        f"crypto_hash: {digest}",
        f"token: {token_milliseconds}",
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
