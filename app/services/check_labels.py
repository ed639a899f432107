"""The rules for labels: those that the customers' tools check on their side, too."""

import re
from collections.abc import Mapping

from app.domain.errors import InvalidInput

_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.IGNORECASE)
_RESERVED = "hetzner.cloud"
_LABELS_MAX = 64


def check_labels(labels: Mapping[str, str]) -> None:
    """InvalidInput names the first label that cannot be used and says why."""
    if len(labels) > _LABELS_MAX:
        raise InvalidInput("labels", f"there are {len(labels)}, at most {_LABELS_MAX} are possible")
    for key, value in labels.items():
        prefix, slash, name = key.rpartition("/")
        if not is_label_key(key):
            raise InvalidInput("labels", f"the key {key[:100]!r} is not of the form [prefix/]name")
        if slash and prefix.lower() == _RESERVED:
            raise InvalidInput("labels", f"the prefix of {name!r} is reserved: choose another")
        if value and not _NAME.fullmatch(value):
            raise InvalidInput(
                "labels",
                f"the value of {key!r} must be empty or at most 63 letters, digits and . _ - between letters or digits",
            )


def is_label_key(key: str) -> bool:
    """True for [prefix/]name: a DNS subdomain of at most 253 characters, a name of at most 63."""
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _PREFIX.fullmatch(prefix)):
        return False
    return _NAME.fullmatch(name) is not None
