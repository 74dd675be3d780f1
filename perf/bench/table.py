"""Aligned tables on standard output."""

from statistics import median

from .legs import DIRECT
from .transport import PLAIN
from .verdict import added, compared, figure, latency_refusal, limited_by_proxy, refusal


def show(rows):
    """First row: headings. First column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *others = (cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths)))
        print("  ".join([f"  {first}", *others]).rstrip(), flush=True)


def show_workload(workload, samples, transport=PLAIN):
    suffix = "" if transport is PLAIN else f"; {transport.title}"
    print(f"\n{workload.name}: {workload.title}{suffix}")
    late = latency_refusal(workload, samples)
    heading = ["", f"CPU µs/{workload.unit}", "spread", "/emulator", "busy", f"{workload.unit}s/s", "ev/read", "syscalls"]
    rows = [heading + _latency_headings(workload)]
    refusals = []
    for leg, own in samples.items():
        reason = refusal(workload, samples, leg)
        if reason:
            refusals.append(f"  {leg}: no row, {reason}")
        else:
            rows.append([leg, *_cost(workload, samples, leg), *_latency(workload, samples, leg, late)])
    show(rows)
    for line in refusals:
        print(line)
    if late:
        print(f"  no latencies: {late}")


def show_bars(workload, samples):
    """[(workload, leg, figure, against, value, bar, met)] of this workload, printed."""
    results = []
    for bar in workload.bars:
        pair = (bar.leg, bar.against)
        if not samples.keys() >= set(pair) or any(refusal(workload, samples, leg) for leg in pair):
            continue
        if " p" in bar.figure and latency_refusal(workload, samples):
            continue
        values = compared(samples, bar)
        value = median(values)
        met = value <= bar.at_most
        results.append((workload.name, bar.leg, bar.figure, bar.against, value, bar.at_most, met))
        sign, show = ("−", lambda value: f"{micro(value)} µs") if bar.difference else ("/", lambda value: f"{value:.2f}")
        rounds = f"{show(values[0])}…{show(values[-1])}"
        print(f"  {bar.leg} {sign} {bar.against}, {bar.figure}: {show(value)} (rounds {rounds}; bar {show(bar.at_most)}: {'ok' if met else 'over'})")
    return results


def micro(nanoseconds):
    return f"{nanoseconds / 1e3:.2f}" if abs(nanoseconds) < 1e5 else f"{nanoseconds / 1e3:.0f}"


def _cost(workload, samples, leg):
    own = samples[leg]
    calls = own[0].get("syscalls")
    per_read = f"{figure(own, 'per read').median:.2f}" if workload.unit == "event" else "–"
    if leg == DIRECT:
        return ["–", "–", "–", "–", _rate(workload, samples, leg), per_read, "–"]
    cpu = figure(own, "cpu")
    return [
        micro(cpu.median),
        f"{cpu.spread:.0%}",
        f"{figure(own, 'share').median:.2f}",
        f"{figure(own, 'busy').median:.0%}",
        _rate(workload, samples, leg),
        per_read,
        f"{calls:.2f}" if calls else "–",
    ]


def _rate(workload, samples, leg):
    """`≥`: the proxy was not at its limit, the rig was, or the pace."""
    rate = 1e9 / figure(samples[leg], "time").median
    bound = "" if workload.paced or leg == DIRECT or limited_by_proxy(samples, leg) else "≥"
    return f"{bound}{rate:,.0f}"


# What may be printed of an answer's times: how late events came, or how long the first byte took.
_KINDS = {"event": "age", "request": "first byte"}
_QUANTILES = ("p50", "p99", "p99.9")


def _latency_headings(workload):
    return [f"+{_KINDS[workload.unit]} {quantile}" for quantile in _QUANTILES] if workload.latency else []


def _latency(workload, samples, leg, late):
    names = [f"{_KINDS[workload.unit]} {quantile}" for quantile in _QUANTILES] if workload.latency else []
    if late:
        return ["–"] * len(names)
    if leg == DIRECT:
        return [f"({micro(figure(samples[leg], name).median)})" for name in names]
    return [micro(added(samples, leg, name)) for name in names]
