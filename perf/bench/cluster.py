"""Everything on with Redis beside everything on without, in the same rounds; and the commands that Redis was sent."""

import re
import socket
import tempfile
from contextlib import closing
from statistics import median

from . import legs, rounds, table, workloads
from .process import RIG_CORE, Process, wait_until

WITH_REDIS = "thalweg-redis"
# CPU with Redis over CPU without: per event, and per short request.
BARS = {"many": 1.02, "short": 1.05}


def run(scale, repeats, realtime):
    """{workload: samples}, [(workload, leg, figure, against, value, bar, met)]"""
    results, bars = {}, []
    with tempfile.TemporaryDirectory(prefix="thalweg-perf-redis-") as directory:
        port = legs.free_port()
        server = Process(["redis-server", "--port", port, "--save", "", "--dir", directory], RIG_CORE, directory, "redis", quiet=True)
        try:
            wait_until(lambda: legs.listening(port), server, 0.005)
            legs.use_redis(WITH_REDIS, f"redis://127.0.0.1:{port}")
            names = [legs.DIRECT, legs.FULL, WITH_REDIS]
            for workload in filter(lambda workload: workload.name in BARS, workloads.all_of(scale)):
                before = _commands(port)
                samples = rounds.run(workload, names, repeats, realtime)
                table.show_workload(workload, samples)
                pairs = zip(samples[WITH_REDIS], samples[legs.FULL])
                value, bar = median(own["cpu"] / other["cpu"] for own, other in pairs), BARS[workload.name]
                print(f"  {WITH_REDIS} / {legs.FULL}, cpu: {value:.3f} (bar {bar:.2f}: {'ok' if value <= bar else 'over'}); {_commands(port) - before} commands in all rounds")
                results[workload.name] = samples
                bars.append((workload.name, WITH_REDIS, "cpu", legs.FULL, value, bar, value <= bar))
        finally:
            server.stop()
    return results, bars


def _commands(port):
    """Commands that the server has processed, by its own count."""
    with closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.sendall(b"INFO stats\r\n")
        text = connection.recv(1 << 16).decode()
    return int(re.search(r"total_commands_processed:(\d+)", text).group(1))
