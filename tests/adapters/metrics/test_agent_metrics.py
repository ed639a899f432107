"""What the agent measures, and the file in which it tells it."""

import os
import stat
from pathlib import Path

import pytest
from prometheus_client.core import GaugeMetricFamily

from app.adapters.libvirt.domain_metrics import families
from app.adapters.libvirt.hypervisor import LibvirtHypervisor
from app.adapters.metrics.agent_file import AgentFile, read_agent_file
from app.adapters.metrics.watchdog import MeasuredWatchdog
from app.adapters.watchdog.device import NoWatchdog
from app.ports.hypervisor import Disk, DomainSpec
from tests.api.full_scrape import STATS, Fed, Ticks, as_text, value


def _margin(watchdog: MeasuredWatchdog) -> float:
    return value(as_text(watchdog.metrics()).decode(), "holdfast_watchdog_margin_seconds")


def test_the_margin_is_what_was_left_at_the_worst_moment_of_the_last_minute() -> None:
    clock = Ticks()
    watchdog = MeasuredWatchdog(Fed(), clock.monotonic)
    assert "margin" not in as_text(watchdog.metrics()).decode(), "nothing was fed yet"
    for seconds in (0, 1, 7, 1, 2):
        clock.advance(seconds)
        watchdog.feed()
    assert _margin(watchdog) == 3
    for _ in range(61):
        clock.advance(1)
        watchdog.feed()
    assert _margin(watchdog) == 9, "the narrow escape was more than a minute ago"
    clock.advance(8)
    assert _margin(watchdog) == 2, "a feed that does not come counts before it comes"


def test_without_a_watchdog_there_is_no_margin() -> None:
    assert not list(MeasuredWatchdog(NoWatchdog(), Ticks().monotonic).metrics())


def test_domains_have_the_names_of_the_known_exporters() -> None:
    text = as_text(families([("hf-1", STATS), ("somebody-elses", STATS)])).decode()
    assert value(text, "libvirt_up") == 1
    assert value(text, "libvirt_domain_info_cpu_time_seconds_total", domain="hf-1") == 12.5
    assert value(text, "libvirt_domain_info_maximum_memory_bytes", domain="hf-1") == 2**30
    assert value(text, "libvirt_domain_info_memory_usage_bytes", domain="hf-1") == 2**29
    assert value(text, "libvirt_domain_info_virtual_cpus", domain="hf-1") == 2
    assert value(text, "libvirt_domain_info_vstate", domain="hf-1") == 1
    disk = {"domain": "hf-1", "target_device": "vda"}
    assert value(text, "libvirt_domain_block_stats_read_bytes_total", **disk) == 4096
    assert value(text, "libvirt_domain_block_stats_write_time_seconds_total", **disk) == 2
    nic = {"domain": "hf-1", "target_device": "vnet0"}
    assert value(text, "libvirt_domain_interface_stats_receive_packets_total", **nic) == 3
    assert value(text, "libvirt_domain_interface_stats_transmit_bytes_total", **nic) == 200
    assert "somebody-elses" not in text


def test_libvirts_own_driver_is_asked(tmp_path: Path) -> None:
    hypervisor = LibvirtHypervisor("test:///default", "test", str(tmp_path))
    try:
        disk = Disk("file", str(tmp_path / "disk"), "raw")
        hypervisor.start(DomainSpec(17, 1, "n1", "web", 1, 512, (disk,)))
        text = as_text(hypervisor.metrics()).decode()
    finally:
        hypervisor.destroy(17, 1)  # the driver is one for the whole process: the next test must not find it
        hypervisor.close()
    assert value(text, "libvirt_up") == 1
    assert value(text, "libvirt_domain_info_vstate", domain="hf-17") == 1
    assert 'domain="test"' not in text, "the driver's own domain is not ours"


def test_a_libvirt_that_does_not_answer_is_a_fact(tmp_path: Path) -> None:
    hypervisor = LibvirtHypervisor(f"qemu+unix:///system?socket={tmp_path}/none", "qemu")
    try:
        text = as_text(hypervisor.metrics()).decode()
    finally:
        hypervisor.close()
    assert value(text, "libvirt_up") == 0


def test_the_file_is_whole_readable_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "agent.prom"
    assert read_agent_file(path) is None
    numbers = iter((1, 2))

    def source() -> list[GaugeMetricFamily]:
        return [GaugeMetricFamily("holdfast_x", "Number of writings", value=next(numbers))]

    write = AgentFile(path, [source])
    previous = os.umask(0o077)
    try:
        write()
        write()
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    read = read_agent_file(path)
    assert read is not None
    assert value(read[0].decode(), "holdfast_x") == 2
    assert 0 <= read[1] < 60
    assert [p.name for p in tmp_path.iterdir()] == ["agent.prom"]
    with pytest.raises(StopIteration):
        write()
    assert value((read_agent_file(path) or (b"", 0))[0].decode(), "holdfast_x") == 2, "the old text stays, and gets old"
