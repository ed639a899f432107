"""Every hook is typed and documented, and so is everything else that a plugin may import."""

import inspect
import typing
from typing import Any

import pytest

import app.plugin_api
from app.plugin_api import hookspecs
from app.plugin_api.registry import GROUPS

OTHERS = {"holdfast_admit_vm", "holdfast_placement_filter", "holdfast_placement_score"}
HOOKS = {n: f for n, f in vars(hookspecs).items() if n.startswith("holdfast_")}


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_typed_and_documented(name: str) -> None:
    function = HOOKS[name]
    assert hasattr(function, "holdfast_spec"), "it is not marked as a hook"
    assert len(inspect.getdoc(function) or "") > 40
    types = typing.get_type_hints(function)
    assert "return" in types
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.name in types, f"{parameter.name} has no type"
        assert types[parameter.name] is not Any


def test_the_hooks_are_those_of_the_groups_and_the_vote() -> None:
    assert set(HOOKS) == {hook for hook, _ in GROUPS.values()} | OTHERS


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_gets_from_its_hook_what_the_registry_expects(group: str) -> None:
    hook, kind = GROUPS[group]
    assert typing.get_type_hints(HOOKS[hook])["return"] is kind
    assert group in (inspect.getdoc(HOOKS[hook]) or "")


@pytest.mark.parametrize("name", app.plugin_api.__all__)
def test_what_a_plugin_may_import_is_documented(name: str) -> None:
    value = getattr(app.plugin_api, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value)
        # What dataclass writes by itself, "Name(field: type, ...)", says nothing.
        assert not (inspect.getdoc(value) or "").startswith(f"{name}(")
