"""User-space instructions per event and per request under callgrind: the steadiest figure there is, since no clock and no
neighbour has a part in it. Two runs that differ only in length, and their difference: starting and ending cancel out."""

import argparse
import contextlib
import re
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import client, legs, table
from .process import raise_file_limit
from .workloads import Load, Workload


@dataclass(frozen=True)
class Measure:
    short: Workload
    long: Workload
    bar: int


def _streams(events):
    return Workload("", "", Load(8, 8), events=events, interval_us=10_000)


def _requests(number):
    return Workload("", "", Load(8, number, stream=False), events=None)


MEASURES = (Measure(_streams(250), _streams(1250), 4_500), Measure(_requests(400), _requests(2400), 36_000))


def main():
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raise_file_limit()
    names = [name for name in legs.available() if name != legs.DIRECT and options.leg in (None, name)]
    rows = [["", *(f"instructions/{measure.long.unit}" for measure in MEASURES)]]
    for name in names:
        rows.append([name, *(f"{_per_unit(name, measure, options.keep):,.0f}" for measure in MEASURES)])
    table.show(rows)
    print("  bars for thalweg: " + ", ".join(f"{measure.bar:,} per {measure.long.unit}" for measure in MEASURES))


def _options():
    parser = argparse.ArgumentParser(prog="perf/instructions.sh", description=__doc__)
    parser.add_argument("--leg", help="only this one: tunnel, nginx, haproxy, thalweg")
    parser.add_argument("--keep", type=Path, help="a directory for callgrind's files, to be read by callgrind_annotate")
    return parser.parse_args()


def _per_unit(name, measure, keep):
    fewer, more = (_collect(name, workload, keep) for workload in (measure.short, measure.long))
    return (more - fewer) / (measure.long.units - measure.short.units)


def _collect(name, workload, keep):
    """Instructions of the whole process."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-perf-"))
        emulator, upstream = legs.emulator(workload.emulator, directory)
        stack.callback(emulator.stop)
        file = (keep or Path(directory)) / f"{name}.{workload.unit}.{workload.units}.callgrind"
        leg = legs.start(name, upstream, wrapper=("valgrind", "--tool=callgrind", f"--callgrind-out-file={file}"))
        stack.callback(leg.stop)
        client.run(leg, workload.load)
        leg.process.stop(seconds=30)
        return int(re.search(r"Collected : (\d+)", leg.process.complaint()).group(1))


if __name__ == "__main__":
    main()
