"""A reboot is asked for by a program; what it says against it is passed on."""

import pytest

from app.adapters.system.machine import SystemdMachine
from app.ports.machine import RebootRefused


def test_a_program_that_agrees_is_all_there_is() -> None:
    SystemdMachine(("true",)).reboot()


def test_what_it_says_is_passed_on() -> None:
    with pytest.raises(RebootRefused, match=r"sh -c .*: access denied"):
        SystemdMachine(("sh", "-c", "echo access denied >&2; exit 1")).reboot()
    with pytest.raises(RebootRefused, match="exit code 1"):
        SystemdMachine(("false",)).reboot()
    with pytest.raises(RebootRefused, match="no-such-program"):
        SystemdMachine(("no-such-program",)).reboot()


def test_one_that_hangs_is_not_waited_for() -> None:
    with pytest.raises(RebootRefused, match="timed out"):
        SystemdMachine(("sleep", "60"), timeout_seconds=0.1).reboot()
