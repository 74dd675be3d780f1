"""The command line: which workloads, how long, how often; prints the tables and leaves all samples in perf/results/."""

import argparse
import json
import platform
import signal
import sys
import time

from . import burst, cachehit, cluster, coalesce, ledger, legs, memory, rounds, routing, soak, startup, table, translate, watched, workloads
from .process import PROXY_CORE, RIG_CORE, raise_file_limit
from .transport import OTHERS

RESULTS = legs.HERE / "results"
KINDS = {"full": (1.0, 5), "quick": (0.5, 1), "smoke": (0.01, 1)}


def main():
    options = _options()
    # A stop from outside unwinds like an error, so that everything started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raise_file_limit()
    names = legs.available()
    scale, repeats = KINDS[options.kind]
    repeats = options.repeats or repeats
    print(f"proxy on core {PROXY_CORE}, client and emulator on core {RIG_CORE}; {repeats * rounds.ROUNDS_PER_REPEAT} rounds of {', '.join(names)}")
    wanted = lambda name: options.workload in (None, name)
    results, bars = {}, []
    for workload in filter(lambda workload: wanted(workload.name), workloads.all_of(scale)):
        samples = rounds.run(workload, names, repeats, options.realtime)
        table.show_workload(workload, samples)
        bars += table.show_bars(workload, samples)
        results[workload.name] = samples
    if wanted("transports"):
        results["transports"] = _transports(workloads.all_of(scale)[0], names, repeats, options.realtime)
    if wanted("idle"):
        results["idle"] = _idle(names, 2000 if scale > 0.1 else 100)
    if wanted("start") and "thalweg" in names:
        results["start"] = _start(repeats)
    if wanted("routing") and "thalweg" in names:
        results["routing"] = _routing(scale, repeats, options.realtime)
    if options.workload == "translate":
        results["translate"], more = translate.run(scale, repeats, options.realtime)
        bars += more
    if options.workload == "cluster":
        results["cluster"], more = cluster.run(scale, repeats, options.realtime)
        bars += more
    if options.workload == "coalesce":
        results["coalesce"], more = coalesce.run(scale, repeats, options.realtime)
        bars += more
    if options.workload == "cachehit":
        print("\ncachehit: an answer out of the answer cache beside /livez")
        results["cachehit"], more = cachehit.run(scale, repeats)
        bars += more
    if options.workload == "ledger":
        print("\nledger: CPU of its threads per row")
        results["ledger"] = ledger.run(scale, repeats, options.realtime)
        bars += ledger.show(results["ledger"])
    if options.workload == "burst":
        results["burst"], more = burst.run(scale, repeats, options.realtime)
        bars += more
    if options.workload == "peak":
        results["peak"], more = _peak(names, scale)
        bars += more
    if options.workload == "watched":
        results["watched"], more = watched.run(scale, repeats, options.realtime)
        bars += more
    if options.workload == "soak":
        results["soak"] = _soak(options.minutes)
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / time.strftime("%Y%m%d-%H%M%S.json")
    machine = {"cpu": _cpu_model(), "kernel": platform.release(), "load": open("/proc/loadavg").read().split()[:3]}
    file.write_text(json.dumps({"kind": options.kind, "repeats": repeats, "machine": machine, "bars": bars, "results": results}, indent=1))
    print(f"\nall samples: perf/results/{file.name}")


def _options():
    parser = argparse.ArgumentParser(prog="perf/run.sh", description=__doc__)
    for kind, what in (("quick", "under three minutes"), ("smoke", "seconds; the figures mean nothing")):
        parser.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, default="full", help=what)
    parser.add_argument("--workload", help="only this one: many, few, flood-100, flood-1024, short, first, transports, idle, start, routing; or translate, cluster, coalesce, cachehit, ledger, burst, peak, watched, soak, which run by themselves")
    parser.add_argument("--minutes", type=float, default=10, help="of a soak")
    parser.add_argument("--repeats", type=int, help="each of three rounds; by default 5, or 1 with --quick")
    parser.add_argument("--realtime", action="store_true", help="give paced runs real-time priority, on a machine others use too")
    return parser.parse_args()


def _transports(workload, names, repeats, realtime):
    """The first workload over TLS and HTTP/2. No bars: it tells what they cost."""
    results = {}
    for transport in OTHERS:
        carriers = [name for name in names if name in transport.legs]
        results[transport.name] = rounds.run(workload, carriers, repeats, realtime, transport)
        table.show_workload(workload, results[transport.name], transport)
    return results


def _idle(names, streams):
    print(f"\nidle: {streams} streams held open after their first event")
    figures = memory.run(names, streams)
    rows = [["", "KB/stream", "idle MB"]]
    rows += [[name, f"{each / 1024:.1f}", f"{idle / 2**20:.1f}"] for name, (idle, each) in figures.items()]
    table.show(rows)
    if "thalweg" in figures:
        idle, each = figures["thalweg"]
        print(f"  per stream: bar {memory.BAR / 1024:.0f} KB: {_met(each <= memory.BAR)}; idle: bar 10 MB: {_met(idle <= 10 * 2**20)}")
    return figures


def _peak(names, scale):
    print("\npeak: memory at the peak of short requests on 32 connections, and a minute after them")
    figures = memory.peak([name for name in names if name != legs.DIRECT], scale)
    rows = [["", "idle MB", "peak MB", "a minute after"]]
    rows += [[name, *(f"{size / 2**20:.1f}" for size in sizes)] for name, sizes in figures.items()]
    table.show(rows)
    bars = []
    if legs.FULL in figures:
        idle, peak, left = figures[legs.FULL]
        for figure, value, bar in (("peak", peak, memory.PEAK_BAR), ("left", left - idle, memory.LEFT_BAR)):
            bars.append(("peak", legs.FULL, figure, None, value, bar, value <= bar))
        print(f"  {legs.FULL}: bar {memory.PEAK_BAR / 2**20:.0f} MB: {_met(bars[0][-1])}; a minute after idle + {memory.LEFT_BAR / 2**20:.0f} MB: {_met(bars[1][-1])}")
    return figures, bars


def _start(repeats):
    middle, times = startup.run(max(repeats, 3))
    size = legs.THALWEG.stat().st_size
    print("\nstart: process start to the end of the first answer; size of the binary")
    print(f"  {middle * 1e3:.1f} ms (bar 50 ms: {_met(middle <= startup.BAR)}), {size / 2**20:.1f} MB (bar 20 MB: {_met(size <= 20 * 2**20)})")
    return {"seconds": times, "binary": size}


def _routing(scale, repeats, realtime):
    print("\nrouting: several providers of one model")
    added = routing.run(scale, repeats, realtime)
    routing.show(added)
    seconds = max(int(30 * scale), 3) if scale < 1 else 30
    asked, failed, report = routing.endure(seconds, 1000)
    print(f"  {asked} requests at 1000/s for {seconds} s, one of three providers killed and restarted: {failed} failed (bar 0: {_met(failed == 0)})")
    return {"added": added, "asked": asked, "failed": failed, "statuses": report["statuses"], "errors": report["errors"]}


def _soak(minutes):
    print(f"\nsoak: {soak.STREAMS} streams and {soak.RATE} short requests a second for {minutes:g} minutes, everything on", flush=True)
    samples, slopes, reports = soak.run(minutes)
    sizes = [size / 2**20 for _, size in samples]
    answers = " and ".join(f"{report['requests']['completed']:,}" for report in reports)
    print(f"  resident: {sizes[0]:.1f} MB at first, {max(sizes):.1f} at most, {sizes[-1]:.1f} at last; slope {slopes[0] / 1024:+.1f} KB a minute, in the second half {slopes[1] / 1024:+.1f}; {answers} answers, all whole")
    return {"samples": samples, "bytes per minute": slopes}


def _met(met):
    return "ok" if met else "over"


def _cpu_model():
    lines = open("/proc/cpuinfo").read().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
