#!/usr/bin/env python3
"""Clients that send one byte and leave: descriptors and CPU time of the gateway before them and a second after.

perf/leavers.py [PROGRAM] [CLIENTS]        by default ../target/release/thalweg and 3000
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "../target/release/thalweg").resolve()
CLIENTS = int(sys.argv[2]) if len(sys.argv) > 2 else 3000


def state(pid):
    """Open descriptors, and nanoseconds on a core."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return len(os.listdir(f"/proc/{pid}/fd")), sum(int(task.read_text().split()[0]) for task in tasks)


def second(pid):
    """Descriptors now, and milliseconds of CPU time in the second from now."""
    _, before = state(pid)
    time.sleep(1)
    descriptors, after = state(pid)
    return descriptors, (after - before) / 1e6


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def main():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        config.write_text('{"host": "127.0.0.1", "port": %d, "tokens": ["x|sk-leavers"], "ledger": {"enabled": false}}' % port)
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
            before = second(gateway.pid)
            for _ in range(CLIENTS):
                with connect(port) as client:
                    client.sendall(b"P")
            time.sleep(1)
            after = second(gateway.pid)
        finally:
            gateway.terminate()
            gateway.wait()
    for when, (descriptors, cpu) in (("before", before), (f"after {CLIENTS} clients", after)):
        print(f"{when}: {descriptors} descriptors, {cpu:.1f} ms of CPU time in a second")
    sys.exit(after[0] > before[0])


main()
