"""What is asked of every leg, and what thalweg has to reach (docs/PERFORMANCE.md explains the columns)."""

from dataclasses import dataclass

from .legs import FULL

# The client's and the emulator's share of their core above which paced figures are the rig's, not the
# proxy's.
RIG_LIMIT = 0.85
# Two hundred streams that begin at once would be the latest events of a run, through any proxy.
WARMUP = 0.2


@dataclass(frozen=True)
class Bar:
    """The leg's median over rounds of its figure divided by the same round's figure of `against`."""

    figure: str
    against: str
    at_most: float
    leg: str = "thalweg"
    # Nanoseconds more instead of so many times as much.
    difference: bool = False


@dataclass(frozen=True)
class Load:
    """What the client asks for: `requests` in all, `streams` of them at once."""

    streams: int
    requests: int
    stream: bool = True
    # Streams begin spread over the first half of it; what arrives during it is relayed and paid for, but not
    # timed.
    warmup: float = 0.0


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    load: Load
    # Of each stream; None: answers are no streams.
    events: int | None
    size: int = 200
    interval_us: int = 0
    bars: tuple = ()
    latency: bool = False
    syscalls: bool = False

    @property
    def unit(self):
        return "event" if self.events and self.events > 1 else "request"

    @property
    def units(self):
        """How many a run has, by what was asked for: the client makes sure that all came."""
        return self.load.requests * (self.events or 1)

    @property
    def paced(self):
        """At a pace that every proxy can keep."""
        return self.interval_us > 0

    @property
    def flood(self):
        """As fast as it goes: sender and reader share a core and may not have real time."""
        return self.unit == "event" and not self.paced

    @property
    def emulator(self):
        return ("--events", self.events or 1, "--interval-us", self.interval_us, "--size", self.size)


# Keys, limits, ledger and statistics may cost so much of an event.
EVERYTHING_ON = Bar("cpu", "thalweg", 1.05, FULL)


def all_of(scale):
    """The issue's table; `scale` shortens the runs, never their shape."""
    return [
        Workload(
            "many", "200 streams, an event of 200 B per 10 ms each", Load(200, 200, warmup=WARMUP),
            events=_at_least(150 * scale, 50), interval_us=10_000,
            bars=(Bar("cpu", "nginx", 1.0), Bar("cpu", "tunnel", 1.1), EVERYTHING_ON), latency=True, syscalls=True,
        ),
        Workload(
            "few", "8 streams, an event of 200 B per 20 ms each", Load(8, 8, warmup=WARMUP),
            events=_at_least(100 * scale, 25), interval_us=20_000,
            bars=(Bar("cpu", "nginx", 1.1), Bar("age p50", "nginx", 1.0), Bar("age p99", "nginx", 1.0), EVERYTHING_ON),
            latency=True, syscalls=True,
        ),
        *(
            Workload(
                f"flood-{size}", f"16 streams as fast as they go, events of {size} B", Load(16, 16),
                events=_at_least(30_000 * scale, 500), size=size,
                bars=(Bar("cpu", "nginx", 1.1), Bar("time", "nginx", 1.0)),
            )
            for size in (100, 1024)
        ),
        Workload(
            "short", "short non-streamed requests on 32 connections",
            Load(32, _at_least(20_000 * scale, 320), stream=False),
            events=None, bars=(Bar("cpu", "nginx", 1.6), Bar("cpu", "thalweg", 15_000, FULL, difference=True)), syscalls=True,
        ),
        Workload(
            "first", "streams of one event, one after another: time to the first byte",
            Load(1, _at_least(2_000 * scale, 50)),
            events=1, latency=True,
        ),
    ]


def _at_least(number, least):
    return max(int(number), least)
