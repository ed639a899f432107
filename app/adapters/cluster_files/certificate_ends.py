"""When this node's certificates end, for monitoring: read again only when a file has changed.

Until the first look nothing of cryptography is imported.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from app.adapters.cluster_files import places

FILES = {"node": places.NODE_CERTIFICATE, "authority": places.CA_CERTIFICATE}


class CertificateEnds:
    """Name -> seconds since the epoch (UTC) at which it ends. One that is not there, or cannot be read, is left out."""

    def __init__(self, files: Mapping[str, Path] = FILES) -> None:
        self._files = files
        self._known: dict[str, tuple[float, float]] = {}

    def __call__(self) -> Mapping[str, float]:
        """One look."""
        from app.adapters.cluster_files import pki

        found = {}
        for name, path in self._files.items():
            try:
                changed = path.stat().st_mtime
                if self._known.get(name, (None, 0.0))[0] != changed:
                    now = datetime.now(UTC)
                    self._known[name] = changed, now.timestamp() + pki.days_left(path.read_bytes(), now) * 86400
            except (OSError, ValueError):
                continue
            found[name] = self._known[name][1]
        return found
