"""Two hundred streams opened at once: how long their first bytes take, and how late events are meanwhile. Every leg opens them
against a pool of connections that an earlier burst has left."""

from statistics import median

from . import legs, rounds, table, verdict
from .workloads import Bar, Load, Workload

STREAMS = 200
FIGURES = ("first byte p50", "first byte p99", "age p99.9")
BARS = tuple(Bar(figure, "nginx", 1.1, leg) for leg in ("thalweg", legs.FULL) for figure in ("first byte p50", "age p99.9"))


def run(scale, repeats, realtime):
    """samples, [(workload, leg, figure, against, value, bar, met)]"""
    # Short: later events, of streams that all run, would hide the late ones.
    events = max(int(30 * scale), 10)
    load = Workload("burst", f"{STREAMS} streams opened at once, {events} events of 200 B each, one per 10 ms", Load(STREAMS, STREAMS), events, interval_us=10_000)
    names = [name for name in legs.available() if name != "haproxy"]
    samples = rounds.run(load, names, repeats, realtime)
    _show(load, samples)
    return samples, _bars(load, samples)


def _show(load, samples):
    print(f"\n{load.name}: {load.title}")
    rows = [["", *(f"{figure} ms" for figure in FIGURES), "CPU µs/event"]]
    for leg, own in samples.items():
        cpu = "–" if leg == legs.DIRECT else table.micro(verdict.figure(own, "cpu").median)
        rows.append([leg, *(f"{verdict.figure(own, figure).median / 1e6:.2f}" for figure in FIGURES), cpu])
    table.show(rows)


def _bars(load, samples):
    """The rules of paced workloads do not fit: that streams begin late is what is measured here."""
    results = []
    for bar in BARS:
        if not samples.keys() >= {bar.leg, bar.against}:
            continue
        values = verdict.compared(samples, bar)
        value = median(values)
        met = value <= bar.at_most
        results.append((load.name, bar.leg, bar.figure, bar.against, value, bar.at_most, met))
        print(f"  {bar.leg} / {bar.against}, {bar.figure}: {value:.2f} (rounds {values[0]:.2f}…{values[-1]:.2f}; bar {bar.at_most}: {'ok' if met else 'over'})")
    return results
