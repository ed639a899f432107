"""What of the product is on a node: after a purge, nothing."""

from tests.nodes.machine import Machine

#: what the package or its commands bring onto a node; what other packages write about themselves is theirs. The line
#: in fstab is the operator's; passwd- and the like are Debian's own backups.
_TRACES = (
    "find / -xdev \\( -path /proc -o -path /sys -o -path /srv -o -path /root -o -path /var/lib/dpkg"
    " -o -path /var/lib/apt -o -path /var/cache -o -path /var/log/apt -o -path /var/log/journal"
    " -o -path /etc/apt \\) -prune -o"
    " \\( -iname '*holdfast*' -o -path '/etc/pki/*' -o -path '/etc/corosync/*' \\) -print",
    "grep -rIl -i holdfast /etc --exclude-dir=apt --exclude=fstab"
    " --exclude=passwd- --exclude=group- --exclude=shadow- --exclude=gshadow-",
    "getent passwd holdfast; getent group holdfast",
    "systemctl list-unit-files --no-legend 'holdfast*'; systemctl list-units --all --no-legend 'holdfast*'",
    "ss -Hltnp | grep -e :8470 -e :8471; ss -Hlx | grep -i holdfast",
    "ps -eo args | grep -i '[h]oldfast'",
    "ls -d /dev/shm/*holdfast* /run/libvirt/qemu/hf-* /etc/libvirt/qemu/hf-* 2>/dev/null",
)


#: the state, in MariaDB's care: the last member keeps it, any other loses it by `holdfast cluster leave`
DATABASE = "/var/lib/mysql/holdfast"


def traces(machine: Machine) -> list[str]:
    """Every sign of the product on that node."""
    return [line for command in _TRACES for line in machine.ssh(command, check=False).splitlines()]
