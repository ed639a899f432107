"""`holdfast api --dev`: a first look. One node, SQLite, libvirt's own mock as hypervisor; no root, nothing installed.

The real API and the real agent run in this process, on a directory that is kept between runs, so that what was made
yesterday is there today. Only the guests are not real: libvirt's `test:///default` has domains, but nothing in them.
"""

import json
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import typer

from app.bootstrap.agent import AgentProcess
from app.bootstrap.api import serve_api
from app.bootstrap.state import build_store, first_tokens, upgrade_database
from app.config import (
    ApiSection,
    Config,
    DatabaseSection,
    LibvirtSection,
    NodeSection,
    PoolSection,
    RecoverySection,
    WebhooksSection,
)
from app.domain.records import Image, Plan
from app.ports.store import Transaction

IMAGE, PLANS = "empty", {"small": (1, 512, 5), "medium": (2, 2048, 20)}


def run_dev_api(directory: Path, listen: str) -> None:
    """Serve until Ctrl-C. Tokens are printed, and kept readable for this user only in `directory`/tokens.json."""
    config = _config(directory, listen)
    for made in ("pool/images", "pool/volumes", "console"):
        (directory / made).mkdir(parents=True, exist_ok=True)
    upgrade_database(config)
    tokens = _tokens(config, directory / "tokens.json")
    _furnish(config, directory)
    stop = threading.Event()
    agent = AgentProcess(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    worker = threading.Thread(target=agent.run, name="holdfast-agent")
    worker.start()
    typer.echo(_welcome(config, tokens))
    try:
        serve_api(config, stop)
    finally:
        agent.stop()
        worker.join(timeout=10)


def _config(directory: Path, listen: str) -> Config:
    return Config(
        node=NodeSection(name="localhost", memory_mib=16384, cores=8),
        database=DatabaseSection(urls=(f"sqlite:///{directory}/holdfast.db",)),
        libvirt=LibvirtSection(uri="test:///default", domain_type="test", console_dir=str(directory / "console")),
        recovery=RecoverySection(startup_grace_seconds=0),
        pools=(PoolSection(name="local", driver="file", options={"path": str(directory / "pool")}),),
        api=ApiSection(listen=listen),
        webhooks=WebhooksSection(allow_private_targets=True),
        state_dir=str(directory),
    )


def _tokens(config: Config, file: Path) -> dict[str, str]:
    if file.exists():
        known: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        return known
    tokens = first_tokens(config)
    file.touch(mode=0o600)
    file.write_text(json.dumps(tokens), encoding="utf-8")
    return tokens


def _furnish(config: Config, directory: Path) -> None:
    """An empty image and two plans, so that the first request can be one that creates a server."""
    disk = directory / "pool/images" / f"{IMAGE}.qcow2"
    if not disk.exists():
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "64M"], check=True)

    def fill(tx: Transaction) -> None:
        if not tx.images.where(name=IMAGE):
            tx.images.add(Image(0, IMAGE, "local", disk.name, 1, datetime.now(UTC)))
        for name, (cores, memory_mib, disk_gib) in PLANS.items():
            if not tx.plans.where(name=name):
                tx.plans.add(Plan(0, name, cores, memory_mib, disk_gib))

    store = build_store(config)
    try:
        store.run(fill)
    finally:
        store.close()


def _welcome(config: Config, tokens: dict[str, str]) -> str:
    url = f"http://{config.api.listen}"
    return f"""
holdfast API on {url}  (its description: {url}/openapi.json)
In another shell:

  export HOLDFAST_API={url} HOLDFAST_TOKEN={tokens["project_token"]}
  {sys.argv[0]} vm create hello --plan small --image {IMAGE}
  {sys.argv[0]} vm list

or with any HTTP client:

  curl -s -H "Authorization: Bearer $HOLDFAST_TOKEN" {url}/v1/servers

The operator's token: {tokens["admin_token"]}
Ctrl-C ends it; what you made is kept.
"""
