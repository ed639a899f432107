"""This machine, as far as setting it up goes: programs, services, files. `root` is / but for tests."""

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from app.adapters.cluster_files.write import write_file
from app.setup.errors import SetupFailed

#: the start of a database that gets all its state from another one takes its time
PROGRAM_SECONDS = 900
_POLL_SECONDS = 0.5
Run = Callable[[Sequence[str], bytes], subprocess.CompletedProcess[bytes]]


def run_program(argv: Sequence[str], given: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end, with `given` on its standard input."""
    return subprocess.run(argv, input=given, capture_output=True, check=False, timeout=PROGRAM_SECONDS)


class Machine:
    """Every effect of a set-up goes through here."""

    def __init__(
        self, root: Path = Path("/"), run: Run = run_program, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._root, self._run, self._sleep = root, run, sleep

    def place(self, path: Path) -> Path:
        """Where that path of a node is here."""
        return self._root / path.relative_to("/")

    def run(self, *argv: str, given: bytes = b"") -> str:
        """What it printed. SetupFailed with its complaint when it is not there or does not succeed."""
        done = self._try(argv, given)
        if done is None:
            raise SetupFailed(f"the program {argv[0]} is not installed")
        if done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise SetupFailed(f"{' '.join(argv[:4])}: {said[-500:] or f'exit code {done.returncode}'}")
        return done.stdout.decode(errors="replace")

    def succeeds(self, *argv: str, given: bytes = b"") -> bool:
        """Whether it is there and says yes."""
        done = self._try(argv, given)
        return done is not None and done.returncode == 0

    def answer(self, *argv: str) -> str:
        """What it printed; empty where it is not there or does not succeed, as one that is only starting."""
        done = self._try(argv, b"")
        return done.stdout.decode(errors="replace") if done is not None and done.returncode == 0 else ""

    def _try(self, argv: Sequence[str], given: bytes) -> subprocess.CompletedProcess[bytes] | None:
        try:
            return self._run(argv, given)
        except FileNotFoundError:
            return None
        except subprocess.TimeoutExpired as error:
            raise SetupFailed(f"{' '.join(argv[:4])} did not end within {error.timeout:g} s") from error

    def has(self, program: str) -> bool:
        """Whether that program is installed."""
        return any(self.place(Path(d) / program).exists() for d in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"))

    def write(self, path: Path, text: str | bytes, mode: int = 0o644, group: str = "") -> bool:
        """Whole or not at all; False when it was there already."""
        return write_file(self.place(path), text, mode, group if self._root == Path("/") else "")

    def read(self, path: Path) -> bytes | None:
        """The file, None where there is none."""
        try:
            return self.place(path).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, path: Path) -> None:
        """No file or directory is there afterwards."""
        place = self.place(path)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)

    def wait(self, ready: Callable[[], bool], what: str, seconds: float, advice: str) -> None:
        """Poll until `ready`. SetupFailed says what did not come, and where to look."""
        for _ in range(max(1, round(seconds / _POLL_SECONDS))):
            if ready():
                return
            self._sleep(_POLL_SECONDS)
        raise SetupFailed(f"{what} did not come within {seconds:g} s: {advice}")
