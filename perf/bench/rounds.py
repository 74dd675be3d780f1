"""Runs one workload over all legs, round after round, so that the machine's drift meets every leg alike.

A sample is one run's figures per unit (event or request): times in nanoseconds. The first run of a leg only warms it.
"""

import contextlib
import resource
import tempfile

from . import client, legs
from .process import Placement


# Whether a flood's reads gather much or little depends on who else runs; many rounds find the middle.
FLOOD_ROUNDS = 3


def run(workload, names, repeats, realtime):
    """{leg: [sample of round 0, of round 1, …]}"""
    Placement.realtime = realtime and not workload.flood
    samples = {name: [] for name in names}
    with _started(workload, names) as (emulator, running):
        for leg in running:
            client.run(leg, _short(workload.client))
        for number in range(repeats * FLOOD_ROUNDS if workload.flood else repeats):
            for leg in _rotated(running, number):
                samples[leg.name].append(_sample(workload, emulator, leg))
        if workload.syscalls:
            for leg in running:
                if leg.process:
                    samples[leg.name][0]["syscalls"] = _syscalls(workload, leg)
    return samples


@contextlib.contextmanager
def _started(workload, names):
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-perf-"))
        emulator = legs.emulator(workload.emulator, directory)
        stack.callback(emulator.stop)
        running = []
        for name in names:
            running.append(legs.start(name, emulator.port, directory))
            stack.callback(running[-1].stop)
        yield emulator, running


def _rotated(items, by):
    by %= len(items)
    return items[by:] + items[:by]


def _short(arguments):
    """The same load with a tenth of the requests, which streams do not have: their warm-up is a whole run."""
    arguments = list(arguments)
    for option in ("--requests", "--rounds"):
        if option in arguments:
            place = arguments.index(option) + 1
            arguments[place] = max(arguments[place] // 10, 32)
    return arguments


def _sample(workload, emulator, leg):
    def clocks():
        own = resource.getrusage(resource.RUSAGE_CHILDREN)
        return emulator.process.cpu(), leg.process.cpu() if leg.process else 0, (own.ru_utime + own.ru_stime) * 1e9

    before = clocks()
    report, _ = client.run(leg, workload.client)
    of_emulator, of_proxy, of_client = (after - earlier for earlier, after in zip(before, clocks()))
    units, wall = report[_COUNTED[workload.unit]], report["nanoseconds"]
    return {
        "cpu": of_proxy / units,
        "emulator": of_emulator / units,
        "share": of_proxy / of_emulator,
        "time": wall / units,
        "busy": of_proxy / wall,
        "rig": (of_emulator + of_client) / wall,
        "per read": report["events"] / max(report["reads"], 1),
        **{
            f"{kind} {quantile}": report[kind][quantile]
            for kind in ("age", "first_byte", "whole")
            for quantile in ("p50", "p99", "p99.9")
        },
    }


_COUNTED = {"event": "events", "request": "answers"}


def _syscalls(workload, leg):
    """Calls per unit by the kernel's own count, in a run of its own: counting costs a little. `None`: cannot be counted
    here. strace is no way to count: it slows the proxy until events arrive together."""
    pids = ",".join(map(str, leg.process.pids()))
    perf = ["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", pids, "--"]
    try:
        report, counts = client.run(leg, workload.client, before=perf)
        calls = next(line for line in counts.splitlines() if "raw_syscalls" in line)
        return int(calls.split(",")[0]) / report[_COUNTED[workload.unit]]
    except (RuntimeError, OSError, StopIteration, ValueError):
        return None
