"""A layout as text, for a node's disk and for the wire."""

import json
from dataclasses import asdict
from typing import Any

from app.domain.errors import DomainError
from app.domain.layout import Layout, Member
from app.domain.node import NodeRole


class MalformedLayout(DomainError):
    """What should be a layout is none."""


def layout_to_text(layout: Layout) -> str:
    """JSON."""
    return json.dumps(asdict(layout), indent=2) + "\n"


def layout_from_text(text: str) -> Layout:
    """The layout; MalformedLayout says what is wrong with the text."""
    try:
        raw: dict[str, Any] = json.loads(text)
        members = tuple(
            Member(m["id"], m["name"], tuple(m["addresses"]), NodeRole(m["role"]), m["database"])
            for m in raw.pop("members")
        )
        return Layout(members=members, **raw)
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedLayout(f"this is no layout of a cluster: {error}") from error
