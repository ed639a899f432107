"""The query language for labels: `k=v`, `k==v`, `k!=v`, `k`, `!k`, `k in (a,b)`, `k notin (a,b)`, joined by commas."""

import re
from collections.abc import Callable, Mapping

from app.domain.errors import InvalidInput
from app.services.check_labels import is_label_key

Labels = Mapping[str, str]
Test = Callable[[Labels], bool]

_SET = re.compile(r"(?P<key>\S+)\s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(r"(?P<key>[^!=\s]+)\s*(?P<word>==|=|!=)\s*(?P<value>[^!=\s]*)")
#: a comma that is not inside of parentheses
_COMMA = re.compile(r",(?![^(]*\))")


def label_selector(text: str) -> Test:
    """Whether labels match all parts. InvalidInput names the part that cannot be read."""
    tests = [_part(part.strip()) for part in _COMMA.split(text)]
    return lambda labels: all(test(labels) for test in tests)


def _part(part: str) -> Test:
    if found := _SET.fullmatch(part):
        values = frozenset(v.strip() for v in found["values"].split(","))
        return _among(_key(found["key"], part), values, wanted=found["word"] == "in")
    if found := _EQUAL.fullmatch(part):
        return _among(_key(found["key"], part), frozenset({found["value"]}), wanted=found["word"] != "!=")
    absent = part.startswith("!")
    key = _key(part.removeprefix("!").strip(), part)
    return lambda labels: (key not in labels) == absent


def _among(key: str, values: frozenset[str], *, wanted: bool) -> Test:
    """A label that is not there equals nothing, so it passes `!=` and `notin`."""
    return lambda labels: (key in labels and labels[key] in values) == wanted


def _key(key: str, part: str) -> str:
    if not is_label_key(key):
        raise InvalidInput("label_selector", f"cannot read {part[:100]!r}; write for example env=prod,!old")
    return key
