"""From the host into the cluster: a port on 127.0.0.1 that forwards to the API of a node that answers.

Every half second each node's API is asked GET /readyz; a connection goes to a node that was ready, else to one that
answered at all, else to any that takes it. So it survives the death of a node, and a frozen one is left alone.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from app.lab.paths import API_SOCKET_IN_NODE, LabPaths
from app.lab.state import write_json

CHECK_EVERY_SECONDS = 0.5
CHECK_TIMEOUT_SECONDS = 1.0
READY, ANSWERS, UNKNOWN = 0, 1, 2
#: connects to one node's API
Door = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Gateway:
    """`doors`: the nodes' APIs, in order of preference. Slow nodes want to be asked less often, with more patience."""

    def __init__(
        self, doors: Sequence[Door], *, every_seconds: float = CHECK_EVERY_SECONDS,
        timeout_seconds: float = CHECK_TIMEOUT_SECONDS,
    ) -> None:  # fmt: skip
        self._doors = doors
        self._every_seconds, self._timeout_seconds = every_seconds, timeout_seconds
        self._ranks = [UNKNOWN] * len(doors)

    async def check_forever(self) -> None:
        while True:
            self._ranks = await asyncio.gather(*map(self._check, self._doors))
            await asyncio.sleep(self._every_seconds)

    async def _check(self, door: Door) -> int:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                reader, writer = await door()
                try:
                    writer.write(b"GET /readyz HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")
                    status = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return UNKNOWN
        return READY if b" 200 " in status else ANSWERS if status else UNKNOWN

    async def serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        for number in sorted(range(len(self._doors)), key=lambda number: self._ranks[number]):
            try:
                reader, writer = await asyncio.wait_for(self._doors[number](), 1)
            except (OSError, TimeoutError):
                continue
            await asyncio.gather(_copy(client_reader, writer), _copy(reader, client_writer))
            return
        body = b'{"error":{"code":"unavailable","message":"no node of the lab answers"}}'
        client_writer.write(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        client_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def _run(paths: LabPaths, nodes: list[str]) -> None:
    sockets = (paths.node(node).inside(API_SOCKET_IN_NODE) for node in nodes)
    gateway = Gateway([partial(asyncio.open_unix_connection, socket) for socket in sockets])
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
    write_json(paths.host / "gateway.json", {"port": server.sockets[0].getsockname()[1]})
    await gateway.check_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("nodes", nargs="+")
    arguments = parser.parse_args()
    asyncio.run(_run(LabPaths(arguments.directory), arguments.nodes))


if __name__ == "__main__":
    main()
