"""`./dev bench [--json] [--only NAME]`: the modules of this directory, run three times or more, with medians.

A module has `run() -> dict[str, float]`; the unit is the last word of a figure's name (`plan_100_nodes_ms`). With
`RATIOS = {"name": ("figure", "figure")}` it asks for quotients of its medians, with `LIMITS = {"figure": most}` for a
word on whether the figure is what the project promises (at most; `LEAST` for at least). A limit that is missed is an
exit code of 1, so that a slow change is seen.
"""

import argparse
import importlib
import json
import os
import pkgutil
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

RUNS_MIN = 3
Figures = Mapping[str, float]


def names() -> list[str]:
    """The benchmarks there are: modules of this directory with a `run`."""
    here = Path(__file__).parent
    found = (m.name for m in pkgutil.iter_modules([str(here)]) if not m.name.startswith("_"))
    return sorted(n for n in found if "\ndef run(" in (here / f"{n}.py").read_text(encoding="utf-8"))


def medians(run: Callable[[], Figures], runs: int) -> dict[str, dict[str, float]]:
    """Of each figure: the median, the least and the most of so many runs."""
    rows = [run() for _ in range(runs)]
    return {
        name: {
            "median": median(r[name] for r in rows),
            "min": min(r[name] for r in rows),
            "max": max(r[name] for r in rows),
        }
        for name in rows[0]
    }


def measure(name: str, runs: int) -> dict[str, Any]:
    """One benchmark: figures, ratios, and which promises were missed."""
    module = importlib.import_module(f"tests.bench.{name}")
    figures = medians(module.run, runs)
    ratios = {
        ratio: figures[above]["median"] / figures[below]["median"]
        for ratio, (above, below) in getattr(module, "RATIOS", {}).items()
        if figures[below]["median"]
    }
    most, least = getattr(module, "LIMITS", {}), getattr(module, "LEAST", {})
    missed = [f"{n} is {figures[n]['median']:.4g}, at most {limit:g} is promised" for n, limit in most.items()
              if figures[n]["median"] > limit]  # fmt: skip
    missed += [f"{n} is {figures[n]['median']:.4g}, at least {limit:g} is promised" for n, limit in least.items()
               if figures[n]["median"] < limit]  # fmt: skip
    return {"figures": figures, "ratios": ratios, "limits": {**most, **least}, "missed": missed}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    load = os.getloadavg()
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "load_1_min": round(load[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def show(report: Mapping[str, Any]) -> None:
    """A table for people."""
    console = Console()
    console.width = max(console.width, 130)
    for name, one in report["benchmarks"].items():
        table = Table(title=name, title_justify="left")
        for column in ("figure", "median", "least", "most", "promised"):
            table.add_column(column, justify="left" if column == "figure" else "right", overflow="fold")
        for figure, row in one["figures"].items():
            limit = one["limits"].get(figure)
            table.add_row(
                figure, *(f"{row[k]:.4g}" for k in ("median", "min", "max")), "" if limit is None else f"{limit:g}"
            )
        for ratio, value in one["ratios"].items():
            table.add_row(ratio, f"{value:.3g} x", "", "", "")
        console.print(table)
        for missed in one["missed"]:
            console.print(f"MISSED: {missed}", style="bold", markup=False)
    console.print(", ".join(f"{k} {v}" for k, v in report["machine"].items()), markup=False)


def main(words: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measure, and say whether promises are kept.")
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    parser.add_argument("--only", metavar="NAME", action="append", choices=names(), help=f"one of {', '.join(names())}")
    parser.add_argument("--runs", type=int, default=RUNS_MIN, help=f"runs of each, at least {RUNS_MIN}")
    asked = parser.parse_args(words)
    chosen = asked.only or names()
    report = {"machine": machine(), "benchmarks": {n: measure(n, max(asked.runs, RUNS_MIN)) for n in chosen}}
    if asked.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)
    return 1 if any(one["missed"] for one in report["benchmarks"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
