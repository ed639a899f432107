"""The second heartbeat over the storage: a node that lost only its management network keeps its VMs; one that lost its
storage as well is fenced, and they run elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from app.lab.cluster import NodeSettings
from app.lab.opening import open_cloud
from app.lab.paths import POOL_IN_NODE
from app.lab.wait import wait_until
from tests.lab.conftest import LabFactory
from tests.lab.story import Story

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def beating(new_lab: LabFactory) -> Iterator[Story]:
    """Three nodes whose pool carries the heartbeat."""
    lab = new_lab("h")
    lab.up([NodeSettings(memory_mib=2048)] * 3, config={"pools": {"shared": {"heartbeat": True}}})
    cloud = open_cloud(lab)
    yield Story(lab, cloud)
    cloud.close()


def test_an_isolated_node_keeps_its_vms(beating: Story) -> None:
    """For longer than its watchdog and every proof by time would take; its fence device works and is not used."""
    vms, last = beating.fill("n3", 2), beating.last_incident()
    boots, placed = beating.boots(vms), beating.placed()
    beating.lab.cut("n3", ["eth0"])
    cut_at = time.monotonic()
    beating.step("n3", "isolated", after=last)
    beating.cloud.wait(lambda: beating.cloud.nodes()["n3"]["condition"] == "isolated", "n3 shown as isolated", 10)
    wait_until(lambda: time.monotonic() - cut_at > 30, 40, "the end of the cut")  # so long it must hold
    beating.ticks_on(vms)
    beating.lab.heal("n3", ["eth0"])
    beating.cloud.wait(lambda: beating.cloud.nodes()["n3"]["state"] == "online", "n3 hosting again", 60)
    beating.steady()
    beating.ticks_on(vms)
    assert beating.placed() == placed, "nothing moved"
    assert beating.boots(vms) == boots, "no guest was rebooted"
    assert [i["proof"] for i in beating.cloud.incidents(after=last)] == [None], "nobody was fenced"
    assert beating.cloud.nodes()["n3"]["condition"] == ""
    beating.prove()
    beating.whole_again()


def test_one_that_loses_its_storage_as_well_is_fenced(beating: Story) -> None:
    """Its beat stands still then: it failed, as far as anybody can tell."""
    vms, last = beating.fill("n3", 2), beating.last_incident()
    beating.lab.cut("n3", ["eth0"])
    beating.step("n3", "isolated", after=last)
    beating.lab.run("n3", ["umount", "--lazy", POOL_IN_NODE]).check_returncode()
    incident = beating.recovered(vms, after=last)
    assert [s["what"] for s in incident["steps"] if s["what"] in ("isolated", "failed")] == ["isolated", "failed"]
    assert incident["proof"]["method"] == "power"
    beating.prove()
    beating.whole_again()
