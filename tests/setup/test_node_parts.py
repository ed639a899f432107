"""The steps on a machine that only notes what is asked of it."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from app.adapters.cluster_files import places
from app.config import load_config
from app.domain.layout import first_layout, with_member
from app.domain.node import NodeRole
from app.setup import node_parts
from app.setup.errors import SetupFailed
from app.setup.init import Init, InitOrder
from app.setup.machine import Machine
from app.setup.steps import Progress, Step, run_steps

ONE = first_layout("rack", "n1", ("10.0.0.1",))
FOUR = ONE
for n in (2, 3, 4):
    FOUR = with_member(FOUR, f"n{n}", (f"10.0.0.{n}",), NodeRole.COMPUTE)


class Noted:
    """Programs that all succeed unless `fails` names their first words; `answers` is what they print."""

    def __init__(self, root: Path) -> None:
        self.ran: list[str] = []
        self.given: list[bytes] = []
        self.fails: set[str] = set()
        drop_ins = f"DropInPaths={places.COROSYNC_UNIT} {places.DATABASE_UNIT}\n"
        self.answers: dict[str, bytes] = {"mariadb": b"4\n", "systemctl": drop_ins.encode()}
        self.machine = Machine(root, self._run, lambda _seconds: None)

    def _run(self, argv: Sequence[str], given: bytes) -> subprocess.CompletedProcess[bytes]:
        line = " ".join(argv)
        self.ran.append(line)
        self.given.append(given)
        failed = any(line.startswith(f) for f in self.fails)
        return subprocess.CompletedProcess(argv, int(failed), self.answers.get(argv[0], b""), b"it is broken")

    def actions(self) -> list[str]:
        """What changed something."""
        looks = ("systemctl --quiet", "systemctl show", "corosync-quorumtool", "mariadb -NBe")
        return [r for r in self.ran if not r.startswith((*looks, "systemctl --no-reload disable --now mariadb.socket"))]


@pytest.fixture
def noted(tmp_path: Path) -> Noted:
    return Noted(tmp_path)


def install(noted: Noted, *programs: str) -> None:
    for program in (*node_parts.PARTS, *programs):
        file = noted.machine.place(Path("/usr/sbin") / program)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    library = noted.machine.place(Path("/usr/lib/galera/libgalera_smm.so"))
    library.parent.mkdir(parents=True, exist_ok=True)
    library.touch()


def test_missing_programs_are_named_as_packages(noted: Noted) -> None:
    install(noted)
    node_parts.check_parts(noted.machine)
    noted.machine.place(Path("/usr/sbin/corosync")).unlink()
    noted.machine.place(Path("/usr/lib/galera/libgalera_smm.so")).unlink()
    with pytest.raises(SetupFailed, match="apt install corosync galera-4"):
        node_parts.check_parts(noted.machine)


def test_corosync_is_started_once(noted: Noted) -> None:
    start: Callable[[], str] = lambda: node_parts.start_corosync(noted.machine, ONE, b"key")  # noqa: E731
    start()
    assert noted.actions()[-2:] == ["systemctl daemon-reload", "systemctl restart corosync"]
    before = len(noted.actions())
    start()
    assert len(noted.actions()) == before, "what runs on the right files is left alone"
    assert noted.machine.place(places.COROSYNC_KEY).stat().st_mode & 0o777 == 0o400


def test_a_service_that_was_disabled_is_enabled_again(noted: Noted) -> None:
    """As after an interruption between the unit's file and the service."""
    noted.machine.write(places.COROSYNC_UNIT, node_parts._UNIT)
    noted.fails.add("systemctl --quiet is-enabled")
    node_parts.start_corosync(noted.machine, ONE, b"key")
    assert noted.actions() == ["systemctl enable corosync", "systemctl restart corosync"]


def test_a_unit_that_systemd_has_not_read_is_read(noted: Noted) -> None:
    """As after an interruption between the unit's file and the reload."""
    noted.machine.write(places.COROSYNC_UNIT, node_parts._UNIT)
    noted.answers["systemctl"] = b"DropInPaths=\n"
    node_parts.start_corosync(noted.machine, ONE, b"key")
    assert noted.actions() == ["systemctl daemon-reload", "systemctl restart corosync"]


def test_agent_and_api_start_side_by_side(noted: Noted) -> None:
    """Each tells when it is ready: one after the other, they would take twice as long."""
    node_parts.start_holdfast(noted.machine)
    assert "systemctl restart holdfast-agent holdfast-api" in noted.actions()


def test_without_quorum_it_says_where_to_look(noted: Noted) -> None:
    noted.fails.add("corosync-quorumtool")
    with pytest.raises(SetupFailed, match=r"quorum did not come within 60 s.*UDP 5405"):
        node_parts.start_corosync(noted.machine, ONE, b"key")


def test_the_first_database_is_bootstrapped_and_never_again(noted: Noted) -> None:
    node_parts.start_database(noted.machine, ONE, ONE.members[0], first=True)
    assert noted.actions()[-2:] == ["systemctl stop mariadb", "galera_new_cluster"]
    before = len(noted.actions())
    node_parts.start_database(noted.machine, ONE, ONE.members[0], first=True)
    assert len(noted.actions()) == before, "a second bootstrap would make a second cluster"


def test_systemd_does_not_keep_the_databases_port(noted: Noted) -> None:
    """Wherever it is asked for: a node of a cluster that was made before may have it still."""
    noted.fails.add("systemctl --no-reload disable --now mariadb.socket")  # there is none, as with most versions
    for member, layout in ((ONE.members[0], ONE), (FOUR.members[3], FOUR)):
        noted.ran.clear()
        node_parts.start_database(noted.machine, layout, member, first=True)
        assert noted.ran[0] == "systemctl --no-reload disable --now mariadb.socket"


def test_a_joining_database_asks_the_others(noted: Noted) -> None:
    node_parts.start_database(noted.machine, FOUR, FOUR.members[1], first=False)
    assert noted.actions()[-1] == "systemctl start mariadb"


def test_a_joining_database_that_ends_is_waited_for(noted: Noted) -> None:
    """On a busy network the first try may not reach the others in time; its unit starts it again."""
    noted.fails.add("systemctl start mariadb")
    assert node_parts.start_database(noted.machine, FOUR, FOUR.members[1], first=False) == "in sync"


def test_a_database_that_is_only_starting_is_asked_again(noted: Noted) -> None:
    """It takes a connection and drops it, also right after it answered one."""
    said = iter([(0, b"2\n"), (1, b""), (0, b"4\n")])

    def starting(argv: Sequence[str], given: bytes) -> subprocess.CompletedProcess[bytes]:
        if argv[0] != "mariadb":
            return noted._run(argv, given)
        code, text = next(said)
        return subprocess.CompletedProcess(argv, code, text, b"Broken pipe (32)")

    machine = Machine(noted.machine.place(Path("/")), starting, lambda _seconds: None)
    assert node_parts.start_database(machine, FOUR, FOUR.members[1], first=False) == "in sync"


def test_the_fourth_node_has_no_database(noted: Noted) -> None:
    assert node_parts.start_database(noted.machine, FOUR, FOUR.members[3], first=False) == "uses the others'"
    assert noted.machine.read(places.GALERA) is None


def test_hardware_is_preferred_to_softdog(noted: Noted) -> None:
    for name, identity in (("watchdog0", "Software Watchdog"), ("watchdog1", "iTCO_wdt")):
        directory = noted.machine.place(Path("/sys/class/watchdog") / name)
        directory.mkdir(parents=True)
        (directory / "identity").write_text(identity + "\n")
    assert node_parts.choose_watchdog(noted.machine) == "/dev/watchdog1"
    assert noted.machine.read(places.MODULES) is None


def test_without_hardware_softdog_is_loaded_now_and_at_boot(noted: Noted) -> None:
    assert node_parts.choose_watchdog(noted.machine) == ""
    assert noted.ran == ["modprobe softdog"]
    assert noted.machine.read(places.MODULES) == b"softdog\n"


def test_the_configuration_is_the_operators_once_it_is_there(noted: Noted) -> None:
    write: Callable[[], str] = lambda: node_parts.write_config(noted.machine, FOUR, FOUR.members[0], "feed")  # noqa: E731
    write()
    config = noted.machine.place(places.CONFIG)
    read = load_config(config)
    assert read.membership.driver == "corosync"
    assert [m.name for m in read.membership.members] == ["n1", "n2", "n3", "n4"]
    assert read.database.urls[0].endswith("unix_socket=/run/mysqld/mysqld.sock")
    assert len(read.database.urls) == 3
    config.write_text(config.read_text() + "# mine\n")
    write()
    assert config.read_text().endswith("# mine\n")


def test_a_password_with_a_quote_never_reaches_sql(noted: Noted) -> None:
    with pytest.raises(SetupFailed):
        node_parts.make_database_user(noted.machine, "x'; DROP DATABASE holdfast; --")
    assert noted.ran == []


def test_init_stops_at_the_first_fault_and_goes_on_with_the_same_secrets(noted: Noted) -> None:
    install(noted)
    order = InitOrder("rack", "n1", ("10.0.0.1",), NodeRole.COMPUTE, 1000)

    class Heard(Progress):
        def __init__(self) -> None:
            self.failures: list[str] = []

        def failed(self, step: str, why: str) -> None:
            self.failures.append(f"{step}: {why}")

    noted.fails.add("galera_new_cluster")
    heard = Heard()
    with pytest.raises(SetupFailed, match="galera_new_cluster: it is broken"):
        run_steps(Init(noted.machine, order).steps(), heard)
    assert heard.failures == ["database: galera_new_cluster: it is broken"]
    kept = {p: noted.machine.read(p) for p in (places.CA_KEY, places.NODE_KEY, places.COROSYNC_KEY)}
    assert all(kept.values())
    noted.fails.clear()
    steps = Init(noted.machine, order).steps()
    run_steps(steps[: [s.name for s in steps].index("schema and state")], Progress())
    assert {p: noted.machine.read(p) for p in kept} == kept
    assert b"REQUIRE SSL" in noted.given[-1]


def test_steps_after_a_failed_one_are_not_begun() -> None:
    begun: list[str] = []

    def work(name: str) -> str:
        begun.append(name)
        if name == "b":
            raise SetupFailed("no")
        return ""

    with pytest.raises(SetupFailed):
        run_steps([Step(n, lambda n=n: work(n)) for n in "abc"], Progress())  # type: ignore[misc]
    assert begun == ["a", "b"]
