"""From samples to what may be said: medians and spreads, whether the rig was the limit, whether a bar is met."""

from dataclasses import dataclass
from statistics import median

from .legs import DIRECT
from .workloads import RIG_LIMIT

# Of an event, or a first byte, in the direct leg: later than this, somebody else held the core.
LATE = 1_000_000
# A proxy this busy on its core was what limited a run that goes as fast as it can.
BUSY = 0.85


@dataclass(frozen=True)
class Figure:
    median: float
    # (largest − smallest) / median over the rounds.
    spread: float


def figure(samples, name):
    values = [sample[name] for sample in samples]
    middle = median(values)
    return Figure(middle, (max(values) - min(values)) / middle if middle else 0.0)


def added(samples, leg, name):
    """What the leg adds to the direct leg's figure of the same round, at the median of the rounds."""
    return median(own[name] - direct[name] for own, direct in zip(samples[leg], samples[DIRECT]))


def refusal(workload, samples, leg):
    """Why this leg's row would tell of the rig instead of the proxy; `None`: it may be printed."""
    rig = figure(samples[leg], "rig").median
    if workload.paced and rig > RIG_LIMIT:
        return f"the rig used {rig:.0%} of its core"
    if workload.paced and figure(samples[leg], "time").median > 1.05 * figure(samples[DIRECT], "time").median:
        return "events came at less than 95 % of their pace"
    return None


def latency_refusal(workload, samples):
    """Why no latency may be printed for this workload."""
    if not workload.latency:
        return None
    late = figure(samples[DIRECT], "age p99" if workload.unit == "event" else "first byte p99").median
    return f"late without any proxy (p99 {late / 1e6:.1f} ms)" if late > LATE else None


def limited_by_proxy(samples, leg):
    return leg != DIRECT and figure(samples[leg], "busy").median >= BUSY


def compared(samples, bar):
    """Ratio or difference of each round, in ascending order: within a round the machine was the same for both."""
    pairs = [(own[bar.figure], other[bar.figure]) for own, other in zip(samples[bar.leg], samples[bar.against])]
    return sorted(own - other if bar.difference else own / other for own, other in pairs)
