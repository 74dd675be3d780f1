"""An answer out of the answer cache beside `/livez`, in turn on one connection: the time until each is whole, and the
proxy's CPU. The client's own time, some tens of microseconds, is in both."""

import json
import os
import socket
import time
from contextlib import closing
from statistics import median

from . import legs, rounds, workloads
from .client import PROMPT_BYTES
from .process import RIG_CORE

CACHING = "thalweg-cache"
# Time of a hit over that of `/livez`.
BAR = 1.2
# Of each kind in a round.
EXCHANGES = 4000
ROUNDS = 9


def run(scale, repeats):
    """[{kind: {"p50", "cpu"}} of each round], [(workload, leg, figure, against, value, bar, met)]"""
    legs.use_settings(CACHING, cache={"enabled": True, "max_age": "1h"})
    short = next(workload for workload in workloads.all_of(scale) if workload.name == "short")
    prompt = "x" * PROMPT_BYTES
    body = json.dumps({"model": "rig-model", "messages": [{"role": "user", "content": prompt}], "temperature": 0})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: rig\r\nauthorization: Bearer {legs.KEY}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    kinds = {"livez": b"GET /livez HTTP/1.1\r\nhost: rig\r\n\r\n", "hit": (head + body).encode()}
    samples, cores = [], os.sched_getaffinity(0)
    with rounds.started(short, [CACHING]) as (_, [leg]), closing(socket.create_connection(("127.0.0.1", leg.port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        os.sched_setaffinity(0, {RIG_CORE})
        try:
            _stored(connection, kinds["hit"])
            for number in range(max(repeats * rounds.ROUNDS_PER_REPEAT, ROUNDS)):
                found = {}
                for kind in rounds.rotated(list(kinds), number):
                    found[kind] = _measured(leg, connection, kind, kinds[kind], max(round(EXCHANGES * scale), 50))
                samples.append(found)
        finally:
            os.sched_setaffinity(0, cores)
    for kind in kinds:
        p50, cpu = (median(found[kind][figure] for found in samples) / 1e3 for figure in ("p50", "cpu"))
        print(f"  {kind}: {p50:.1f} µs, of the proxy's CPU {cpu:.1f} µs")
    value = median(found["hit"]["p50"] / found["livez"]["p50"] for found in samples)
    print(f"  hit / livez, time: {value:.2f} (bar {BAR}: {'ok' if value <= BAR else 'over'})")
    return samples, [("cachehit", CACHING, "time", "livez", value, BAR, value <= BAR)]


def _stored(connection, request):
    """Asks until the answer comes out of the cache."""
    end = time.monotonic() + 10
    while b"x-thalweg-cache: hit" not in _exchange(connection, request):
        if time.monotonic() > end:
            raise RuntimeError("the answer is not stored")
        time.sleep(0.01)


def _measured(leg, connection, kind, request, count):
    times, before = [], leg.process.cpu()
    for _ in range(count):
        began = time.perf_counter_ns()
        head = _exchange(connection, request)
        times.append(time.perf_counter_ns() - began)
        if not head.startswith(b"HTTP/1.1 200 ") or kind == "hit" and b"x-thalweg-cache: hit" not in head:
            raise RuntimeError(f"{kind}: {head}")
    return {"p50": median(times), "cpu": (leg.process.cpu() - before) / count}


def _exchange(connection, request):
    """The head of the answer, after the answer's end."""
    connection.sendall(request)
    text = b""
    while b"\r\n\r\n" not in text:
        text += _some(connection)
    head, rest = text.split(b"\r\n\r\n", 1)
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(rest) < length:
        rest += _some(connection)
    return head.lower().replace(b"http", b"HTTP", 1)


def _some(connection):
    text = connection.recv(1 << 16)
    if not text:
        raise RuntimeError("the proxy closed the connection")
    return text
