"""What the API of a lab node runs for an agent that hangs: `systemctl kill`, not of what was stopped."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from app.lab.paths import LabPaths
from app.lab.units import load_unit, load_unit_state


def main(argv: list[str]) -> None:
    directory, name = argv
    node = LabPaths(Path(directory)).node(name)
    unit, state = load_unit(node, "agent"), load_unit_state(node, "agent")
    if unit.enabled and state is not None and state.process is not None:
        state.process.send(signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
