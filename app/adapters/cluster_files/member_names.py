"""The members' names by Corosync's id, also of those that joined after this process was started."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from app.adapters.cluster_files import places
from app.adapters.cluster_files.layout_json import MalformedLayout, layout_from_text


class MemberNames(Mapping[int, str]):
    """`known` at the start; another id is looked up in this node's layout.json, which its agent keeps.

    To be used where nobody follows the layout (the API). A name once known stays: ids are never given twice.
    """

    def __init__(self, known: Mapping[int, str], layout: Path = places.LAYOUT) -> None:
        self._known = dict(known)
        self._layout = layout

    def __getitem__(self, node_id: int) -> str:
        if node_id not in self._known:
            self._read()
        return self._known[node_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def _read(self) -> None:
        try:
            layout = layout_from_text(self._layout.read_text(encoding="utf-8"))
        except (OSError, MalformedLayout):
            return
        self._known.update({member.id: member.name for member in layout.members})
