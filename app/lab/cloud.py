"""Talking to the lab's cluster as a customer and an operator would: over HTTP, through the gateway."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from app.lab.errors import LabError

PLAN = "tiny"
IMAGE = "lab-guest"


@dataclass(frozen=True)
class Tokens:
    """What `holdfast bootstrap` printed."""

    admin: str
    project: str


class Cloud:
    """The API of a running lab. Reads are tried again while the gateway looks for a node that lives."""

    def __init__(
        self, base_url: str, tokens: Tokens, *, patience_seconds: float = 20, timeout_seconds: float = 10,
        transport: httpx.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        self.base_url = base_url
        self.tokens = tokens
        self._patience_seconds = patience_seconds
        self._http = httpx.Client(base_url=base_url, timeout=timeout_seconds, transport=transport)

    def close(self) -> None:
        """Give up the connections."""
        self._http.close()

    def call(self, method: str, path: str, token: str, **arguments: Any) -> Any:
        """The JSON of the answer, None when it has none. LabError for a refusal or when nobody answers for long."""
        until = time.monotonic() + self._patience_seconds
        headers = {"Authorization": f"Bearer {token}", **arguments.pop("headers", {})}
        while True:
            try:
                answer = self._http.request(method, path, headers=headers, **arguments)
            except httpx.HTTPError as error:
                said = f"{type(error).__name__}: {error}"
            else:
                if answer.status_code < 400:
                    return answer.json() if answer.content else None
                said = f"{answer.status_code} {answer.text[:500]}"
                if answer.status_code not in (502, 503, 504):
                    raise LabError(f"{method} {path}: {said}")
            if time.monotonic() > until:
                raise LabError(f"{method} {path}: {said}")
            time.sleep(0.2)

    def admin(self, method: str, path: str, **arguments: Any) -> Any:
        """A call to /admin/v1."""
        return self.call(method, f"/admin/v1{path}", self.tokens.admin, **arguments)

    def customer(self, method: str, path: str, **arguments: Any) -> Any:
        """A call to /v1."""
        return self.call(method, f"/v1{path}", self.tokens.project, **arguments)

    def create_vm(self, name: str, *, plan: str = PLAN, image: str = IMAGE) -> int:
        """Ask for a VM and return its id. The key makes a repeated request harmless."""
        body = {"name": name, "server_type": plan, "image": image}
        answer = self.customer("POST", "/servers", json=body, headers={"Idempotency-Key": f"create-{name}"})
        return int(answer["server"]["id"])

    def vms(self) -> list[dict[str, Any]]:
        """All VMs as an operator sees them."""
        return list(self.admin("GET", "/vms", params={"per_page": 50})["vms"])

    def nodes(self) -> dict[str, dict[str, Any]]:
        """All nodes by name."""
        return {n["name"]: n for n in self.admin("GET", "/nodes")["nodes"]}

    def incidents(self, node: str = "", *, after: int = 0) -> list[dict[str, Any]]:
        """Incidents with their steps, oldest first; of one node if named, with an id above `after`."""
        wanted = {"per_page": 50} | ({"node": node} if node else {})
        found = self.admin("GET", "/incidents", params=wanted)["incidents"]
        ids = sorted(int(i["id"]) for i in found if int(i["id"]) > after)
        return [self.admin("GET", f"/incidents/{i}")["incident"] for i in ids]

    def last_incident(self) -> int:
        """The id of the newest incident; 0 when there is none."""
        found = self.admin("GET", "/incidents", params={"per_page": 50})["incidents"]
        return max((int(i["id"]) for i in found), default=0)

    def wait(self, ready: Callable[[], bool], what: str, timeout_seconds: float) -> None:
        """Poll until `ready`. LabError names what did not come, and shows the VMs and incidents.

        A slow API is asked less often: the answers must not cost more than what is waited for.
        """
        until = time.monotonic() + timeout_seconds
        while True:
            asked_at = time.monotonic()
            if ready():
                return
            if time.monotonic() > until:
                raise LabError(f"{what} did not come within {timeout_seconds:g} s: {self.vms()} {self.incidents()}")
            time.sleep(min(max(0.2, 3 * (time.monotonic() - asked_at)), 5))

    def all_verified(self) -> bool:
        """Every VM that is wanted running is verified up."""
        return all(v["verified"] for v in self.vms() if v["desired"] == "running")
