"""What only a real libvirtd and a real QEMU can show: identity in the guest, image lock, and things that hang."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest

from app.adapters.libvirt import LibvirtHypervisor
from app.adapters.libvirt.identity import domain_uuid
from app.domain.events import DomainState
from app.ports.hypervisor import HypervisorError, HypervisorUnavailable
from tests.api.full_scrape import as_text, value
from tests.ports.hypervisor.bench import IMPATIENT, LibvirtBench, fact
from tests.ports.hypervisor.daemon import Libvirtd

pytestmark = pytest.mark.lab


def _alive(bench: LibvirtBench, vm_id: int) -> bool:
    known = fact(bench.hypervisor, vm_id)
    return known is not None and known.guest_alive is True


def test_the_guest_reads_vm_generation_and_node_and_its_console_is_logged(qemu: LibvirtBench) -> None:
    qemu.hypervisor.start(qemu.spec(17, generation=5))
    qemu.until("guest on its console", lambda: "TEST-GUEST tick 1" in qemu.console(17))
    assert "oem holdfast.vm=17 holdfast.generation=5 holdfast.node=n1" in qemu.console(17)
    qemu.until("sign of life", lambda: _alive(qemu, 17), 5)
    assert (qemu.directory / "vm-17-0").read_bytes().startswith(b"tick ")


def test_a_new_adapter_sees_the_signs_of_guests_that_ran_before(qemu: LibvirtBench) -> None:
    """The agent was killed and restarted."""
    qemu.hypervisor.start(qemu.spec(17))
    qemu.until("sign of life", lambda: _alive(qemu, 17))
    assert qemu.daemon is not None
    other = LibvirtHypervisor(qemu.daemon.uri, "qemu", str(qemu.directory))
    try:
        assert [f.guest_alive for f in other.domains()] == [True]
    finally:
        other.close()


def test_a_second_writer_is_refused_by_the_image_lock(qemu: LibvirtBench) -> None:
    first = qemu.spec(17)
    qemu.hypervisor.start(first)
    with pytest.raises(HypervisorError, match="image lock"):
        qemu.hypervisor.start(replace(qemu.spec(18), disks=first.disks))
    assert [f.vm_id for f in qemu.hypervisor.domains()] == [17]


def test_a_start_that_fails_leaves_nothing(qemu: LibvirtBench) -> None:
    with pytest.raises(HypervisorError, match="no-such-kernel"):
        qemu.hypervisor.start(replace(qemu.spec(17), kernel="/no-such-kernel"))
    assert list(qemu.hypervisor.domains()) == []


def test_a_qemu_that_was_killed_reads_crashed_and_starts_again(qemu: LibvirtBench) -> None:
    assert qemu.daemon is not None
    qemu.hypervisor.start(qemu.spec(17))
    os.kill(qemu.daemon.qemu_pid("hf-17"), signal.SIGKILL)

    def ended() -> str:
        known = fact(qemu.hypervisor, 17)
        return known.ended if known is not None and known.state is DomainState.SHUTOFF else ""

    qemu.until("end of the domain", ended, 10)
    assert ended() == "crashed"
    qemu.hypervisor.start(qemu.spec(17))


def test_a_qemu_that_hangs_holds_up_neither_the_list_nor_other_vms_and_is_destroyed(qemu: LibvirtBench) -> None:
    assert qemu.daemon is not None
    qemu.hypervisor.start(qemu.spec(17))
    os.kill(qemu.daemon.qemu_pid("hf-17"), signal.SIGSTOP)
    for _ in range(3):
        before = time.monotonic()
        known = fact(qemu.hypervisor, 17)
        assert time.monotonic() - before < 2
        assert known is not None
        assert known.guest_alive is False
    qemu.hypervisor.start(qemu.spec(18))
    qemu.until("sign of life of the other", lambda: _alive(qemu, 18))
    before = time.monotonic()
    qemu.hypervisor.destroy(17, 1)
    assert time.monotonic() - before < 20
    assert [f.vm_id for f in qemu.hypervisor.domains()] == [18]


def test_a_libvirtd_that_hangs_is_unavailable_soon_and_works_again(qemu: LibvirtBench) -> None:
    assert qemu.daemon is not None
    qemu.hypervisor.start(qemu.spec(17))
    qemu.daemon.freeze()
    try:
        for _ in range(2):  # the open connection, then a new one that never gets an answer
            before = time.monotonic()
            with pytest.raises(HypervisorUnavailable):
                qemu.hypervisor.domains()
            assert time.monotonic() - before < 8
    finally:
        qemu.daemon.thaw()

    def answers() -> bool:
        try:
            return fact(qemu.hypervisor, 17) is not None
        except HypervisorUnavailable:
            return False

    qemu.until("answer", answers, 15)


def test_foreign_domains_are_neither_listed_nor_touched(qemu: LibvirtBench) -> None:
    assert qemu.daemon is not None
    xml = "<domain type='qemu'><name>hf-17</name><uuid>{}</uuid><memory>4096</memory><os><type>hvm</type></os></domain>"
    connection = libvirt.open(qemu.daemon.uri)
    foreign = connection.defineXML(xml.format(domain_uuid(17)))
    try:
        assert list(qemu.hypervisor.domains()) == []
        with pytest.raises(HypervisorError, match="not ours"):
            qemu.hypervisor.start(qemu.spec(17))
        with pytest.raises(HypervisorError, match="not ours"):
            qemu.hypervisor.destroy(17, 1)
        assert foreign.name() == "hf-17"
        assert not foreign.isActive()
    finally:
        foreign.undefine()
        connection.close()


def test_no_daemon_at_all_is_told_at_once(qemu: LibvirtBench) -> None:
    hypervisor = LibvirtHypervisor("qemu+unix:///system?socket=/nonexistent/sock", "qemu", patience=IMPATIENT)
    before = time.monotonic()
    with pytest.raises(HypervisorUnavailable, match="nonexistent"):
        hypervisor.domains()
    assert time.monotonic() - before < 2
    hypervisor.close()


def test_libvirt_learns_about_qemu_before_the_first_start(tmp_path: Path) -> None:
    """A daemon that never saw this QEMU: what it has to find out, it knows before any VM is to start."""
    knowledge = tmp_path / "cache"
    daemon = Libvirtd(tmp_path / "daemon", knowledge)
    daemon.start()
    hypervisor = LibvirtHypervisor(daemon.uri, "qemu", str(tmp_path))
    try:
        assert list(knowledge.glob("qemu/capabilities/*.xml")) == []
        hypervisor.learn_qemu()
        learnt = list(knowledge.glob("qemu/capabilities/*.xml"))
        assert "<qemuctime>" in learnt[0].read_text()
    finally:
        hypervisor.close()
        daemon.close()


def test_metrics_of_a_real_domain(qemu: LibvirtBench) -> None:
    qemu.hypervisor.start(qemu.spec(17))
    qemu.until("sign of life", lambda: _alive(qemu, 17))
    assert isinstance(qemu.hypervisor, LibvirtHypervisor)
    text = as_text(qemu.hypervisor.metrics()).decode()
    assert value(text, "libvirt_domain_info_vstate", domain="hf-17") == 1
    assert value(text, "libvirt_domain_info_cpu_time_seconds_total", domain="hf-17") > 0
    assert value(text, "libvirt_domain_info_maximum_memory_bytes", domain="hf-17") == qemu.spec(17).memory_mib * 2**20
    assert value(text, "libvirt_domain_info_virtual_cpus", domain="hf-17") == qemu.spec(17).cores
    assert value(text, "libvirt_domain_block_stats_write_bytes_total", domain="hf-17", target_device="vda") > 0
