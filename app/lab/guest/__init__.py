"""The lab's guest image: Debian's cloud kernel, busybox and `init`, which counts ticks on console and disk."""
