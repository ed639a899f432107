"""docs/install.md as the steps that it asks of each server, so that a test can follow it to the letter.

A comment above each block, which no reader sees, says where it is run: `<!-- on: node1 -->`, or several names, one
after the other. `, until the next has ended` is a command that waits (`invite`) for what another server does in the
next block (`join`): the two are a pair for each server of the next block.

What a reader puts in place of the page's words is put there by `Step.of`: addresses, the package's file, the token.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.nodes.errors import NodeError

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "install.md"
PACKAGE, TOKEN = "./holdfast_*.deb", "TOKEN"
_BLOCK = re.compile(
    r"(?:^<!-- on: (?P<nodes>[a-z0-9 ]+?)(?P<waits>, until the next has ended)? -->\n)?"
    r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_ADDRESSES = re.compile(r"the addresses ([\d.]+), ([\d.]+) and ([\d.]+)")


@dataclass(frozen=True)
class Step:
    """One block on one server. `kind`: `sh` is run by its shell, `toml` is added to holdfast.toml. `text`: the page's.

    `waits`: it goes on until the step after it has ended, and prints what that needs. `section`: the page's heading.
    """

    node: str
    kind: str
    text: str
    section: str
    waits: bool = False

    def of(self, words: Mapping[str, str]) -> str:
        """The text with each of these words of the page in another's place, all at once.

        A word stands alone: 10.0.0.1 is no part of 10.0.0.11. NodeError for a word in capitals that nobody replaced.
        """
        longest_first = sorted(words, key=len, reverse=True)
        pattern = "|".join(rf"(?<![\w.]){re.escape(w)}(?![\w]|\.\d)" for w in longest_first)
        text = re.sub(pattern, lambda found: words[found.group()], self.text) if pattern else self.text
        if self.kind == "sh" and (left := re.search(rf"(?<= ){TOKEN}(?= |$)", text, re.MULTILINE)):
            raise NodeError(f"nobody said what to put for {left.group()} in {self.text!r}")
        return text


def steps(page: str) -> list[Step]:
    """The whole page, in the order in which it is followed. NodeError for a block without a mark."""
    addresses = guide_addresses(page)
    found: list[Step] = []
    blocks = [*_BLOCK.finditer(page)]
    at = 0
    while at < len(blocks):
        together = blocks[at : at + 2] if blocks[at]["waits"] else blocks[at : at + 1]
        found += _pairs(page, together, addresses) if len(together) == 2 else _each(page, together[0], addresses)
        at += len(together)
    return found


def guide_addresses(page: str) -> dict[str, str]:
    """The page's own addresses, by its servers' names: for `Step.of`, to put the real ones in their place."""
    found = _ADDRESSES.search(" ".join(page.split()))
    if found is None:
        raise NodeError("the page names no three addresses")
    return {f"node{n}": address for n, address in enumerate(found.groups(), start=1)}


def _each(page: str, block: re.Match[str], addresses: Mapping[str, str]) -> Iterator[Step]:
    nodes = _nodes(block)
    section = [h for h in _HEADING.finditer(page) if h.start() < block.start()][-1].group(1)
    for node in nodes:
        yield _own(Step(node, block["kind"], block["text"], section, bool(block["waits"])), nodes[0], addresses)


def _pairs(page: str, blocks: Sequence[re.Match[str]], addresses: Mapping[str, str]) -> Iterator[Step]:
    """The one that waits, again for each server of the other."""
    (waiting,) = _each(page, blocks[0], addresses)
    for step in _each(page, blocks[1], addresses):
        yield waiting
        yield step


def _own(step: Step, shown_for: str, addresses: Mapping[str, str]) -> Step:
    """The page shows a server's own address for the first one: `with the server's own address`."""
    if step.node == shown_for:
        return step
    theirs = {addresses[shown_for]: addresses[step.node]}
    return replace(step, text=replace(step, kind="").of(theirs))


def _nodes(block: re.Match[str]) -> list[str]:
    if not block["nodes"]:
        raise NodeError(f"no comment says where this is run: {block['text']!r}")
    return str(block["nodes"]).split()
