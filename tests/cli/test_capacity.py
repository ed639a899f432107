"""`holdfast capacity` against a real API on a loopback port."""

import json
from collections.abc import Iterator

import pytest
import structlog
from typer.testing import CliRunner, Result

from app.adapters.sim.store import MemoryStore
from app.cli.main import main
from app.domain.vm import Vm
from app.ports.store import Transaction
from tests.api.live import LiveApi
from tests.domain.make import vm


@pytest.fixture
def live() -> Iterator[LiveApi]:
    """Three nodes of 4096 MiB with three VMs of 1024 MiB each."""
    with structlog.testing.capture_logs(), LiveApi(MemoryStore(), agents=False) as api:
        rows = [vm(0, f"n{n}", memory_mib=1024) for n in (1, 2, 3) for _ in range(3)]

        def fill(tx: Transaction) -> None:
            for i, row in enumerate(rows):
                tx.vms.add(Vm(**{f: getattr(row, f) for f in row.__slots__} | {"name": f"web{i}"}))

        api.store.run(fill)
        yield api


def _holdfast(live: LiveApi, *words: str) -> Result:
    env = {"HOLDFAST_API": live.url, "HOLDFAST_TOKEN": live.tokens.admin, "COLUMNS": "250"}
    return CliRunner().invoke(main, ("capacity", *words), env=env)


def test_the_report_names_the_worst_case_and_the_vms(live: LiveApi) -> None:
    said = _holdfast(live)
    assert said.exit_code == 0, said.output
    assert "node failures survived" in said.stdout
    assert "would have no node" in said.stdout
    assert "no node can take it" in said.stdout
    row = json.loads(_holdfast(live, "--json").stdout)
    assert (row["survivable"], row["proof"], row["levels"][0]["worst"]) == (0, "exact", ["n3"])


def test_what_if(live: LiveApi) -> None:
    said = _holdfast(live, "--lose", "n1", "--lose", "n2", "--add", "2", "--plan", "small", "--fits", "small")
    assert said.exit_code == 0, said.output
    assert "Of 2 VMs to add 2 have room." in said.stdout
    assert "The loss of n1, n2 is NOT survived" in said.stdout
    assert "1 more of small fit, 1 of them with the guarantee of 0" in said.stdout
    better = _holdfast(live, "--lose", "n1", "--add-node", "8192:8")
    assert "The loss of n1 is survived; after it 0 more could be, by room." in better.stdout


def test_votes_are_named_when_they_are_the_limit(live: LiveApi) -> None:
    said = _holdfast(live, *("--add-node", "65536:64") * 3)
    assert "Votes allow fewer failures than room does: 2 against 3." in said.stdout


def test_the_stock(live: LiveApi) -> None:
    rows = json.loads(_holdfast(live, "--stock", "--json").stdout)
    assert [(r["plan"], r["fits"]) for r in rows] == [("small", 3), ("giant", 0)]
    assert "fits_with_guarantee" in _holdfast(live, "--stock").stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--add", "3"), 2, "--add needs --plan"),
        (("--lose", "n9"), 1, "there is no node 'n9'"),
        (("--add-node", "big"), 1, "write MEMORY_MIB:CORES"),
        (("--fits", "none"), 1, "there is no plan 'none'"),
    ],
)
def test_what_cannot_be_asked(live: LiveApi, words: tuple[str, ...], code: int, said: str) -> None:
    result = _holdfast(live, *words)
    assert result.exit_code == code, result.output
    assert said in result.stderr
