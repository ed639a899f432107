"""Runs in the rack's namespace: a Unix socket on the host that forwards to the API of a node that answers."""

import asyncio
import sys
from functools import partial
from pathlib import Path

from app.lab.gateway import Gateway

API_PORT = 8470


async def _run(socket: Path, addresses: list[str]) -> None:
    doors = [partial(asyncio.open_connection, address, API_PORT) for address in addresses]
    gateway = Gateway(doors, every_seconds=15, timeout_seconds=5)
    socket.unlink(missing_ok=True)
    await asyncio.start_unix_server(gateway.serve, socket)
    await gateway.check_forever()


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1]), sys.argv[2:]))
