"""The guide's plugin, as its reader would meet it: built, installed beside the product, found, configured, used."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tests.house.sources import ROOT

EXAMPLE = ROOT / "docs/examples/example-plugin"
GUIDE = ROOT / "docs/plugins.md"
#: what an author would try; one JSON object on stdout
_USE = """
import json, sys
from pathlib import Path
from app.domain.recovery import plan_recovery
from app.plugin_api.registry import PluginError, Registry
from app.ports.storage import StorageError
from dataclasses import replace
from tests.domain.make import lost, node, view, vm

root = Path(sys.argv[1])
registry = Registry.load()
said = {"drivers": registry.names("holdfast.storage")}
pool = registry.storage("raw-files", {"path": str(root)}, name="raw", shared=True)
disks = [pool.ensure_volume("vm-1-0", image_path="debian.raw", size_gib=1) for _ in range(2)]
said["disks"] = [(d.kind, d.path, d.format) for d in disks]
volume = Path(disks[0].path)
said["volume"] = [volume.stat().st_size, volume.read_bytes()[:6].decode()]
volume.write_bytes(b"the guest's own")
pool.ensure_volume("vm-1-0", image_path="debian.raw", size_gib=1)
said["kept"] = volume.read_bytes().decode()

def refusal(work, kind):
    try:
        work()
    except kind as error:
        return str(error)
    return None

said["refused"] = [
    refusal(lambda: pool.ensure_volume("vm-2-0", image_path="../../secret", size_gib=1), StorageError),
    refusal(lambda: pool.ensure_volume("../x", image_path="debian.raw", size_gib=1), StorageError),
    refusal(lambda: registry.storage("raw-files", {"path": "x"}, name="raw", shared=True), (PluginError, StorageError)),
    refusal(lambda: registry.storage("raw-files", {"pfad": "/x"}, name="raw", shared=True), PluginError),
]
pool.remove_volume("vm-1-0")
pool.remove_volume("vm-1-0")
said["left"] = sorted(p.name for p in (root / "volumes").iterdir())
(vote,) = registry.admission_votes()
said["votes"] = [vote(project_id=1, plan="huge", image="debian", memory_mib=m) for m in (1024, 131072)]
production = node("n2", tags=("production",), memory_mib=8192)
for env in ("test", "prod"):
    cluster = view([lost("n1"), production, node("n3")], [vm(1, "n1", labels={"env": env})])
    plan = plan_recovery(replace(cluster, advice=registry.placement_advice()), "n1")
    said[env] = [a.node for a in plan.assigned]
print(json.dumps(said))
"""


def _run(*words: str, **env: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **env}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the installed plugin does."""
    place = tmp_path_factory.mktemp("plugin")
    source, site, pool = place / "source", place / "site", place / "pool"
    shutil.copytree(EXAMPLE, source)  # a build leaves things in the directory
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")
    _run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(place / "dist"), str(source))
    (wheel,) = (place / "dist").glob("holdfast_example-1.0-py3-none-any.whl")
    _run(*pip, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    (pool / "images").mkdir(parents=True)
    (pool / "images/debian.raw").write_bytes(b"debian" + bytes(1000))
    out = _run(sys.executable, "-c", _USE, str(pool), PYTHONPATH=f"{site}{os.pathsep}{ROOT}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return {**found, "pool": str(pool)}


def test_it_is_found_beside_those_of_the_product(said: dict[str, Any]) -> None:
    assert {"file", "raw-files"} <= set(said["drivers"])


def test_its_pool_makes_keeps_and_removes_volumes(said: dict[str, Any]) -> None:
    assert said["disks"] == [["file", f"{said['pool']}/volumes/vm-1-0.raw", "raw"]] * 2
    assert said["volume"] == [1 << 30, "debian"]
    assert said["kept"] == "the guest's own"
    assert said["left"] == []


def test_what_cannot_be_is_refused_with_a_sentence(said: dict[str, Any]) -> None:
    outside, name, relative, option = said["refused"]
    assert "is the pool mounted?" in outside
    assert "is no name for a volume" in name
    assert "must be absolute" in relative
    assert "pfad" in option
    assert "path" in option


def test_its_house_rules_vote_refuse_and_prefer(said: dict[str, Any]) -> None:
    assert said["votes"][0] is None
    assert "sales team" in said["votes"][1]
    assert said["test"] == ["n3"], "a test VM keeps away from production"
    assert said["prod"] == ["n2"], "the larger node has more points"


def test_the_guide_shows_the_very_files() -> None:
    shown = dict(re.findall(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.M | re.S))
    files = {
        p.relative_to(EXAMPLE).as_posix() for p in EXAMPLE.rglob("*") if p.is_file() and "__pycache__" not in p.parts
    }
    assert set(shown) == files - {"holdfast_example/__init__.py"}
    for name, text in shown.items():
        assert text == (EXAMPLE / name).read_text(encoding="utf-8"), f"docs/plugins.md shows another {name}"


def test_it_imports_nothing_of_the_product_but_what_plugins_may() -> None:
    for file in EXAMPLE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert node.module.split(".")[0] not in ("app", "plugins") or node.module == "app.plugin_api", file.name


def test_the_guide_names_every_hook_and_group() -> None:
    from app.plugin_api import hookspecs
    from app.plugin_api.registry import GROUPS, PLACEMENT

    text = GUIDE.read_text(encoding="utf-8")
    for word in (*GROUPS, PLACEMENT, *(n for n in vars(hookspecs) if n.startswith("holdfast_"))):
        assert f"`{word}`" in text, f"docs/plugins.md says nothing of {word}"
