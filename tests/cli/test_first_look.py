"""`holdfast api --dev`: the whole API, agent and libvirt's mock in one process of an ordinary user."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx


def test_a_newcomer_has_a_server_after_a_minute(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        sys.executable,
        "-m",
        "app.cli.main",
        "api",
        "--dev",
        "--dir",
        str(tmp_path),
        "--listen",
        f"127.0.0.1:{port}",
    ]
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, env=os.environ)
    try:
        tokens = _tokens(tmp_path / "tokens.json", process)
        assert oct((tmp_path / "tokens.json").stat().st_mode & 0o777) == "0o600"
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {tokens['project_token']}"}
        ) as http:
            _until(lambda: _answers(http), "an answer")
            wanted = {"name": "hello", "server_type": "small", "image": "empty"}
            made = http.post("/v1/servers", json=wanted, headers={"X-Correlation-Id": "order-17"})
            assert made.status_code == 201, made.text
            path = f"/v1/servers/{made.json()['server']['id']}"
            _until(lambda: http.get(path).json()["server"]["status"] == "running", "the server to run")
            http.delete(path)
            _until(lambda: http.get(path).status_code == 404, "the server to be gone")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
    said = log.read_text()
    assert tokens["project_token"] in said, "the token is printed"
    of_order = [line for line in said.splitlines() if "correlation_id=order-17" in line]
    assert any("event=request" in line and "path=/v1/servers" in line for line in of_order), "the API's line"
    assert any('event="domain started"' in line and "vm=1" in line for line in of_order), "the agent's line"


def _tokens(file: Path, process: "subprocess.Popen[bytes]") -> dict[str, str]:
    def there() -> bool:
        assert process.poll() is None, (file.parent / "log").read_text()
        return file.exists() and file.stat().st_size > 0

    _until(there, "the tokens")
    found: dict[str, str] = json.loads(file.read_text())
    return found


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _until(ready: object, what: str, timeout_seconds: float = 40) -> None:
    assert callable(ready)
    until = time.monotonic() + timeout_seconds
    while not ready():
        assert time.monotonic() < until, f"waited {timeout_seconds:g} s for {what}"
        time.sleep(0.1)
