"""How the commands talk to the API: where it is, who asks, and what each outcome is for a shell.

Exit codes: 0 done, 1 refused, 2 wrong usage (typer's own), 3 the API does not answer. What went wrong is one line on
stderr. A request is repeated when nobody answered; a POST has an idempotency key, so it has one effect all the same.
Who watches something that goes on without the command is patient: see `Api.patient`.
"""

import json
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn
from urllib.parse import quote, unquote

import httpx
import typer

REFUSED, USAGE, UNREACHABLE = 1, 2, 3
TRIES = 3
TRY_AGAIN_SECONDS = 0.5
TIMEOUT_SECONDS = 15.0
POLL_SECONDS = 0.3
#: an API that restarts in an upgrade, or whose node copies several VMs' memory, is away for less
PATIENCE_SECONDS = 180.0
_PER_PAGE = 50

ApiOption = Annotated[
    str, typer.Option("--api", envvar="HOLDFAST_API", help="http://ADDRESS:PORT or unix:/PATH of the API.")
]
TokenOption = Annotated[str, typer.Option("--token", envvar="HOLDFAST_TOKEN", help="Your token.", show_default=False)]
ProjectOption = Annotated[
    str,
    typer.Option(
        "--project", envvar="HOLDFAST_PROJECT", help="The project, with an operator's token.", show_default=False
    ),
]
DEFAULT_API = "http://127.0.0.1:8470"
Json = dict[str, Any]


def fail(message: str, code: int) -> NoReturn:
    """One line on stderr, and the end."""
    sys.stderr.write(f"holdfast: {' '.join(message.split())}\n")
    raise typer.Exit(code)


def segment(text: str) -> str:
    """A name as one part of a path, whatever is in it; `.` and `..` would be taken for steps."""
    if text in ("", ".", ".."):
        fail(f"{text!r} is no name", USAGE)
    return quote(text, safe="")


class Api:
    """One API and one token."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._said_disarmed = False
        self._patience_seconds = 0.0

    @contextmanager
    def patient(self, goes_on: str, at_most_seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
        """For who watches: no answer ends it only after PATIENCE_SECONDS or less; `goes_on` then says what is true."""
        self._patience_seconds = min(PATIENCE_SECONDS, at_most_seconds)
        try:
            yield
        except typer.Exit as ended:
            if ended.exit_code == UNREACHABLE:
                sys.stderr.write(f"holdfast: {goes_on}\n")
            raise
        finally:
            self._patience_seconds = 0.0

    def get(self, path: str, **params: object) -> Json:
        """One object."""
        return self._call("GET", path, params=params)

    def pages(self, path: str, name: str, **params: object) -> list[Json]:
        """All of a list, page by page."""
        rows: list[Json] = []
        page: int | None = 1
        while page is not None:
            answer = self.get(path, **params, page=page, per_page=_PER_PAGE)
            rows += answer[name]
            page = answer["meta"]["pagination"]["next_page"]
        return rows

    def post(
        self, path: str, body: Mapping[str, object] | None = None, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> Json:
        """A write with one effect, however often it had to be sent."""
        key = {"Idempotency-Key": str(uuid.uuid4())}
        return self._call("POST", path, json=dict(body or {}), headers=key, timeout=timeout_seconds)

    def put(self, path: str, body: Mapping[str, object]) -> Json:
        """Said twice it is done once."""
        return self._call("PUT", path, json=dict(body))

    def patch(self, path: str, body: Mapping[str, object]) -> Json:
        """Change some fields; said twice it is done once."""
        return self._call("PATCH", path, json=dict(body))

    def delete(self, path: str) -> Json:
        """Said twice it is done once."""
        return self._call("DELETE", path)

    def wait(self, actions: Sequence[Json], timeout_seconds: float) -> None:
        """Until all these actions have ended. Exits with REFUSED if one failed or time is up."""
        until = time.monotonic() + timeout_seconds
        for action in actions:
            pause_seconds = POLL_SECONDS
            while action["status"] == "running":
                if time.monotonic() > until:
                    fail(f"{action['command']} has not ended after {timeout_seconds:g} s; it goes on", REFUSED)
                time.sleep(pause_seconds)
                asked_at = time.monotonic()
                with self.patient(f"{action['command']} goes on", at_most_seconds=until - asked_at):
                    action = self.get(f"/v1/actions/{action['id']}")["action"]
                pause_seconds = pause_since(asked_at)
            if action["status"] == "error":
                error = action["error"] or {}
                fail(f"{action['command']} failed: {error.get('message') or error.get('code') or 'no reason'}", REFUSED)

    def _call(self, method: str, path: str, **arguments: Any) -> Json:
        return self._body(self._ask(method, path, **arguments))

    def _body(self, answer: httpx.Response) -> Json:
        self._say_disarmed(answer.headers.get("Holdfast-Disarmed", ""))
        try:
            body = answer.json() if answer.content else {}
        except ValueError:
            body = None
        if not isinstance(body, dict):
            fail(
                f"{self._http.base_url} answered {answer.status_code} with something that is no API's answer",
                UNREACHABLE,
            )
        if not answer.is_success:
            refused(answer.status_code, body)
        return body

    def _say_disarmed(self, said: str) -> None:
        """Loudly, on stderr, once for each command: whoever looks at this cluster must know."""
        if said and not self._said_disarmed:
            self._said_disarmed = True
            sys.stderr.write(f"*** AUTOMATION IS DISARMED {unquote(said)} -- `holdfast cluster arm` ends this ***\n")

    def _ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        asked_at, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            try:
                answer = self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                if self._was_enough(attempt, asked_at):
                    said = str(error) or type(error).__name__
                    fail(f"the API at {self._http.base_url} does not answer: {said}", UNREACHABLE)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                fail(f"{self._http.base_url}: {error}", UNREACHABLE)
            else:
                if answer.status_code not in (502, 503, 504) or self._was_enough(attempt, asked_at):
                    return answer
            if attempt == TRIES:
                sys.stderr.write(
                    f"holdfast: the API does not answer; asking again for up to {self._patience_seconds:.0f} s\n"
                )
            time.sleep(TRY_AGAIN_SECONDS)

    def _was_enough(self, attempt: int, asked_at: float) -> bool:
        return attempt >= TRIES and time.monotonic() - asked_at >= self._patience_seconds


def pause_since(asked_at: float) -> float:
    """How long one who watches waits now, in seconds: an API that takes long is asked half of the time at most."""
    return max(POLL_SECONDS, time.monotonic() - asked_at)


def refused(status: int, body: Json) -> NoReturn:
    """Say why. An API that works but cannot (503) counts as not answering."""
    error = body.get("error")
    if not isinstance(error, dict):
        fail(f"the API answered {status}: {json.dumps(body)[:300]}", REFUSED)
    message = f"{error.get('message')} ({error.get('code')})"
    fail(message, UNREACHABLE if status in (502, 503, 504) else REFUSED)


@contextmanager
def connect(api: str, token: str, project: str = "") -> Iterator[Api]:
    """The API that an option or the environment names."""
    if not token:
        fail("there is no token: set HOLDFAST_TOKEN or use --token", USAGE)
    if not (token.isascii() and token.isprintable() and project.isascii() and project.isprintable()):
        fail("a token or a project has characters that cannot be", USAGE)
    headers = {"Authorization": f"Bearer {token}"} | ({"X-Holdfast-Project": project} if project else {})
    scheme, _, rest = api.partition(":")
    if scheme == "unix" and rest:
        http = httpx.Client(
            transport=httpx.HTTPTransport(uds=rest), base_url="http://holdfast", headers=headers,
            timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
    elif scheme in ("http", "https") and rest.startswith("//"):
        http = _over_tcp(api, headers)
    else:
        fail(f"{api!r} is no address of an API; write http://ADDRESS:PORT or unix:/PATH", USAGE)
    with http:
        yield Api(http)


def _over_tcp(url: str, headers: Mapping[str, str]) -> httpx.Client:
    try:
        return httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_SECONDS)
    except httpx.InvalidURL as error:
        fail(f"{url!r} is no address of an API: {error}", USAGE)
