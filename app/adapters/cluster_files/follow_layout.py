"""A node's files follow the cluster's layout: each agent writes what changed, without a login between nodes."""

import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from app.adapters.cluster_files import places
from app.adapters.cluster_files.corosync_conf import corosync_conf
from app.adapters.cluster_files.galera_conf import galera_conf
from app.adapters.cluster_files.layout_json import MalformedLayout, layout_from_text, layout_to_text
from app.adapters.cluster_files.write import write_file
from app.domain.layout import Layout, Member

log = structlog.get_logger(__name__)
RELOAD_SECONDS = 20


def reload_corosync() -> None:
    """Tell Corosync of its new file. It takes members that came and went without a restart, see corosync-cfgtool(8)."""
    done = subprocess.run(
        ["corosync-cfgtool", "-R"], capture_output=True, text=True, check=False, timeout=RELOAD_SECONDS
    )
    if done.returncode != 0:
        log.warning("corosync did not reload", error=(done.stderr or done.stdout).strip())


class FollowLayout:
    """`apply` with each layout that is read. What is on disk already, or newer there, is left alone.

    `root` is where the paths begin: / but for tests. layout.json is written last: after a crash all is written again.
    A node that is no member any more keeps its last files: it has to be able to say that it left.
    The agent and a `cluster invite` beside it take turns, so that an older layout never follows a newer one.
    """

    def __init__(self, node: str, *, root: Path = Path("/"), reload: Callable[[], None] = reload_corosync) -> None:
        self._node, self._root, self._reload = node, root, reload
        #: id -> name of the members, the same object for ever: what Corosync says is told by these names
        self.names: dict[int, str] = {}
        known = self.on_disk()
        self._version = known.version if known else 0
        if known:
            self._name(known)

    def on_disk(self) -> Layout | None:
        """The layout that was applied last."""
        try:
            return layout_from_text(self._place(places.LAYOUT).read_text(encoding="utf-8"))
        except (FileNotFoundError, MalformedLayout):
            return None

    def apply(self, layout: Layout) -> bool:
        """True when it was newer and its files are written. Waits while another process applies one."""
        own = layout.member(self._node)
        if layout.version <= self._version or own is None:
            return False
        # Before Corosync shows the new members: it tells of them by their ids.
        self._name(layout)
        with self._turn():
            known = self.on_disk()
            news = known is None or known.version < layout.version
            if news:
                self._write(layout, own)
        self._version = layout.version
        return news

    def _write(self, layout: Layout, own: Member) -> None:
        write_file(self._place(places.COROSYNC), corosync_conf(layout), 0o644)
        if own.database:
            # Read when the database starts next; the members that run know each other already.
            write_file(self._place(places.GALERA), galera_conf(layout, own), 0o644)
        self._reload()
        write_file(self._place(places.LAYOUT), layout_to_text(layout), 0o644)
        log.info("layout applied", version=layout.version, members=" ".join(m.name for m in layout.members))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        directory = self._place(places.LAYOUT).parent
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _name(self, layout: Layout) -> None:
        self.names.update({m.id: m.name for m in layout.members})

    def _place(self, path: Path) -> Path:
        return self._root / path.relative_to("/")
