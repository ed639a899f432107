"""ICMP echo over one interface, whatever the routing table says."""

import os
import socket
import struct
from collections.abc import Sequence

_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_SOL_RAW = 255  # linux/socket.h; Python has no name for it
_ICMP_FILTER = 1  # linux/icmp.h: a bit set means that this ICMP type is not handed to the socket
_ONLY_REPLIES = struct.pack("=I", 0xFFFFFFFF & ~(1 << _ECHO_REPLY))
_HEADER = struct.Struct("!BBHHH")
_NONCE_BYTES = 8
_REMEMBERED_MAX = 32


class Probe:
    """Sends one echo at a time to `address` out of `interface`; the interface may be missing.

    A raw socket bound to the device (SO_BINDTODEVICE) goes out there and hears only what comes in there, so a probe
    of a path cannot be answered over another one. Needs CAP_NET_RAW.
    """

    def __init__(self, interface: str, address: str) -> None:
        self._interface = interface
        self._address = address
        self._socket: socket.socket | None = None
        self._ident = int.from_bytes(os.urandom(2), "big")
        # Another program on this node may use the same ident: the nonce makes the answer ours.
        self._nonce = os.urandom(_NONCE_BYTES)
        self._sequence = 0
        self._sent: dict[int, float] = {}
        self.pending = False

    @property
    def fileno(self) -> int | None:
        """To wait for answers with; None while the interface cannot be used."""
        return None if self._socket is None else self._socket.fileno()

    def send(self, now: float) -> None:
        """Send one probe. What cannot be sent stays `pending`, just like one that nobody answers."""
        self.pending = True
        self._sequence = (self._sequence + 1) & 0xFFFF
        try:
            if self._socket is None:
                self._socket = self._open()
            self._socket.sendto(self._packet(), (self._address, 0))
        except OSError:
            # An interface that was removed and made again has a new index: only a new socket finds it.
            self.close()
            return
        self._sent[self._sequence] = now
        while len(self._sent) > _REMEMBERED_MAX:
            del self._sent[next(iter(self._sent))]

    def receive(self, now: float) -> Sequence[float]:
        """Latencies in milliseconds of all answers that wait in the socket, late ones too."""
        latencies: list[float] = []
        while self._socket is not None:
            try:
                packet = self._socket.recv(256)
            except BlockingIOError:
                break
            except OSError:
                self.close()
                break
            sequence = self._sequence_of(packet)
            sent = self._sent.pop(sequence, None) if sequence is not None else None
            if sent is None:
                continue
            latencies.append((now - sent) * 1000)
            if sequence == self._sequence:
                self.pending = False
        return latencies

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._interface.encode() + b"\0")
            opened.setsockopt(_SOL_RAW, _ICMP_FILTER, _ONLY_REPLIES)
        except OSError:
            opened.close()
            raise
        return opened

    def _packet(self) -> bytes:
        head = _HEADER.pack(_ECHO_REQUEST, 0, 0, self._ident, self._sequence)
        checksum = internet_checksum(head + self._nonce)
        return _HEADER.pack(_ECHO_REQUEST, 0, checksum, self._ident, self._sequence) + self._nonce

    def _sequence_of(self, packet: bytes) -> int | None:
        """The sequence number of an answer to us; None for anything else. `packet` begins with its IPv4 header."""
        start = (packet[0] & 0x0F) * 4 if packet else 0
        if len(packet) < start + _HEADER.size + _NONCE_BYTES or packet[12:16] != socket.inet_aton(self._address):
            return None
        sequence: int
        kind, _code, _checksum, ident, sequence = _HEADER.unpack_from(packet, start)
        ours = packet[start + _HEADER.size :][:_NONCE_BYTES] == self._nonce
        return sequence if (kind, ident, ours) == (_ECHO_REPLY, self._ident, True) else None


def internet_checksum(data: bytes) -> int:
    """RFC 1071, for an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
