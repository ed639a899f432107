"""The heartbeat over storage: records in a directory that all nodes have mounted."""

from app.adapters.heartbeat.directory import DirectoryHeartbeat

__all__ = ["DirectoryHeartbeat"]
