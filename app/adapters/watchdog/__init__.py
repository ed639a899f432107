"""The watchdog port: a kernel device, the lab's FIFO, or none."""

from app.adapters.watchdog.device import DeviceWatchdog, NoWatchdog, WatchdogRefused

__all__ = ["DeviceWatchdog", "NoWatchdog", "WatchdogRefused"]
