"""This node's domains as Prometheus metrics, under the names of the libvirt exporters that operators know.

Names and meanings are those of kumina/libvirt_exporter and its successors (`libvirt_up`, `libvirt_domain_info_*`,
`libvirt_domain_block_stats_*`, `libvirt_domain_interface_stats_*`), so that dashboards made for those work. Only our
own domains are told.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import libvirt
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from app.adapters.libvirt.identity import NAME_PREFIX
from app.adapters.libvirt.session import Session
from app.ports.hypervisor import HypervisorError

_WANTED = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
_KIB = 1024
_NANO = 1e-9
#: metric, what it says, key of libvirt's statistics, factor; gauges of the domain
_INFO = (
    ("libvirt_domain_info_vstate", "1 running, 3 paused, 4 going down, 5 off, 6 crashed", "state.state", 1),
    ("libvirt_domain_info_virtual_cpus", "Number of virtual CPUs", "vcpu.current", 1),
    ("libvirt_domain_info_maximum_memory_bytes", "Memory the domain may have, in bytes", "balloon.maximum", _KIB),
    ("libvirt_domain_info_memory_usage_bytes", "Memory the domain has, in bytes", "balloon.current", _KIB),
)  # fmt: skip
_CPU = ("libvirt_domain_info_cpu_time_seconds_total", "CPU time the domain used, in seconds", "cpu.time", _NANO)
_BLOCK = (
    ("libvirt_domain_block_stats_read_bytes_total", "Bytes read from a disk, in bytes", "rd.bytes", 1),
    ("libvirt_domain_block_stats_read_requests_total", "Number of read requests to a disk", "rd.reqs", 1),
    ("libvirt_domain_block_stats_read_time_seconds_total", "Time spent on reads, in seconds", "rd.times", _NANO),
    ("libvirt_domain_block_stats_write_bytes_total", "Bytes written to a disk, in bytes", "wr.bytes", 1),
    ("libvirt_domain_block_stats_write_requests_total", "Number of write requests to a disk", "wr.reqs", 1),
    ("libvirt_domain_block_stats_write_time_seconds_total", "Time spent on writes, in seconds", "wr.times", _NANO),
)
_NET = tuple(
    (f"libvirt_domain_interface_stats_{way}_{what}_total", f"{says}, {doing}", f"{short}.{key}", 1)
    for way, short, doing in (("receive", "rx", "received"), ("transmit", "tx", "sent"))
    for what, key, says in (
        ("bytes", "bytes", "Bytes of an interface in bytes"),
        ("packets", "pkts", "Number of packets of an interface"),
        ("errors", "errs", "Number of errors of an interface"),
        ("drops", "drop", "Number of dropped packets of an interface"),
    )
)

Stats = Mapping[str, Any]
Row = tuple[str, str, str, float]


class DomainMetrics:
    """Asks libvirt on a connection of its own, in one bulk call that waits for no job of any domain.

    A QEMU that hangs keeps the caller waiting all the same: nothing that is in a hurry may call this.
    """

    def __init__(self, own_session: Callable[[], AbstractContextManager[Session]]) -> None:
        self._own_session = own_session

    def metrics(self) -> Sequence[Metric]:
        """`libvirt_up` 0 and no more when libvirt does not answer."""
        try:
            with self._own_session() as session, session.calling("read the statistics") as connection:
                flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
                found = _listed(connection, flags)
        except HypervisorError:
            return [_up(0)]
        return families(found)


def families(found: Iterable[tuple[str, Stats]]) -> list[Metric]:
    """libvirt's statistics by domain name, as `getAllDomainStats` has them; domains of others are left out."""
    ours = [(name, stats) for name, stats in found if name.startswith(NAME_PREFIX)]
    return [_up(1), *_info(ours), *_devices(ours, "block", _BLOCK), *_devices(ours, "net", _NET)]


def _listed(connection: libvirt.virConnect, flags: int) -> list[tuple[str, Stats]]:
    """libvirt's test driver knows the states only, and no such flag."""
    try:
        found = connection.getAllDomainStats(_WANTED, flags)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_NO_SUPPORT):
            raise
        found = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
    return [(domain.name(), stats) for domain, stats in found]


def _up(value: int) -> Metric:
    family = GaugeMetricFamily("libvirt_up", "1 if libvirt answered")
    family.add_metric((), value)
    return family


def _family(row: Row, labels: Sequence[str]) -> Any:
    name, says, _, _ = row
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    return kind(name, says, labels=labels)


def _info(domains: Iterable[tuple[str, Stats]]) -> list[Metric]:
    found: list[Metric] = []
    for row in (*_INFO, _CPU):
        family = _family(row, ("domain",))
        for name, stats in domains:
            if row[2] in stats:
                family.add_metric((name,), stats[row[2]] * row[3])
        found.append(family)
    return found


def _devices(domains: Iterable[tuple[str, Stats]], kind: str, rows: Sequence[Row]) -> list[Metric]:
    """libvirt counts devices: block.count, block.0.name, block.0.rd.bytes, ..."""
    found: list[Metric] = []
    for row in rows:
        family = _family(row, ("domain", "target_device"))
        for name, stats in domains:
            for number in range(int(stats.get(f"{kind}.count", 0))):
                value = stats.get(f"{kind}.{number}.{row[2]}")
                if value is not None:
                    family.add_metric((name, str(stats.get(f"{kind}.{number}.name", number))), value * row[3])
        found.append(family)
    return found
