"""What it costs to ask several: a race of three and a failover, each beside the winner asked alone in the same round, and
a thousand requests a second while one of three providers dies and comes back."""

import contextlib
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from . import client, legs
from .process import PROXY_CORE, Placement, Process, wait_until
from .transport import PLAIN
from .workloads import Load

RACE_BAR, FAILOVER_BAR = 100e-6, 1e-3
# Slower than the winner by far, quicker than a round's end.
SLOW = ("--delay-us", 50_000)
BROKEN = ("--error", 503)
# The broken one is asked every time: it is the way past it that is measured.
UNTRIPPED = {"breaker": {"failures": 1_000_000, "least": 1_000_000}}
RACE = {"strategy": "race", **UNTRIPPED}


def run(scale, repeats, realtime):
    """{figure: seconds added at the median, by round}"""
    Placement.realtime = realtime
    load = Load(1, max(int(1000 * scale), 50))
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-perf-")))
        quick, slow, slower, broken = (
            _emulator(stack, directory, name, options)
            for name, options in (("quick", ()), ("slow", SLOW), ("slower", SLOW), ("broken", BROKEN))
        )
        alone = _thalweg(stack, directory, [quick])
        ways = {
            "race": _thalweg(stack, directory, [quick, slow, slower], routing=RACE),
            "race, winner last": _thalweg(stack, directory, [slow, slower, quick], routing=RACE),
            "failover": _thalweg(stack, directory, [broken, quick], routing=UNTRIPPED),
        }
        added = {name: [] for name in ways}
        for leg in [alone, *ways.values()]:
            client.run(leg, Load(1, 20))
        for _ in range(repeats * 3):
            base = _first_byte(alone, load)
            for name, leg in ways.items():
                added[name].append(_first_byte(leg, load) - base)
    return added


def _emulator(stack, directory, name, options, port=0):
    process = Process([legs.RIG, "emulator", "--port", port, *options], legs.RIG_CORE, directory, name)
    stack.callback(process.stop)
    return name, legs.Upstream(int(process.first_line()), PLAIN, directory), process


def _thalweg(stack, directory, upstreams, **more):
    port = legs.free_port()
    providers = [legs.provider(name, upstream) for name, upstream, _ in upstreams]
    process = Process(legs.thalweg(port, directory, providers, **more), PROXY_CORE, directory, f"thalweg-{port}")
    stack.callback(process.stop)
    wait_until(lambda: legs.listening(port), process, 0.005)
    return legs.Leg("thalweg", port, process, f"http://127.0.0.1:{port}/v1")


def _first_byte(leg, load):
    report, _ = client.run(leg, load)
    return client.times(report)["first byte p50"] / 1e9


def endure(seconds, rate):
    """(requests, those not answered by 200, report): one of three providers is killed after a third of the time and is
    back after two thirds."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-perf-")))
        upstreams = [_emulator(stack, directory, name, ()) for name in ("first", "second", "third")]
        leg = _thalweg(stack, directory, upstreams, routing={"strategy": "weighted"})
        _, upstream, victim = upstreams[0]

        def strike():
            time.sleep(seconds / 3)
            victim.kill()
            time.sleep(seconds / 3)
            _emulator(stack, directory, "first", (), upstream.port)

        striking = threading.Thread(target=strike)
        striking.start()
        report = client.at_rate(leg, seconds, rate)
        striking.join()
    statuses = report["statuses"]
    return sum(statuses.values()), sum(statuses.values()) - statuses.get("200", 0) + sum(report["errors"].values()), report


def show(added):
    for name, bar, what in (
        ("race", RACE_BAR, "a race of three, beyond asking the winner alone"),
        ("race, winner last", RACE_BAR, "the same, the winner being asked last"),
        ("failover", FAILOVER_BAR, "past a 503, the failing answer included"),
    ):
        values = sorted(added[name])
        middle, spread = median(values), f"{values[0] * 1e6:.0f}…{values[-1] * 1e6:.0f}"
        print(f"  first byte p50, {what}: +{middle * 1e6:.0f} µs (rounds {spread}; bar {bar * 1e6:.0f}: {'ok' if middle <= bar else 'over'})")
