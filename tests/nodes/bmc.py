"""The nodes' management controllers: Debian's `ipmi_sim`, one for each node, that cut and give the power of its QEMU.

`ipmi_sim` calls a program for every chassis command. Ours answers from QEMU's pid file, so what a fence agent
reads is the truth about the machine.
"""

from pathlib import Path

from tests.nodes.machine import Machine, until
from tests.nodes.rack import Rack, run

USER, PASSWORD = "holdfast", "secret"
_LAN = """name "{name}"
set_working_mc 0x20
 startlan 1
  addr {address} 623
  priv_limit admin
  allowed_auths_callback none md2 md5 straight
  allowed_auths_user none md2 md5 straight
  allowed_auths_operator none md2 md5 straight
  allowed_auths_admin none md2 md5 straight
  guid a123456789abcdefa123456789abcde{number}
 endlan
 chassis_control "{chassis}"
 user 1 false "" "test" user 10 none md2 md5 straight
 user 2 true "{user}" "{password}" admin 10 none md2 md5 straight
"""
_EMULATOR = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""
#: get|set|check PARAMETER [VALUE] ...; inherited descriptors are closed: they would keep ipmi_sim's sockets open
_CHASSIS = """#!/bin/bash
for f in /proc/$$/fd/*; do f=${{f##*/}}; [ $f -gt 2 ] && [ $f -ne 255 ] && eval "exec $f<&-" 2>/dev/null; done
operation=$1; shift
lives() {{ grep -qs '^State:[[:space:]]*[^ZX]' /proc/$p/task/*/status; }}
alive() {{ [ -f {pid} ] && p=$(cat {pid}) && lives; }}
while [ $# -gt 0 ]; do
  case $operation in
    get)
      case $1 in
        power) alive && echo power:1 || echo power:0 ;;
        boot) echo boot:default ;;
        *) exit 1 ;;
      esac
      shift ;;
    check) case $1 in power|reset|boot) ;; *) exit 1 ;; esac; shift ;;
    set)
      parameter=$1 value=$2; shift 2
      case $parameter in
        power)
          if [ "$value" = 1 ]; then touch {directory}/power-on-wanted
          elif alive; then kill -9 $p; while lives; do sleep 0.05; done; rm -f {pid}
          fi ;;
        boot) ;;
        *) exit 1 ;;
      esac ;;
  esac
done
exit 0
"""


class Bmc:
    """The controller of one machine, at 10.77.0.20N. Power that is asked for is given by `power_wanted`."""

    def __init__(self, rack: Rack, machine: Machine) -> None:
        self.address = f"10.77.0.{200 + machine.number}"
        self._machine = machine
        self._directory = machine.directory / "bmc"
        (self._directory / "state").mkdir(parents=True, exist_ok=True)
        chassis = self._write("chassis", _CHASSIS.format(pid=machine.directory / "pid", directory=machine.directory))
        chassis.chmod(0o755)
        lan = self._write(
            "lan.conf",
            _LAN.format(
                name=machine.name, address=self.address, number=machine.number, chassis=chassis, user=USER,
                password=PASSWORD,
            ),
        )  # fmt: skip
        emulator = self._write("sim.emu", _EMULATOR)
        rack.start(
            ["ipmi_sim", "-n", "-c", str(lan), "-f", str(emulator), "-s", str(self._directory / "state")],
            self._directory / "log",
        )
        self._rack = rack
        until(lambda: "on" in self.status() or "off" in self.status(), f"{machine.name}'s BMC", 30)

    def status(self) -> str:
        """What a client reads: `Chassis Power is on` or `off`; empty when it does not answer."""
        words = ["ipmitool", "-I", "lanplus", "-C", "3", "-H", self.address, "-U", USER, "-P", PASSWORD]
        try:
            return run(*self._rack.inside(*words, "chassis", "power", "status"))
        except Exception:  # noqa: BLE001  it may not be up yet
            return ""

    @property
    def power_wanted(self) -> bool:
        """Somebody asked for power since the last look."""
        flag = self._machine.directory / "power-on-wanted"
        wanted = flag.exists()
        flag.unlink(missing_ok=True)
        return wanted

    def _write(self, name: str, text: str) -> Path:
        file = self._directory / name
        file.write_text(text, encoding="utf-8")
        return file
