"""`holdfast simulate`: failure stories in virtual time, with the real cores and every invariant checked."""

import difflib
import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from app.domain.errors import InvalidInput
from app.simulator.random_faults import random_story
from app.simulator.run import Outcome, run
from app.simulator.scenario import dump_cluster, load_scenario


def simulate(
    directory: Annotated[
        Path | None, typer.Argument(help="A scenario: cluster.toml, script.txt, expected.log.", show_default=False)
    ] = None,
    seeds: Annotated[str, typer.Option(help="Random faults instead: seeds A to B, both included, as A:B.")] = "",
    nodes: Annotated[int, typer.Option(min=1, max=64, help="Nodes, with --seeds.")] = 3,
    vms: Annotated[int, typer.Option(min=0, max=2000, help="VMs, with --seeds.")] = 6,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
    update: Annotated[bool, typer.Option(help="Write the story into expected.log.")] = False,
) -> None:
    """Run a failure story and compare it with its expected.log, or run random ones. Exit 1 when something is wrong."""
    if (directory is None) == (not seeds):
        raise InvalidInput("directory", "name one: a scenario's directory, or --seeds A:B")
    if directory is not None:
        _scenario(directory, as_json=as_json, update=update)
    else:
        _random(_range(seeds), nodes, vms, as_json=as_json)


def _scenario(directory: Path, *, as_json: bool, update: bool) -> None:
    scenario = load_scenario(directory)
    outcome = run(scenario.layout, scenario.commands)
    expected = scenario.expected
    if update and not outcome.violation:
        (directory / "expected.log").write_text(outcome.text, encoding="utf-8")
        expected = outcome.text
    same = expected == outcome.text
    if as_json:
        _say(_report(outcome) | {"as_expected": same})
    else:
        sys.stdout.write(outcome.text)
        if not same:
            sys.stderr.write(_difference(expected, outcome.text))
    if outcome.violation or not same:
        raise typer.Exit(1)


def _difference(expected: str | None, happened: str) -> str:
    if expected is None:
        return "there is no expected.log yet: read the story, then run this again with --update\n"
    lines = difflib.unified_diff(expected.splitlines(), happened.splitlines(), "expected.log", "now", lineterm="", n=1)
    return "\n".join(lines) + "\n"


def _random(seeds: range, nodes: int, vms: int, *, as_json: bool) -> None:
    began, virtual, wrong = time.monotonic(), 0.0, []
    for seed in seeds:
        layout, commands = random_story(seed, nodes, vms)
        outcome = run(layout, commands, must_settle=True)
        virtual += outcome.seconds
        if outcome.violation:
            script = "".join(f"{c.line()}\n" for c in commands)
            wrong.append({"seed": seed, "violation": outcome.violation, "script": script})
            if not as_json:
                sys.stdout.write(f"seed {seed}: {outcome.violation}\n")
                sys.stdout.write(f"--- cluster.toml\n{dump_cluster(layout)}--- script.txt\n{script}")
    spent = time.monotonic() - began
    if as_json:
        _say({"seeds": len(seeds), "violations": wrong, "virtual_hours": virtual / 3600, "seconds": spent})
    else:
        hours = virtual / 3600
        text = f"{len(seeds)} seeds, {hours:.1f} hours in {spent:.1f} s, {len(wrong)} with a violation\n"
        sys.stdout.write(text)
    if wrong:
        raise typer.Exit(1)


def _range(text: str) -> range:
    first, colon, last = text.partition(":")
    if not first.isdigit() or (colon and not last.isdigit()) or int(last or first) < int(first):
        raise InvalidInput("seeds", f"{text!r} is no range of seeds; write for example --seeds 1:100")
    return range(int(first), int(last or first) + 1)


def _report(outcome: Outcome) -> dict[str, object]:
    return {"lines": list(outcome.lines), "violation": outcome.violation, "virtual_seconds": outcome.seconds}


def _say(value: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
