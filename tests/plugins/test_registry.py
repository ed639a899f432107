"""Plugins that are wrong are refused at start, with a sentence that says which, why, and what to do."""

import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from app.plugin_api import Delivery, Disk, NetworkContext, PathWatch, Pool, StorageClient
from app.plugin_api.registry import GROUPS, PluginError, Registry

Write = Callable[[str, str], EntryPoint]
_HEAD = """
from pydantic import BaseModel, ConfigDict, Field, model_validator
from app.plugin_api import *

class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    path: str
    layers: int = Field(1, ge=1)

class NoPool:
    def ensure_volume(self, name, *, image_path, size_gib): return Disk("file", f"/pool/{name}", "raw")
    def remove_volume(self, name): return None
    def image_path(self, path): return path

"""
_GOOD = """
@hookimpl
def holdfast_storage_driver():
    return StorageDriver("good", Options, lambda options, context: NoPool())
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Make a plugin module, and the entry point that names it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def make(name: str, text: str, group: str = "holdfast.storage", head: str = _HEAD) -> EntryPoint:
        module = f"hf_test_plugin_{name}"
        (tmp_path / f"{module}.py").write_text(head + text, encoding="utf-8")
        made.append(module)
        return EntryPoint(name, module, group)

    yield make
    for module in made:
        sys.modules.pop(module, None)


def _refused(*points: EntryPoint) -> str:
    with pytest.raises(PluginError) as caught:
        Registry.load(points)
    return str(caught.value)


def test_the_plugins_that_come_with_the_product_load() -> None:
    registry = Registry.load()
    assert "file" in registry.names("holdfast.storage")
    assert "webhook" in registry.names("holdfast.billing")
    assert "pickup" in registry.names("holdfast.network")


def test_a_good_plugin_opens_a_pool_with_its_options(write: Write) -> None:
    registry = Registry.load([write("good", _GOOD)])
    pool: Pool = registry.storage("good", {"path": "/srv"}, name="fast", shared=True)
    assert pool.ensure_volume("vm-1-0", image_path="x", size_gib=1) == Disk("file", "/pool/vm-1-0", "raw")


def test_one_module_may_offer_drivers_of_two_groups(write: Write) -> None:
    text = _GOOD + (
        "\n@hookimpl\ndef holdfast_billing_driver():\n    return BillingDriver('post', Options, lambda options: None)\n"
    )
    point = write("both", text)
    registry = Registry.load([point, EntryPoint("both", point.value, "holdfast.billing")])
    assert (registry.names("holdfast.storage"), registry.names("holdfast.billing")) == (("good",), ("post",))


_DRIVER = "@hookimpl\ndef holdfast_storage_driver():\n    return "
WRONG: Sequence[tuple[str, str, Sequence[str]]] = [
    ("misspelt", "@hookimpl\ndef holdfast_storage_drivr(): ...", ["no hook holdfast_storage_drivr", "storage_driver"]),
    ("unmarked", _GOOD.replace("@hookimpl", ""), ["lacks @hookimpl"]),
    ("arguments", "@hookimpl\ndef holdfast_storage_driver(config): ...", ["holdfast_storage_driver", "config"]),
    ("missing", "x = 1", ["has no holdfast_storage_driver"]),
    ("async", "@hookimpl\nasync def holdfast_storage_driver(): ...", ["holdfast_storage_driver is async"]),
    ("coroutine", "async def later(): ...\n" + _DRIVER + "later()", ["must return a StorageDriver, not coroutine"]),
    ("dict", _DRIVER + "{'name': 'x'}", ["must return a StorageDriver, not dict"]),
    ("none", _DRIVER + "None", ["must return a StorageDriver, not NoneType"]),
    ("kind", _DRIVER + "BillingDriver('x', Options, print)", ["must return a StorageDriver, not BillingDriver"]),
    ("raises", _DRIVER + "1 / 0", ["holdfast_storage_driver failed", "ZeroDivisionError"]),
    ("name", _DRIVER + "StorageDriver('', Options, print)", ["the driver needs a name"]),
    ("number", _DRIVER + "StorageDriver(7, Options, print)", ["the driver needs a name"]),
    ("options", _DRIVER + "StorageDriver('x', dict, print)", ["options must be a pydantic model class"]),
    ("instance", _DRIVER + "StorageDriver('x', Options(path='/'), print)", ["options must be a pydantic model class"]),
    ("loose", "class Any(BaseModel): ...\n" + _DRIVER + "StorageDriver('x', Any, print)", ['have extra="forbid"']),
    ("open", _DRIVER + "StorageDriver('x', Options, None)", ["open must be callable"]),
    ("fence", _DRIVER + "StorageDriver('x', Options, print, True)", ["fence must be callable", "None where"]),
    ("import_fails", "raise OSError('no library')", ["cannot be imported", "OSError: no library"]),
    ("no_syntax", "def :", ["cannot be imported", "SyntaxError"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "said"), WRONG, ids=[name for name, _, _ in WRONG])
def test_a_wrong_plugin_is_refused_and_named(write: Write, name: str, text: str, said: Sequence[str]) -> None:
    error = _refused(write(name, text))
    assert f"plugin '{name}'" in error
    assert f"hf_test_plugin_{name}" in error
    for part in said:
        assert part in error


def test_a_missing_module_and_an_object_that_is_none_are_refused(write: Write) -> None:
    assert "cannot be imported" in _refused(EntryPoint("x", "hf_no_such_module", "holdfast.storage"))
    point = write("object", _GOOD)
    assert "must name a module, not ModelMetaclass" in _refused(
        EntryPoint("x", f"{point.value}:Options", "holdfast.storage")
    )


def test_two_plugins_with_one_driver_name_are_refused_and_both_are_named(write: Write) -> None:
    error = _refused(write("first", _GOOD), write("second", _GOOD))
    assert "'good'" in error
    assert "hf_test_plugin_first" in error
    assert "hf_test_plugin_second" in error


def test_the_distribution_is_named() -> None:
    """A real one: the product's own entry points carry their distribution."""
    from importlib.metadata import entry_points

    (point,) = entry_points(group="holdfast.network", name="pickup")
    error = _refused(point, point)
    assert "plugin 'pickup' of holdfast " in error


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"path": "/srv", "pth": "/x"}, ["pth: there is no such option", "its options: path, layers"]),
        ({}, ["path: Field required"]),
        ({"path": 7}, ["path: Input should be a valid string"]),
        ({"path": "/srv", "layers": 0}, ["layers: Input should be greater than or equal to 1"]),
        ({"layers": "many", "pth": 1}, ["path: Field required", "; ", "layers: ", "pth: "]),
    ],
)
def test_wrong_options_are_one_sentence_that_names_the_pool(
    write: Write, options: dict[str, object], said: Sequence[str]
) -> None:
    registry = Registry.load([write("good", _GOOD)])
    with pytest.raises(PluginError) as caught:
        registry.storage("good", options, name="fast", shared=False)
    error = str(caught.value)
    assert error.startswith("pool fast: wrong options for driver good: ")
    assert "\n" not in error
    for part in said:
        assert part in error


def test_an_unknown_driver_is_answered_with_those_there_are(write: Write) -> None:
    registry = Registry.load([write("good", _GOOD)])
    with pytest.raises(PluginError, match="pool fast: there is no driver 'god'; installed: good"):
        registry.storage("god", {}, name="fast", shared=False)
    with pytest.raises(PluginError, match="there is no driver 'webhook'; installed: none"):
        registry.billing("webhook", {})


@pytest.mark.parametrize(
    ("opens", "said"),
    [
        ("None", "open returned a NoneType, which lacks ensure_volume, remove_volume, image_path"),
        ("1 / 0", "cannot be opened: ZeroDivisionError"),
        ("Half()", "which lacks remove_volume, image_path"),
        ("Async()", "remove_volume is async"),
    ],
)
def test_what_a_driver_opens_must_have_the_methods_of_the_port(write: Write, opens: str, said: str) -> None:
    text = f"""
class Half:
    def ensure_volume(self, name, *, image_path, size_gib): ...
class Async(NoPool):
    async def remove_volume(self, name): ...
@hookimpl
def holdfast_storage_driver():
    return StorageDriver("x", Options, lambda options, context: {opens})
"""
    registry = Registry.load([write("opens", text)])
    with pytest.raises(PluginError) as caught:
        registry.storage("x", {"path": "/"}, name="fast", shared=False)
    assert "pool fast: driver x" in str(caught.value)
    assert said in str(caught.value)


_PICKUP = {
    "target": "10.99.0.1",
    "source": "10.99.1.11",
    "paths": [
        {"name": "eth1", "interface": "eth1", "gateway": "10.98.2.1", "metric": 20},
        {"name": "ib0", "interface": "ib0", "gateway": "10.98.1.1", "metric": 10},
    ],
}


def test_the_products_own_drivers_open_what_their_ports_ask_for() -> None:
    registry = Registry.load()
    watch: PathWatch = registry.network("pickup", _PICKUP, NetworkContext("n1", lambda _kind, _text: None))
    assert watch.reports() == ()
    watch.stop()
    delivery: Delivery = registry.billing("webhook", {"allow_private_targets": True})
    assert callable(delivery.deliver)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"target": "storage"}, "target: Input is not a valid IPv4 address"),
        ({"paths": []}, "paths: "),
        ({"paths": [_PICKUP["paths"][0]] * 2}, "every path needs a name of its own"),
        ({"probe_misses_max": 0}, "probe_misses_max: "),
        ({"failback": 1}, "failback: there is no such option"),
    ],
)
def test_wrong_options_of_pickup(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(PluginError) as caught:
        Registry.load().network("pickup", {**_PICKUP, **wrong}, NetworkContext("n1", lambda _kind, _text: None))
    assert said in str(caught.value)


def test_admission_votes_are_asked_with_the_arguments_they_take(write: Write) -> None:
    text = (
        _GOOD
        + """
@hookimpl
def holdfast_admit_vm(plan, memory_mib):
    return f"{plan} is sold out" if memory_mib > 1024 else None
"""
    )
    wrong = _GOOD.replace("good", "bad") + "\n@hookimpl\ndef holdfast_admit_vm():\n    return False\n"
    votes = Registry.load([write("votes", text)]).admission_votes()
    asked = {"project_id": 1, "plan": "big", "image": "debian-12"}
    assert [vote(**asked, memory_mib=2048) for vote in votes] == ["big is sold out"]
    assert [vote(**asked, memory_mib=512) for vote in votes] == [None]
    (bad,) = Registry.load([write("bad", wrong)]).admission_votes()
    with pytest.raises(PluginError, match="must return None or a text, not bool"):
        bad(**asked, memory_mib=1)


def test_every_group_has_its_hook() -> None:
    from app.plugin_api import hookspecs

    assert all(callable(getattr(hookspecs, hook)) for hook, _ in GROUPS.values())


_FENCE = """
class Fence:
    def cut(self, client, token, timeout_seconds): ...
    def read(self, client, timeout_seconds): return FenceReading(True, f"{client.node} at {client.address} is out")
    def restore(self, client, token, timeout_seconds): ...

@hookimpl
def holdfast_storage_driver():
    return StorageDriver("fenced", Options, lambda o, c: NoPool(), fence=lambda o, c: Fence())
"""


def test_a_pool_may_offer_a_fence_where_all_nodes_share_it(write: Write) -> None:
    registry = Registry.load([write("fenced", _FENCE), write("good", _GOOD)])
    fence = registry.storage_fence("fenced", {"path": "/srv"}, name="fast", shared=True)
    assert fence is not None
    assert fence.read(StorageClient("n2", "10.0.0.2"), 1.0).said == "n2 at 10.0.0.2 is out"
    assert registry.storage_fence("fenced", {"path": "/srv"}, name="own", shared=False) is None
    assert registry.storage_fence("good", {"path": "/srv"}, name="fast", shared=True) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            _FENCE.replace("    def restore(self, client, token, timeout_seconds): ...\n", ""),
            "Fence, which lacks restore",
        ),
        (_FENCE.replace("def cut", "async def cut"), "cut is async"),
        (_FENCE.replace("o, c: Fence()", "o, c: 1 / 0"), "ZeroDivisionError"),
    ],
)
def test_a_fence_that_is_none_is_refused_at_start(write: Write, text: str, said: str) -> None:
    registry = Registry.load([write("fenced", text)])
    with pytest.raises(PluginError, match=f"the fence of pool fast: driver fenced.*{said}"):
        registry.storage_fence("fenced", {"path": "/srv"}, name="fast", shared=True)
