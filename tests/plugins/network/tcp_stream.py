"""A TCP client and server that measure what a switch of the path does to them; each runs in a namespace.

`serve ADDRESS`: echo. `client ADDRESS SOURCE`: send numbers, wait for the echo of each, connect again when the
connection is closed; after a line on stdin print {"echoed", "in_order", "gap_max_s", "connections", "errors"}.
"""

import json
import select
import socket
import struct
import sys
import threading
import time

PORT = 3260
_NUMBER = struct.Struct("!Q")


def _echo(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except ConnectionError:
            return


def serve(address: str) -> None:
    with socket.create_server((address, PORT)) as server:
        print("listening", flush=True)
        while True:
            threading.Thread(target=_echo, args=(server.accept()[0],), daemon=True).start()


class Client:
    def __init__(self, address: str, source: str) -> None:
        self.address, self.source = address, source
        self.echoed = self.connections = 0
        self.in_order, self.gap_max_s = True, 0.0
        self.last = 0.0
        self.errors: list[str] = []

    def run(self) -> None:
        while not self._told():
            try:
                with socket.create_connection(
                    (self.address, PORT), timeout=20, source_address=(self.source, 0)
                ) as link:
                    self.connections += 1
                    self._exchange(link)
            except OSError as error:
                self.errors.append(type(error).__name__)
        print(json.dumps({k: v for k, v in vars(self).items() if k not in ("address", "source", "last")}), flush=True)

    def _exchange(self, link: socket.socket) -> None:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not self._told():
            link.sendall(_NUMBER.pack(self.echoed + 1))
            answer = b""
            while len(answer) < _NUMBER.size:
                chunk = link.recv(_NUMBER.size - len(answer))
                if not chunk:
                    raise ConnectionResetError
                answer += chunk
            self.in_order &= _NUMBER.unpack(answer) == (self.echoed + 1,)
            self.echoed += 1
            now = time.monotonic()
            self.gap_max_s, self.last = max(self.gap_max_s, now - (self.last or now)), now
            if self.echoed == 1:
                print("streaming", flush=True)

    @staticmethod
    def _told() -> bool:
        """True once something is on stdin; doubles as the pace of the stream."""
        return bool(select.select([sys.stdin], [], [], 0.01)[0])


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1] == "serve" else Client(sys.argv[2], sys.argv[3]).run()
