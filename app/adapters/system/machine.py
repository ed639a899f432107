"""This machine as the kernel describes it."""

import os
from pathlib import Path


def memory_mib() -> int:
    """Physical memory in MiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def boot_id() -> str:
    """Random for each boot of the kernel: proc(5), /proc/sys/kernel/random/boot_id."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
