"""Write TOML (v1.0): the standard library only reads it."""

from __future__ import annotations

import json
from typing import Any


def to_toml(tables: dict[str, Any]) -> str:
    """`tables`: table name -> dict, or a list of dicts for an array of tables. Values inside are written inline."""
    lines: list[str] = []
    for name, table in tables.items():
        is_array = isinstance(table, list)
        for one in table if is_array else [table]:
            lines.append(f"[[{name}]]" if is_array else f"[{name}]")
            lines += [f"{key} = {_value(value)}" for key, value in one.items()]
            lines.append("")
    return "\n".join(lines)


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            # a JSON string without non-ASCII escapes is a TOML basic string
            return json.dumps(value, ensure_ascii=False)
        case list() | tuple():
            return "[" + ", ".join(_value(item) for item in value) + "]"
        case dict():
            return "{" + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + "}"
    raise TypeError(f"no TOML for {type(value).__name__}")
