"""`holdfast simulate`: failure stories in virtual time, with the real cores and every invariant checked."""

import difflib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from app.domain.errors import InvalidInput
from app.simulator.many import Tally, run_seeds
from app.simulator.random_faults import REPAIR_SECONDS, random_story
from app.simulator.run import Outcome, run
from app.simulator.scenario import dump_cluster, load_scenario
from app.simulator.shrink import Shrinker


@dataclass(frozen=True, slots=True)
class _Asked:
    """The options of random stories."""

    nodes: int
    vms: int
    jobs: int
    shrink: bool
    save: Path | None
    as_json: bool


def simulate(
    directory: Annotated[
        Path | None, typer.Argument(help="A scenario: cluster.toml, script.txt, expected.log.", show_default=False)
    ] = None,
    seeds: Annotated[str, typer.Option(help="Random faults instead: seeds A to B, both included, as A:B.")] = "",
    nodes: Annotated[int, typer.Option(min=1, max=64, help="Nodes, with --seeds.")] = 3,
    vms: Annotated[int, typer.Option(min=0, max=2000, help="VMs, with --seeds.")] = 6,
    jobs: Annotated[int, typer.Option(min=0, help="Processes, with --seeds; 0: one for each core.")] = 0,
    shrink: Annotated[bool, typer.Option(help="Make a story that breaks an invariant as short as it can be.")] = True,
    save: Annotated[
        Path | None, typer.Option(help="Keep such stories as scenarios in this directory.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
    update: Annotated[bool, typer.Option(help="Write the story into expected.log.")] = False,
) -> None:
    """Run a failure story and compare it with its expected.log, or run random ones. Exit 1 when something is wrong."""
    if (directory is None) == (not seeds):
        raise InvalidInput("directory", "name one: a scenario's directory, or --seeds A:B")
    if directory is not None:
        _scenario(directory, as_json=as_json, update=update)
    else:
        _random(_range(seeds), _Asked(nodes, vms, jobs, shrink, save, as_json))


def _scenario(directory: Path, *, as_json: bool, update: bool) -> None:
    scenario = load_scenario(directory)
    outcome = run(scenario.layout, scenario.commands, must_settle=True)
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


def _random(seeds: range, asked: _Asked) -> None:
    with _progress(len(seeds), asked.as_json) as each:
        tally = run_seeds(seeds, asked.nodes, asked.vms, jobs=asked.jobs, each=each)
    wrong = []
    for result in tally.violations:
        layout, commands = random_story(result.seed, asked.nodes, asked.vms)
        shrinker = Shrinker(layout, commands, result.violation, REPAIR_SECONDS)
        if asked.shrink:
            shrinker.shrink()
        wrong.append(_told(result.seed, shrinker, asked))
    if asked.as_json:
        _say(
            {
                "seeds": tally.seeds, "violations": wrong, "virtual_hours": tally.virtual_seconds / 3600,
                "seconds": tally.seconds, "virtual_hours_per_second": tally.virtual_hours_per_second,
                "seeds_per_second": tally.seeds_per_second,
            }
        )  # fmt: skip
    else:
        sys.stdout.write(
            f"{tally.seeds} seeds, {tally.virtual_seconds / 3600:.1f} hours in {tally.seconds:.1f} s "
            f"({tally.virtual_hours_per_second:.2f} virtual hours per second), {len(wrong)} with a violation\n"
        )
    if wrong:
        raise typer.Exit(1)


def _told(seed: int, shrunk: Shrinker, asked: _Asked) -> dict[str, object]:
    """Print the story that breaks an invariant, or keep it as a scenario."""
    cluster = dump_cluster(shrunk.layout)
    script = f"# seed {seed}: {shrunk.violation}\n" + "".join(f"{c.line()}\n" for c in shrunk.commands)
    saved = ""
    if asked.save is not None:
        directory = asked.save / f"seed-{seed}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cluster.toml").write_text(cluster, encoding="utf-8")
        (directory / "script.txt").write_text(script, encoding="utf-8")
        saved = str(directory)
    if not asked.as_json:
        sys.stdout.write(f"seed {seed}: {shrunk.violation}\n")
        text = (
            f"replay: holdfast simulate {saved}\n" if saved else f"--- cluster.toml\n{cluster}--- script.txt\n{script}"
        )
        sys.stdout.write(text)
    return {"seed": seed, "violation": shrunk.violation, "cluster": cluster, "script": script, "saved": saved}


@contextmanager
def _progress(seeds: int, quiet: bool) -> Iterator[Callable[[Tally], None]]:
    """A line on the terminal that goes on; nothing where no human looks."""
    if quiet or not sys.stderr.isatty():
        yield lambda _tally: None
        return

    def each(tally: Tally) -> None:
        speed = f"{tally.virtual_hours_per_second:.2f} virtual hours per second"
        sys.stderr.write(f"\r{tally.seeds} of {seeds} seeds, {len(tally.violations)} with a violation, {speed} ")
        sys.stderr.flush()

    yield each
    sys.stderr.write("\n")


def _range(text: str) -> range:
    first, colon, last = text.partition(":")
    if not first.isdigit() or (colon and not last.isdigit()) or int(last or first) < int(first):
        raise InvalidInput("seeds", f"{text!r} is no range of seeds; write for example --seeds 1:100")
    return range(int(first), int(last or first) + 1)


def _report(outcome: Outcome) -> dict[str, object]:
    return {"lines": list(outcome.lines), "violation": outcome.violation, "virtual_seconds": outcome.seconds}


def _say(value: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
