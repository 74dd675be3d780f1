#!/usr/bin/env python3
"""Unfinished bodies of 32 MiB of one key, over HTTP/1.1 and HTTP/2: the gateway's memory before them and beside them.

perf/unfinished_bodies.py [PROGRAM] [BODIES]        by default ../target/release/thalweg and 24
"""

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "../target/release/thalweg").resolve()
BODIES = int(sys.argv[2]) if len(sys.argv) > 2 else 24
SIZE = 32 << 20
KEY = "sk-unfinished"
PATH = "/v1/chat/completions"
# Nothing has moved for so long: the gateway reads no more.
QUIET = 3.0


def memory(pid):
    """Resident memory in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


class Http1:
    """One body on one connection, without its last byte."""

    def __init__(self, port):
        self.socket = connect(port)
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {SIZE}\r\n\r\n"
        self.socket.sendall(head.encode())
        self.left, self.sent = SIZE - 1, 0

    def move(self):
        """Sends as much as goes without waiting; the number of bytes."""
        count = 0
        self.socket.setblocking(False)
        try:
            while self.left and count < 1 << 20:
                sent = self.socket.send(b" " * min(self.left, 65536))
                self.left, self.sent, count = self.left - sent, self.sent + sent, count + sent
        except BlockingIOError:
            pass
        return count


class Http2:
    """All bodies on one connection, as much as the windows allow."""

    def __init__(self, port, bodies):
        self.socket = connect(port)
        self.incoming, self.outgoing = b"", b""
        self.first_window, self.window, self.frame_size = 65535, 65535, 16384
        self.streams = {}
        self.sent = 0
        self.outgoing += b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
        for number in range(bodies):
            stream = 2 * number + 1
            head = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", PATH)]
            head += [("authorization", f"Bearer {KEY}"), ("content-type", "application/json")]
            head += [("content-length", str(SIZE))]
            self.outgoing += frame(1, 4, stream, b"".join(literal(*field) for field in head))
            self.streams[stream] = [SIZE - 1, self.first_window]

    def move(self):
        before = self.sent
        self.socket.setblocking(False)
        try:
            while data := self.socket.recv(65536):
                self.incoming += data
        except BlockingIOError:
            pass
        self.read_frames()
        for stream, place in self.streams.items():
            if len(self.outgoing) > 1 << 20:
                break
            size = min(place[0], place[1], self.window, self.frame_size)
            if size > 0:
                self.outgoing += frame(0, 0, stream, b" " * size)
                place[0], place[1], self.window = place[0] - size, place[1] - size, self.window - size
                self.sent += size
        try:
            while self.outgoing:
                self.outgoing = self.outgoing[self.socket.send(self.outgoing):]
        except BlockingIOError:
            pass
        return self.sent - before

    def read_frames(self):
        while len(self.incoming) >= 9:
            size, kind = int.from_bytes(self.incoming[:3]), self.incoming[3]
            flags, stream = self.incoming[4], int.from_bytes(self.incoming[5:9]) & 0x7FFFFFFF
            if len(self.incoming) < 9 + size:
                return
            body, self.incoming = self.incoming[9:9 + size], self.incoming[9 + size:]
            if kind == 4 and not flags & 1:
                for at in range(0, size, 6):
                    name, value = int.from_bytes(body[at:at + 2]), int.from_bytes(body[at + 2:at + 6])
                    if name == 4:
                        for place in self.streams.values():
                            place[1] += value - self.first_window
                        self.first_window = value
                    elif name == 5:
                        self.frame_size = value
                self.outgoing += frame(4, 1, 0, b"")
            elif kind == 8 and stream == 0:
                self.window += int.from_bytes(body)
            elif kind == 8 and stream in self.streams:
                self.streams[stream][1] += int.from_bytes(body)
            elif kind == 6 and not flags & 1:
                self.outgoing += frame(6, 1, 0, body)
            elif kind == 3:
                self.streams.pop(stream, None)


def frame(kind, flags, stream, body):
    return len(body).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + body


def literal(name, value):
    """A header without an entry in a table, its texts as they are (RFC 7541 6.2.2)."""
    assert len(name) < 127 and len(value) < 127
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def fill(senders):
    """Sends until nothing moves; the number of bytes."""
    last = time.monotonic()
    while time.monotonic() - last < QUIET:
        if sum(sender.move() for sender in senders):
            last = time.monotonic()
        else:
            time.sleep(0.01)
    return sum(sender.sent for sender in senders)


def measure(name, make):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        config.write_text('{"host": "127.0.0.1", "port": %d, "tokens": ["x|%s"], "ledger": {"enabled": false}}' % (port, KEY))
        gateway = subprocess.Popen(
            [PROGRAM, "--config", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
        )
        try:
            for _ in range(200):
                try:
                    connect(port).close()
                    break
                except OSError:
                    time.sleep(0.05)
            time.sleep(2)
            before = memory(gateway.pid)
            senders = make(port)
            taken = fill(senders)
            held = memory(gateway.pid) - before
            print(f"{name}: {BODIES} bodies of 32 MiB, {taken / 2**20:.1f} MiB sent, "
                  f"memory {before / 2**20:.1f} MiB before and {held / 2**20:.1f} MiB more beside them")
        finally:
            gateway.terminate()
            gateway.wait()


def main():
    measure("HTTP/1.1, a connection each", lambda port: [Http1(port) for _ in range(BODIES)])
    measure("HTTP/2, one connection", lambda port: [Http2(port, BODIES)])
    measure("HTTP/2, a connection each", lambda port: [Http2(port, 1) for _ in range(BODIES)])


if __name__ == "__main__":
    main()
