"""Somebody who follows docs/install.md to the letter, with a shell on each server."""

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import groupby

from tests.nodes.bmc import PASSWORD
from tests.nodes.cluster import COMMAND_SECONDS, CONFIG, RACK_SECTIONS, Cluster, at_once
from tests.nodes.errors import NodeError
from tests.nodes.guide import TOKEN, Step

_JOIN = re.compile(r"holdfast cluster join \S+ --token (?P<token>\S+)")
_EXPORT = re.compile(r"^export .*$", re.MULTILINE)
#: for `holdfast cluster init`: Corosync's patience in milliseconds. Under emulation beside other work a node may be
#: silent for more than the usual second
TOKEN_MILLISECONDS = 3000


class Reader:
    """`addresses`: the page's own, by server. The rack's take their places, two for each server, as the page allows."""

    def __init__(self, cluster: Cluster, addresses: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._exports: dict[str, list[str]] = defaultdict(list)
        self._words = {'"..."': f'"{PASSWORD}"'}
        for name, address in addresses.items():
            machine = cluster.machine(name)
            first = f" --token {TOKEN_MILLISECONDS}" if machine is cluster.machines[0] else ""
            theirs = f"--address {machine.storage_address} --address {machine.address}{first}"
            self._words[f"--address {address}"] = theirs
            self._words[address] = machine.storage_address
            # the page's controllers have the servers' addresses with a 1 before the last two digits
            self._words[re.sub(r"\.(\d+)$", r".1\1", address)] = cluster.bmcs[name].address

    def follow(self, steps: Iterable[Step]) -> None:
        """All of them, in their order. A block that is meant for several servers is run on them at once.

        NodeError at the first line that fails.
        """
        waiting: Step | None = None
        for text, same in groupby(steps, key=lambda step: step.text):
            group = list(same)
            if group[0].waits:
                waiting = group[0]
                continue
            with self._cluster.steps.step(f"{' '.join(step.node for step in group)}: {title(text)}"):
                if waiting:
                    self._invited(waiting, group[0])
                else:
                    at_once(self._run, group)
            waiting = None

    def _run(self, step: Step) -> None:
        machine = self._cluster.machine(step.node)
        text = step.of(self._words)
        if step.kind == "toml":
            machine.ssh(f"cat >> {CONFIG}", stdin=f"\n{text}".encode())
            self._cluster.lay(machine, RACK_SECTIONS)
            return
        script = "\n".join(["set -e", *self._exports[step.node], text])
        self._cluster.printed[step.node, title(step.text)] = machine.ssh(script, timeout_seconds=COMMAND_SECONDS)
        self._exports[step.node] += _EXPORT.findall(text)

    def _invited(self, waiting: Step, step: Step) -> None:
        """`waiting` prints a token and goes on until the other server has used it."""
        words = self._cluster.machine(waiting.node).ssh_words(waiting.of(self._words))
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as inviting:
            try:
                self._words[TOKEN] = token_in(inviting.stdout or ())
                self._run(step)
                if inviting.wait(timeout=60) != 0:
                    raise NodeError(f"{title(waiting.text)} ended with {inviting.returncode}")
            finally:
                inviting.kill()
                del self._words[TOKEN]


def title(text: str) -> str:
    """The first line of a block."""
    return text.split("\n", maxsplit=1)[0]


def token_in(lines: Iterable[str]) -> str:
    """Out of the line that the invited server is to run. NodeError when there is none."""
    said = ""
    for line in lines:
        said += line
        if found := _JOIN.search(line):
            return found["token"]
    raise NodeError(f"no line to join with in {said!r}")
