#!/bin/busybox sh
# The guest of these tests: says who it is, writes to its disk once per second, powers off at the button.
PATH=/bin
mount -t proc p /proc
mount -t sysfs s /sys
mount -t devtmpfs d /dev
exec 0</dev/null 1>/dev/console 2>&1
for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk button evdev pvpanic pvpanic-mmio \
  virtio_console; do
  [ -f /m/$m.ko ] && insmod /m/$m.ko
done
echo "TEST-GUEST up"
echo "TEST-GUEST oem $(tr '\000' '\n' </sys/firmware/dmi/entries/11-0/raw | grep -a -o 'holdfast\..*' | tr '\n' ' ')"
# event0 may be the keyboard: look for the button. Opened before the first tick, so that no press is lost.
BUTTON=
until [ -c "/dev/input/$BUTTON" ]; do
  for i in /sys/class/input/event*; do
    read -r NAME <$i/device/name && [ "$NAME" = "Power Button" ] && BUTTON=${i##*/}
  done
done
exec 4</dev/input/$BUTTON
(dd bs=24 count=1 of=/dev/null 2>/dev/null <&4 && poweroff -f) &
# What the test wants to happen: test.do=panic, watchdog, shutdown, or agent (it answers three pings, then hangs).
DO=$(tr ' ' '\n' </proc/cmdline | grep test.do=)
watchdog() { # the i6300esb without a driver, by its PCI configuration: fast clock, enable; nobody feeds it
  for d in /sys/bus/pci/devices/*; do
    [ "$(cat $d/device)" = 0x25ab ] || continue
    printf '\004\000' | dd of=$d/config bs=2 seek=48 count=1 conv=notrunc 2>/dev/null
    printf '\002' | dd of=$d/config bs=1 seek=104 count=1 conv=notrunc 2>/dev/null
  done
}
agent() {
  PORT=
  until [ -c "$PORT" ]; do # a redirection expands no pattern, a loop does
    for PORT in /dev/vport*p1; do :; done
    sleep 0.2
  done
  exec 5<>$PORT
  PINGS=0
  while [ $PINGS -lt 3 ] && read -r LINE <&5; do
    case $LINE in
      *guest-sync*) ID=${LINE##*\"id\":}; echo "{\"return\": ${ID%%[!0-9]*}}" >&5 ;;
      *guest-ping*) PINGS=$((PINGS + 1)); echo '{"return": {}}' >&5; echo "TEST-GUEST ping $PINGS" ;;
    esac
  done
  while :; do sleep 100; done
}
case ${DO#test.do=} in
  panic) (sleep 1; echo c >/proc/sysrq-trigger) & ;;
  watchdog) watchdog ;;
  shutdown) (sleep 1; poweroff -f) & ;;
  agent) agent & ;;
esac
N=0
while :; do
  N=$((N + 1))
  [ -b /dev/vda ] && echo "tick $N" | dd of=/dev/vda bs=512 count=1 conv=sync,notrunc oflag=direct 2>/dev/null
  echo "TEST-GUEST tick $N"
  sleep 1
done
