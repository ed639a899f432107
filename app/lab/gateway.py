"""From the host into the cluster: a port on 127.0.0.1 that forwards to the API socket of a node that answers.

Every half second each node's API is asked GET /readyz; a connection goes to a node that was ready, else to one that
answered at all, else to any that takes it. So it survives the death of a node, and a frozen one is left alone.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from app.lab.paths import API_SOCKET_IN_NODE, LabPaths
from app.lab.state import write_json

CHECK_EVERY_SECONDS = 0.5
CHECK_TIMEOUT_SECONDS = 1.0
READY, ANSWERS, UNKNOWN = 0, 1, 2


class Gateway:
    """`sockets`: the nodes' API sockets on the host, in order of preference."""

    def __init__(self, sockets: list[Path]) -> None:
        self._sockets = sockets
        self._rank = dict.fromkeys(sockets, UNKNOWN)

    async def check_forever(self) -> None:
        while True:
            ranks = await asyncio.gather(*(self._check(path) for path in self._sockets))
            self._rank = dict(zip(self._sockets, ranks, strict=True))
            await asyncio.sleep(CHECK_EVERY_SECONDS)

    async def _check(self, path: Path) -> int:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    writer.write(b"GET /readyz HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")
                    status = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return UNKNOWN
        return READY if b" 200 " in status else ANSWERS if status else UNKNOWN

    async def serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        for path in sorted(self._sockets, key=lambda path: self._rank[path]):
            try:
                reader, writer = await asyncio.wait_for(asyncio.open_unix_connection(path), 1)
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
    gateway = Gateway([paths.node(node).inside(API_SOCKET_IN_NODE) for node in nodes])
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
