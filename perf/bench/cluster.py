"""Everything on with Redis beside everything on without, in the same rounds: CPU, and the time of a short request at a
rate; and the commands that Redis gets from a hundred keys in use."""

import re
import socket
import tempfile
import time
import urllib.request
from contextlib import closing
from statistics import median

from . import client, legs, rounds, table, workloads
from .process import RIG_CORE, Placement, Process, wait_until

WITH_REDIS = "thalweg-redis"
# CPU with Redis over CPU without: per event, and per short request.
BARS = {"many": 1.02, "short": 1.05}
# Requests a second of the time of a short one, far below what a core can serve; seconds of a run.
CALM_RATE, CALM_SECONDS = 1000, 4
# A p99 varies much from run to run.
CALM_ROUNDS = 9
# Nanoseconds that the p99 may be longer with Redis.
CALM_BAR = 100_000
# Keys in use, requests a second of all, seconds; and the commands per request.
KEYS, BUSY_RATE, BUSY_SECONDS = [f"sk-rig-of-many-{number}" for number in range(100)], 5000, 10
BUSY_BAR = 0.05
MANY_KEYS = "thalweg-keys"


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
            bars.append(_calm(scale, repeats, realtime))
            legs.use_redis(MANY_KEYS, f"redis://127.0.0.1:{port}", KEYS)
            bars.append(_busy(scale))
        finally:
            server.stop()
    return results, bars


def _calm(scale, repeats, realtime):
    """p99 of a short request at a rate: with Redis less without."""
    Placement.realtime, seconds = realtime, max(round(CALM_SECONDS * scale * 2), 1)
    found = {legs.FULL: [], WITH_REDIS: []}
    with rounds.started(_short(scale), list(found)) as (_, running):
        for number in range(-1, max(repeats * rounds.ROUNDS_PER_REPEAT, CALM_ROUNDS)):
            for leg in rounds.rotated(running, number):
                report = client.at_rate(leg, seconds, CALM_RATE)
                # The first warms.
                if number >= 0:
                    found[leg.name].append(client.times(report))
    more = lambda name: sorted(own[name] - other[name] for own, other in zip(found[WITH_REDIS], found[legs.FULL]))
    for name in ("answer p50", "answer p99"):
        values = more(name)
        without = median(times[name] for times in found[legs.FULL])
        print(f"  {CALM_RATE} short requests a second, {name} with Redis less without: {median(values) / 1e3:.0f} µs (rounds {values[0] / 1e3:.0f}…{values[-1] / 1e3:.0f}; without {without / 1e3:.0f} µs)")
    value = median(more("answer p99"))
    print(f"  p99: bar {CALM_BAR / 1e3:.0f} µs: {'ok' if value <= CALM_BAR else 'over'}")
    return ("calm", WITH_REDIS, "answer p99", legs.FULL, value, CALM_BAR, value <= CALM_BAR)


def _busy(scale):
    """Commands per request of a hundred keys in use; those of their first seconds apart."""
    seconds = max(round(BUSY_SECONDS * scale * 2), 3)
    with rounds.started(_short(scale), [MANY_KEYS]) as (_, [leg]):
        for phase in ("first", "then"):
            before, began = _own_commands(leg), time.monotonic()
            reports = client.of_many_keys(leg, seconds, BUSY_RATE, KEYS)
            took, commands = time.monotonic() - began, _own_commands(leg) - before
            answers = sum(report["statuses"].get("200", 0) for report in reports)
            value = commands / answers
            print(f"  {len(KEYS)} keys, {phase} {answers} requests in {took:.1f} s ({answers / took:.0f} a second): {commands:.0f} commands, {value:.4f} per request")
    print(f"  commands per request: bar {BUSY_BAR}: {'ok' if value <= BUSY_BAR else 'over'}")
    return ("busy", MANY_KEYS, "commands", "", value, BUSY_BAR, value <= BUSY_BAR)


def _short(scale):
    return next(workload for workload in workloads.all_of(scale) if workload.name == "short")


def _own_commands(leg):
    """Commands that the proxy has sent, by its own count."""
    with urllib.request.urlopen(f"http://127.0.0.1:{leg.port}/metrics") as answer:
        text = answer.read().decode()
    return sum(float(count) for count in re.findall(r"thalweg_redis_commands_total\{[^}]*\} (\S+)", text))


def _commands(port):
    """Commands that the server has processed, by its own count, in which those of its scripts count one by one."""
    with closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.sendall(b"INFO stats\r\n")
        text = connection.recv(1 << 16).decode()
    return int(re.search(r"total_commands_processed:(\d+)", text).group(1))
