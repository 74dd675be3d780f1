"""What is asked of every leg, and what thalweg has to reach (docs/PERFORMANCE.md explains the columns)."""

from dataclasses import dataclass

# The client's and the emulator's share of their core above which paced figures are the rig's, not the proxy's.
RIG_LIMIT = 0.85


@dataclass(frozen=True)
class Bar:
    """thalweg's median over rounds of its figure divided by the same round's figure of `against`."""

    figure: str
    against: str
    at_most: float


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    unit: str
    emulator: tuple
    client: tuple
    bars: tuple
    # The emulator sends at a pace that every proxy can keep.
    paced: bool = False
    # As fast as it goes: sender and reader share a core and may not have real time. Shorter runs, more rounds.
    flood: bool = False
    latency: bool = False
    syscalls: bool = False


def all_of(scale):
    """The issue's table; `scale` shortens the runs, never their shape."""
    return [
        Workload(
            "many", "200 streams, an event of 200 B per 10 ms each", "event",
            ("--events", _at_least(600 * scale, 20), "--interval-us", 10_000, "--size", 200),
            ("streams", "--streams", 200, "--ramp-us", 500),
            (Bar("cpu", "nginx", 1.0), Bar("cpu", "tunnel", 1.1)),
            paced=True, latency=True, syscalls=True,
        ),
        Workload(
            "few", "8 streams, an event of 200 B per 20 ms each", "event",
            ("--events", _at_least(400 * scale, 10), "--interval-us", 20_000, "--size", 200),
            ("streams", "--streams", 8, "--ramp-us", 2_500),
            (Bar("cpu", "nginx", 1.1), Bar("age p50", "nginx", 1.0), Bar("age p99", "nginx", 1.0)),
            paced=True, latency=True, syscalls=True,
        ),
        *(
            Workload(
                f"flood-{size}", f"16 streams as fast as they go, events of {size} B", "event",
                ("--events", _at_least(30_000 * scale, 500), "--size", size),
                ("streams", "--streams", 16, "--ramp-us", 0),
                (Bar("cpu", "nginx", 1.1), Bar("time", "nginx", 1.0)),
                flood=True,
            )
            for size in (100, 1024)
        ),
        Workload(
            "short", "short non-streamed requests on 32 connections", "request",
            (),
            ("requests", "--connections", 32, "--requests", _at_least(20_000 * scale, 320)),
            (Bar("cpu", "nginx", 1.6),),
            syscalls=True,
        ),
        Workload(
            "first", "one stream of one event after another: time to the first byte", "request",
            ("--events", 1),
            ("streams", "--streams", 1, "--rounds", _at_least(1_000 * scale, 20)),
            (Bar("first_byte p50", "nginx", 1.0),),
        ),
    ]


def _at_least(number, least):
    return max(int(number), least)
