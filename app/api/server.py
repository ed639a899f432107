"""uvicorn in a thread of its own, on one socket."""

import asyncio
import threading
from contextlib import suppress
from typing import Any

import uvicorn

_END_SECONDS_MAX = 5.0


class ApiServer:
    """`host` and `port`, or the path of a Unix `socket`."""

    def __init__(self, api: Any, *, host: str = "", port: int = 0, socket: str = "") -> None:
        where: dict[str, Any] = {"uds": socket} if socket else {"host": host, "port": port}
        self._server = _Calm(uvicorn.Config(api, log_config=None, lifespan="off", access_log=False, **where))
        self._thread = threading.Thread(target=self._server.run, name="holdfast-api", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is being answered, a few seconds at most."""
        self._server.end()
        self._thread.join(timeout=_END_SECONDS_MAX)


class _Calm(uvicorn.Server):
    """uvicorn looks ten times a second whether it is to end; on every node, for years. This one is told, and wakes
    once a second for the header `Date` only."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()

    def end(self) -> None:
        """From any thread."""
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._ended.set)

    async def main_loop(self) -> None:
        """In place of uvicorn's; `on_tick` says True when it is to end, and sees to the header at each tenth count."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            try:
                await asyncio.wait_for(self._ended.wait(), timeout=1.0)
            except TimeoutError:
                continue
