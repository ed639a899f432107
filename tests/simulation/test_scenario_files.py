"""A scenario that cannot be understood is refused with its file, its line, and what was expected."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.simulate import simulate
from app.domain.errors import InvalidInput, ScenarioError
from app.simulator.scenario import load_scenario, parse_cluster
from app.simulator.script import parse_script

CLUSTER = "[nodes.n1]\n[nodes.n2]\n[vms.vm1]\nnode = 'n1'\n"


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("soon  heal", "'soon' is no time"),
        ("5  heal", "'5' is no time"),
        ("-1s  heal", "'-1s' is no time"),
        ("nans  heal", "'nans' is no time"),
        ("5s  explode n1", "'explode n1' is no command; there are: power off"),
        ("5s  power off", "after `power off` comes a node, not 'the end of the line'"),
        ("5s  power off n9", r"there is no node 'n9'; there are \['n1', 'n2'\]"),
        ("5s  vm stop web", r"there is no VM 'web'; there are \['vm1'\]"),
        ("5s  heal n1", "after `heal` comes nothing, not 'n1'"),
        ("5s  vm create vm1 512", "there is a VM 'vm1' already"),
        ("5s  vm create vm2 much", "'much' is no number"),
        ("5s  guarantee", "after `guarantee` comes a number, not 'the end of the line'"),
        ("5s  fence fails n1 often", "'often' is no number"),
        ("0.5s  heal", "is before the line above it"),
    ],
)
def test_a_wrong_line_is_named(line: str, wrong: str) -> None:
    layout = parse_cluster(CLUSTER, "cluster.toml")
    with pytest.raises(ScenarioError, match=rf"script\.txt:3: .*{wrong}"):
        parse_script(f"# a comment\n1s  cut n1 n2\n{line}\n9s end\n", layout, "script.txt")


def test_a_script_says_when_it_ends() -> None:
    with pytest.raises(ScenarioError, match="the last line must be"):
        parse_script("1s  heal\n", parse_cluster(CLUSTER, "cluster.toml"), "script.txt")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("seed = ", "cluster.toml: Invalid value"),
        ("", "there is no node"),
        ("nodes = 3", "`nodes` must be tables"),
        ("[nodes.n1]\nram = 1", r"nodes\.n1: unknown key 'ram'; there are memory_mib"),
        ("[nodes.n1]\nmemory_mib = 'much'", r"nodes\.n1\.memory_mib: 'much' must be a whole number"),
        ("[nodes.n1]\nmemory_mib = true", "must be a whole number"),
        ("[nodes.n1]\nmemory_mib = -1", "must not be negative"),
        ("[nodes.n1]\nrole = 'king'", "'king' is no role; there are compute, spare, witness"),
        ("[nodes.n1]\nwatchdog_seconds = 4", "must be smaller than the watchdog timeout"),
        ("[nodes.n1]\n[vms.vm1]\nnode = 'n7'", r"vms\.vm1\.node: there is no node 'n7'"),
    ],
)
def test_a_wrong_cluster_is_named(text: str, wrong: str) -> None:
    with pytest.raises(ScenarioError, match=wrong):
        parse_cluster(text, "cluster.toml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"cluster\.toml: No such file"):
        load_scenario(tmp_path)


# -- the command


def _simulate(*arguments: str) -> Result:
    from typer import Typer

    app = Typer()
    app.command()(simulate)
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    (tmp_path / "cluster.toml").write_text(CLUSTER)
    (tmp_path / "script.txt").write_text("20s  end\n")
    return tmp_path


def test_a_new_story_is_told_and_not_yet_accepted(scenario: Path) -> None:
    result = _simulate(str(scenario))
    assert result.exit_code == 1
    assert "starts vm1 (generation 1)" in result.stdout
    assert "there is no expected.log yet" in result.stderr


def test_update_writes_it_and_a_difference_is_shown(scenario: Path) -> None:
    assert _simulate(str(scenario), "--update").exit_code == 0
    assert _simulate(str(scenario)).exit_code == 0
    log = scenario / "expected.log"
    log.write_text(log.read_text().replace("starts vm1", "forgets vm1"))
    result = _simulate(str(scenario), "--json")
    assert result.exit_code == 1
    assert '"as_expected": false' in result.stdout
    result = _simulate(str(scenario))
    assert "-" in result.stderr
    assert "forgets vm1" in result.stderr


def test_seeds_are_counted() -> None:
    result = _simulate("--seeds", "1:2", "--nodes", "1", "--vms", "1")
    assert result.exit_code == 0, result.stdout
    assert result.stdout.startswith("2 seeds, 0.1 hours in ")


@pytest.mark.parametrize(
    "arguments", [(), ("--seeds", "x"), ("--seeds", "5:1"), ("--seeds", "1:"), (".", "--seeds", "1")]
)
def test_wrong_arguments_are_refused(arguments: tuple[str, ...]) -> None:
    assert isinstance(_simulate(*arguments).exception, InvalidInput)
