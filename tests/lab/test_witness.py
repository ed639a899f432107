"""Two nodes that host and a witness: whichever of the three goes, the others go on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.lab.cluster import NodeSettings
from app.lab.opening import open_cloud
from tests.lab.conftest import LabFactory
from tests.lab.story import Story

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def small(new_lab: LabFactory) -> Iterator[Story]:
    """n1 and n2 host, n3 is the witness."""
    lab = new_lab("w")
    lab.up([NodeSettings(memory_mib=2048), NodeSettings(memory_mib=2048), NodeSettings(role="witness")])
    cloud = open_cloud(lab)
    yield Story(lab, cloud)
    cloud.close()


def test_a_witness_hosts_nothing_and_breaks_the_tie(small: Story) -> None:
    ids = [small.cloud.create_vm(small.new_name()) for _ in range(3)]
    small.steady()
    assert {small.vm(i)["node"] for i in ids} == {"n1", "n2"}
    vms, last = small.placed("n1"), small.last_incident()
    small.lab.kill("n1")
    small.recovered(vms, after=last)
    assert {small.vm(i)["node"] for i in ids} == {"n2"}
    small.prove()
    small.whole_again()


def test_the_witness_lost_moves_nothing(small: Story) -> None:
    small.fill("n1", 1)
    vms, last = small.placed(), small.last_incident()
    small.lab.kill("n3")
    small.incident("n3", after=last)
    small.cloud.wait(
        lambda: small.cloud.incidents("n3")[-1]["phase"] == "closed", "the incident of the witness closed", 40
    )
    assert small.placed() == vms
    small.prove()
    small.whole_again()
    assert small.cloud.nodes()["n3"]["state"] == "online", "it proved itself clean and is back"
