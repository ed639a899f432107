"""A fresh lab's first tokens, plan and image, and its first VMs."""

import json

from app.lab.cloud import IMAGE, PLAN, Cloud, Tokens
from app.lab.cluster import Lab
from app.lab.errors import LabError


def open_cloud(lab: Lab) -> Cloud:
    """Make them, and wait until every node has reported itself."""
    first = lab.nodes[0]
    done = lab.run(first, [*lab.product, "bootstrap", "--config", lab.config_path])
    if done.returncode != 0:
        raise LabError(f"holdfast bootstrap failed: {done.stdout}{done.stderr}")
    said = json.loads(done.stdout)
    cloud = Cloud(f"http://127.0.0.1:{lab.api_port}", Tokens(said["admin_token"], said["project_token"]))
    image = lab.image_description()
    cloud.admin("POST", "/images", json={"name": IMAGE, "pool": "shared", **image})
    cloud.admin("POST", "/plans", json={"name": PLAN, "cores": 1, "memory_mib": 128, "disk_gib": 1})
    cloud.wait(lambda: set(cloud.nodes()) == set(lab.nodes), "every node's first report", 60)
    return cloud


def create_on(cloud: Cloud, node: str, names: list[str], *, plan: str = PLAN) -> dict[int, str]:
    """Create VMs on one node: the others are in maintenance meanwhile. Returns name by id once all are verified up."""
    others = [n for n, row in cloud.nodes().items() if n != node and not row["maintenance"]]
    for other in others:
        cloud.admin("POST", f"/nodes/{other}/maintenance", json={"maintenance": True})
    ids = {cloud.create_vm(name, plan=plan): name for name in names}
    for other in others:
        cloud.admin("POST", f"/nodes/{other}/maintenance", json={"maintenance": False})
    cloud.wait(cloud.all_verified, "VMs verified up", 120)
    return ids
