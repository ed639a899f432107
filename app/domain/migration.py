"""A live migration, as the row of its VM tells it, and why it can never make two running copies.

A VM that migrates has two copies: the one that runs at its node (`Vm.node`, `Vm.generation`), and a passenger at
`Vm.migrating_to` that memory flows into (`Migration.generation`). The theory rests on one sentence:

    The CPUs of a copy run only where the row says so: on `node`, in `generation`.

The hypervisor is told to leave the passenger paused when its memory is complete (VIR_MIGRATE_PAUSED), so libvirt's own
hand-over lets nothing run: it ends the old copy and leaves the new one still. Then, and only then, the node that had
the VM attests "my copy is off, it was handed over", and that attestation is the transaction that makes `node` the
target and `generation` the passenger's. The target reads it and resumes the passenger as it resumes any paused VM of
its own.

What follows, without a further rule:
* The target attests nothing, and a lost target endangers nothing: its passenger never ran.
* The node that has the VM dies at any moment: the proof that it is fenced is proof enough, for what it left at the
  target is paused and of a generation that no row will ever name. A recovery takes `Vm.next_generation`, above the
  passenger's, and the target destroys what it does not know. Were the generation not above it, a recovery to the
  target would let a passenger with half its memory, or with memory older than the disk, run on.
* libvirt believes that a hand-over failed which did not (the answer was lost): the old copy goes on, the passenger is
  whole but old. The node attests a failure, the passenger is destroyed. With a target that starts CPUs itself this is
  the moment
  in which two copies run.
* The evidence of a hand-over is the domain that is off *because it was migrated*. If that word is lost (libvirtd
  restarted) the VM is started anew where it was: a reboot of the guest, never a guess.
* Post-copy is not offered: it runs the passenger before the row can say so, and a failure in it loses the VM.

The price is the time from the hand-over to the resume: one transaction and one signal more of standing still.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

#: so many tries fail before the move counts as stuck and waits for an operator
TRIES_MAX = 3


class MoveEnd(StrEnum):
    """How a try ended, as the node that has the VM attests it.

    `finished`: my copy is off, it was handed over. `failed`, `cancelled`: no migration is under way, my copy is up.
    `gone`: my copy is off and was not handed over.
    """

    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Migration:
    """What is known of a VM's moves. `generation` is that of the newest passenger; no placement takes it again.

    `wanted_to`: an operator asked for it, a node's name, or empty for any; None: nobody asked. `cancel`: why the one
    under way must end. `tries`, `error`: how many failed in a row, and the last one's reason. Progress in percent.
    """

    generation: int = 0
    wanted_to: str | None = None
    why: str = ""
    since: datetime | None = None
    progress: int = 0
    cancel: str = ""
    tries: int = 0
    error: str = ""
