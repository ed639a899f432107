"""`holdfast api --dev`: the whole API, agent and libvirt's mock in one process of an ordinary user."""

from pathlib import Path

import httpx

from tests.cli.newcomers_api import newcomers_api, until


def test_a_newcomer_has_a_server_after_a_minute(tmp_path: Path) -> None:
    with newcomers_api(tmp_path) as api:
        assert oct((tmp_path / "tokens.json").stat().st_mode & 0o777) == "0o600"
        token = api.tokens["project_token"]
        with httpx.Client(base_url=api.url, headers={"Authorization": f"Bearer {token}"}) as http:
            wanted = {"name": "hello", "server_type": "small", "image": "empty"}
            made = http.post("/v1/servers", json=wanted, headers={"X-Correlation-Id": "order-17"})
            assert made.status_code == 201, made.text
            path = f"/v1/servers/{made.json()['server']['id']}"
            until(lambda: bool(http.get(path).json()["server"]["status"] == "running"), "the server to run")
            http.delete(path)
            until(lambda: http.get(path).status_code == 404, "the server to be gone")
    said = api.log.read_text()
    assert token in said, "the token is printed"
    of_order = [line for line in said.splitlines() if "correlation_id=order-17" in line]
    assert any("event=request" in line and "path=/v1/servers" in line for line in of_order), "the API's line"
    assert any('event="domain started"' in line and "vm=1" in line for line in of_order), "the agent's line"
