"""Who writes to which VM's volumes, over all simulated nodes: the witness of invariant 1, at most one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


class DoubleRun(AssertionError):
    """Two copies of a VM could write at the same moment. The text names both."""


@dataclass(frozen=True, slots=True)
class Writer:
    """One copy of a VM: the node it runs on and the generation it was placed with."""

    node: str
    generation: int


@dataclass
class SimDisks:
    """Shared by all `SimHypervisor` of a cluster.

    A copy that runs *writes*; one that is paused still has its image *open*. With `image_lock` a second open is
    refused, as QEMU's lock does; without it (a storage that does not hold the line) a second writer is a
    violation, recorded at once, and raised unless `raise_violations` is off. So is a copy that a migration brought and
    that begins to run after another copy has written: its memory is older than the disk.
    """

    image_lock: bool = True
    raise_violations: bool = True
    violations: list[str] = field(default_factory=list)
    #: node -> VMs whose volumes it cannot reach: nothing of it is written, and its locks are broken
    cut_off: Callable[[str, int], bool] = lambda _node, _vm_id: False
    _open: dict[int, set[Writer]] = field(default_factory=dict)
    _writing: dict[int, set[Writer]] = field(default_factory=dict)
    #: copies that a migration brought -> True when their memory is older than the disk
    _arrived: dict[tuple[int, Writer], bool] = field(default_factory=dict)

    def open(self, vm_id: int, writer: Writer) -> bool:
        """A copy starts. False: the image lock refuses it."""
        others = self._reaching(vm_id, self._open.setdefault(vm_id, set()) - {writer})
        if others and self.image_lock:
            return False
        self._open[vm_id].add(writer)
        return True

    def arrive(self, vm_id: int, writer: Writer) -> None:
        """A copy has its memory from another one that ran until now. It is old at once if that one runs on."""
        self.open(vm_id, writer)
        self._arrived[vm_id, writer] = bool(self.writers(vm_id))

    def write(self, vm_id: int, writer: Writer) -> None:
        """Its CPUs run from now on. DoubleRun if another copy's do, or if its memory is old."""
        self._writing.setdefault(vm_id, set()).add(writer)
        if self.cut_off(writer.node, vm_id):
            return
        self._only_one(vm_id)
        if self._arrived.pop((vm_id, writer), False):
            self._violated(f"VM {vm_id} goes on at {_names({writer})} with memory that is older than its disk")
        for key in self._arrived:
            if key[0] == vm_id:
                self._arrived[key] = True

    def hold(self, vm_id: int, writer: Writer) -> None:
        """Its CPUs stand still; the image stays open."""
        self._writing.get(vm_id, set()).discard(writer)

    def close(self, vm_id: int, writer: Writer) -> None:
        """It is off."""
        self.hold(vm_id, writer)
        self._open.get(vm_id, set()).discard(writer)
        self._arrived.pop((vm_id, writer), None)

    def reached_again(self) -> None:
        """A node is cut off no more: a copy that it kept writes on."""
        for vm_id in self._writing:
            self._only_one(vm_id)

    def _only_one(self, vm_id: int) -> None:
        writers = self.writers(vm_id)
        if len(writers) > 1:
            self._violated(f"VM {vm_id} is written by {_names(writers)}")

    def _reaching(self, vm_id: int, writers: set[Writer]) -> set[Writer]:
        return {w for w in writers if not self.cut_off(w.node, vm_id)}

    def _violated(self, text: str) -> None:
        self.violations.append(text)
        if self.raise_violations:
            raise DoubleRun(text)

    def writers(self, vm_id: int) -> frozenset[Writer]:
        """The copies that can write now."""
        return frozenset(self._reaching(vm_id, self._writing.get(vm_id, set())))


def _names(writers: Iterable[Writer]) -> str:
    return " and ".join(sorted(f"{w.node} (generation {w.generation})" for w in writers))
