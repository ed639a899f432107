"""`holdfast cluster init`: the first node of a cluster."""

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.adapters.cluster_files import pki, places
from app.adapters.cluster_files.layout_json import layout_from_text
from app.config import Config, load_config
from app.domain.errors import Conflict
from app.domain.layout import Layout, first_layout
from app.domain.node import NodeRole
from app.setup import node_parts
from app.setup.errors import SetupFailed
from app.setup.machine import Machine
from app.setup.parts import build_store, first_tokens, upgrade_database
from app.setup.steps import Step


@dataclass(frozen=True)
class InitOrder:
    """What the operator wants. `addresses`: one for each link, the preferred first."""

    cluster: str
    node: str
    addresses: tuple[str, ...]
    role: NodeRole
    token_milliseconds: int


class Init:
    """The steps, which share the layout and the secrets that are on this node's disk."""

    def __init__(self, machine: Machine, order: InitOrder) -> None:
        self._machine, self._order = machine, order
        self._layout = self._known_layout() or first_layout(
            order.cluster, order.node, order.addresses, order.role, order.token_milliseconds
        )
        self._own = self._layout.members[0]

    def steps(self) -> list[Step]:
        """In their order."""
        m, layout, own = self._machine, self._layout, self._own
        return [
            Step("programs", lambda: node_parts.check_parts(m)),
            Step("keys and certificates", self._keys),
            Step("corosync", lambda: node_parts.start_corosync(m, layout, self._corosync_key())),
            Step("database", lambda: node_parts.start_database(m, layout, own, first=True)),
            Step("configuration", lambda: node_parts.write_config(m, layout, own, self._password())),
            Step("database user", lambda: node_parts.make_database_user(m, self._password())),
            Step("schema and state", self._state),
            Step("libvirt", lambda: node_parts.start_libvirt(m)),
            Step("agent and API", lambda: node_parts.start_holdfast(m)),
            Step("first answers", lambda: wait_for_agent(m, own.name)),
        ]

    def tokens(self) -> dict[str, str]:
        """What `state` left for the operator."""
        text = self._machine.read(places.FIRST_TOKENS)
        tokens: dict[str, str] = json.loads(text) if text else {}
        return tokens

    def _known_layout(self) -> Layout | None:
        text = self._machine.read(places.LAYOUT)
        if text is None:
            return None
        known = layout_from_text(text.decode())
        own = known.members[0]
        if len(known.members) > 1 or known.name != self._order.cluster or own.name != self._order.node:
            raise Conflict(
                f"this node is in the cluster {known.name} already, with {', '.join(m.name for m in known.members)}:"
                " see `holdfast cluster status`"
            )
        return known

    def _keys(self) -> str:
        m, now = self._machine, datetime.now(UTC)
        ca_key_pem, ca_pem = m.read(places.CA_KEY), m.read(places.CA_CERTIFICATE)
        if ca_key_pem is None or ca_pem is None:
            key = pki.new_key()
            ca_key_pem, ca_pem = pki.key_to_pem(key), pki.new_authority(self._layout.name, key, now)
            m.write(places.CA_CERTIFICATE, ca_pem, 0o644)
            m.write(places.CA_KEY, ca_key_pem, 0o600)
        certificate, node_key_pem = m.read(places.NODE_CERTIFICATE), m.read(places.NODE_KEY)
        if certificate is None or node_key_pem is None:
            node_key = pki.new_key()
            node_key_pem, request = pki.key_to_pem(node_key), pki.new_request(self._own.name, node_key)
            ca_key = pki.key_from_pem(ca_key_pem)
            certificate = pki.sign_request(request, self._own.name, self._own.addresses, ca_pem, ca_key, now)
        node_parts.write_keys(m, ca_pem, certificate, node_key_pem)
        return f"until {now.year + pki.NODE_DAYS // 365}"

    def _corosync_key(self) -> bytes:
        return self._machine.read(places.COROSYNC_KEY) or secrets.token_bytes(256)

    def _password(self) -> str:
        path = places.DATABASE_PASSWORD
        return node_parts.kept_secret(self._machine, path, 24, mode=0o640, group="holdfast").decode()

    def _state(self) -> str:
        config = load_config(self._machine.place(places.CONFIG))
        upgrade_database(config)
        keep_layout(config, self._layout)
        if self._machine.read(places.FIRST_TOKENS) is None:
            try:
                self._machine.write(places.FIRST_TOKENS, json.dumps(first_tokens(config)) + "\n", 0o600)
            except Conflict:
                return "there are tokens already: `holdfast token create` makes more"
        return f"first tokens in {places.FIRST_TOKENS}"


def keep_layout(config: Config, layout: Layout) -> None:
    """Make it the state's, unless that has one."""
    store = build_store(config)
    try:
        store.run(lambda tx: None if tx.layouts.where() else tx.layouts.add(layout))
    finally:
        store.close()


def wait_for_agent(machine: Machine, node: str) -> str:
    """The agent wrote its node into the state: the database, Corosync, libvirt and the agent work together."""
    config = load_config(machine.place(places.CONFIG))
    store = build_store(config)
    try:
        machine.wait(
            lambda: bool(store.run(lambda tx: tx.nodes.where(name=node))), f"the agent of {node}", 120,
            "see `journalctl -u holdfast-agent`",
        )  # fmt: skip
    finally:
        store.close()
    return ""


def need_root(user_id: int) -> None:
    """SetupFailed for anybody else."""
    if user_id != 0:
        raise SetupFailed("only root can set up a node: use sudo")


def own_layout(root: Path = Path("/")) -> Layout:
    """The layout that this node applied last. SetupFailed where it is in no cluster."""
    text = Machine(root).read(places.LAYOUT)
    if text is None:
        raise SetupFailed("this node is in no cluster: `holdfast cluster init` or `join` puts it into one")
    return layout_from_text(text.decode())
