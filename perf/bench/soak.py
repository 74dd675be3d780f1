"""Memory over time with everything on: 200 streams and 500 short requests a second, and the slope of resident memory."""

import contextlib
import json
import subprocess
import tempfile
import time

from . import client, legs
from .process import RIG_CORE, Placement

STREAMS, RATE = 200, 500
PERIOD = 5.0
# Until the first, pools, histograms and the allocator take what they keep; until the second, of ten minutes,
# the windows of five minutes fill.
SETTLING, SETTLED = 0.2, 0.5


def run(minutes):
    """([(seconds, bytes)], bytes per minute since SETTLING and since SETTLED, the clients' reports) of thalweg with all of it on; every answer must have been whole."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-perf-"))
        emulator, upstream = legs.emulator(["--events", 1000, "--interval-us", 10_000, "--size", 200], directory)
        stack.callback(emulator.stop)
        leg = legs.start(legs.FULL, upstream)
        stack.callback(leg.stop)
        seconds = minutes * 60
        loads = [_started(stack, leg, seconds, STREAMS, True), _started(stack, leg, seconds, 64, False, "--rate", RATE)]
        samples = _sampled(leg, seconds)
        reports = [_report(load) for load in loads]
    slopes = [_slope([sample for sample in samples if sample[0] > share * seconds]) for share in (SETTLING, SETTLED)]
    return samples, slopes, reports


def _started(stack, leg, seconds, streams, stream, *more):
    command = client.command_of(leg, streams, seconds, stream, *more)
    load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=Placement.on(RIG_CORE))
    stack.callback(lambda: (load.kill(), load.wait()))
    return load


def _sampled(leg, seconds):
    start, samples = time.monotonic(), []
    while (passed := time.monotonic() - start) < seconds:
        samples.append((passed, leg.process.resident()))
        time.sleep(PERIOD)
    return samples


def _report(load):
    report = json.loads(load.communicate(timeout=60)[0])
    if report["errors"] or set(report["statuses"]) != {"200"}:
        raise RuntimeError(f"not every answer was whole: {report['statuses']} {report['errors']}")
    return report


def _slope(samples):
    """Least squares, in bytes per minute."""
    times, sizes = zip(*samples)
    middle, mean = sum(times) / len(times), sum(sizes) / len(sizes)
    spread = sum((moment - middle) ** 2 for moment in times)
    return 60 * sum((moment - middle) * (size - mean) for moment, size in samples) / spread
