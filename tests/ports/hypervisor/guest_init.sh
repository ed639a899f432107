#!/bin/busybox sh
# The guest of these tests: says who it is, writes to its disk once per second, powers off at the button.
PATH=/bin
mount -t proc p /proc
mount -t sysfs s /sys
mount -t devtmpfs d /dev
exec 0</dev/null 1>/dev/console 2>&1
for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk button evdev; do
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
N=0
while :; do
  N=$((N + 1))
  [ -b /dev/vda ] && echo "tick $N" | dd of=/dev/vda bs=512 count=1 conv=sync,notrunc oflag=direct 2>/dev/null
  echo "TEST-GUEST tick $N"
  sleep 1
done
