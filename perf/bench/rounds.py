"""Runs one workload over all legs, round after round, so that the machine's drift meets every leg alike.

A sample is one run's figures per unit (event or request): times in nanoseconds. The first run of a leg only warms it.
"""

import contextlib
import resource
import tempfile
from dataclasses import replace

from . import client, legs
from .process import Placement
from .transport import PLAIN


# A machine's speed can change by half within seconds: many short rounds meet its moods evenly, few long ones
# do not.
ROUNDS_PER_REPEAT = 3


def run(workload, names, repeats, realtime, transport=PLAIN, beside=contextlib.nullcontext):
    """{leg: [sample of round 0, of round 1, …]}; `beside` is entered with the running legs, and left after the last round."""
    Placement.realtime = realtime and not workload.flood
    samples = {name: [] for name in names}
    with started(workload, names, transport) as (emulator, running), beside(running):
        for leg in running:
            client.run(leg, _short(workload.load))
        for number in range(repeats * ROUNDS_PER_REPEAT):
            for leg in rotated(running, number):
                samples[leg.name].append(sample(workload, emulator, leg))
        if workload.syscalls:
            for leg in running:
                if leg.process:
                    samples[leg.name][0]["syscalls"] = _syscalls(workload, leg)
    return samples


@contextlib.contextmanager
def started(workload, names, transport=PLAIN):
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-perf-"))
        emulator, upstream = legs.emulator(workload.emulator, directory, transport)
        stack.callback(emulator.stop)
        running = []
        for name in names:
            running.append(legs.start(name, upstream))
            stack.callback(running[-1].stop)
        yield emulator, running


def rotated(items, by):
    by %= len(items)
    return items[by:] + items[:by]


def _short(load):
    """A tenth of the requests, where there are many; what has one request per stream is warmed by a whole run."""
    return replace(load, requests=max(load.requests // 10, load.streams))


def sample(workload, emulator, leg):
    def clocks():
        own = resource.getrusage(resource.RUSAGE_CHILDREN)
        return emulator.process.cpu(), leg.process.cpu() if leg.process else 0, (own.ru_utime + own.ru_stime) * 1e9

    before = clocks()
    report, _ = client.run(leg, workload.load)
    of_emulator, of_proxy, of_client = (after - earlier for earlier, after in zip(before, clocks()))
    wall = (report["elapsed_s"] + workload.load.warmup) * 1e9
    return {
        "cpu": of_proxy / workload.units,
        "emulator": of_emulator / workload.units,
        "share": of_proxy / of_emulator,
        "time": wall / workload.units,
        "busy": of_proxy / wall,
        "rig": (of_emulator + of_client) / wall,
        "per read": report["events_per_frame"],
        **client.times(report),
    }


def _syscalls(workload, leg):
    """Calls per unit by the kernel's own count, in a run of its own: counting costs a little. `None`: cannot be counted
    here. strace is no way to count: it slows the proxy until events arrive together."""
    pids = ",".join(map(str, leg.process.pids()))
    perf = ["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", pids, "--"]
    try:
        _, counts = client.run(leg, workload.load, before=perf)
        calls = next(line for line in counts.splitlines() if "raw_syscalls" in line)
        return int(calls.split(",")[0]) / workload.units
    except (RuntimeError, OSError, StopIteration, ValueError):
        return None
