"""The client of every measurement is `thalweg bench`: one thread, exact about events. Its report is believed only when
every request was answered in full; times are turned into nanoseconds."""

import contextlib
import json
import os
import subprocess
import time

from .legs import KEY, RELEASE
from .process import RIG_CORE, Placement

BENCH = RELEASE / "thalweg"
LONGEST_RUN = 110
# A prompt that makes the body about as long as a short chat's.
PROMPT_BYTES = 400
# Streams to be held are opened one after another, as they come in life; a burst would measure its own peak.
OPENED_PER_SECOND = 1000


def run(leg, load, before=()):
    """The client's report, and what was written to standard error. `before` is put before its command: `perf stat`."""
    timing = ("--requests", load.requests, "--warmup", f"{load.warmup}s")
    command = command_of(leg, load.streams, LONGEST_RUN, load.stream, *timing)
    result = subprocess.run(
        [*before, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=LONGEST_RUN + 10,
        preexec_fn=Placement.on(RIG_CORE),
    )
    if result.returncode:
        raise RuntimeError(f"the client failed against {leg.name}: {result.stderr.decode()[-500:]}")
    return _checked(leg, load, json.loads(result.stdout)), result.stderr.decode()


def at_rate(leg, seconds, rate):
    """The report of requests that are sent at a rate whatever the answers do; their failures are in it."""
    command = command_of(leg, 256, seconds, False, "--rate", rate)
    result = subprocess.run(command, stdout=subprocess.PIPE, timeout=seconds + 30, preexec_fn=Placement.on(RIG_CORE))
    return json.loads(result.stdout)


def of_many_keys(leg, seconds, rate, keys):
    """Reports of one client for each key, all at once, with this rate together."""
    words = [command_of(leg, 4, seconds, False, "--rate", rate / len(keys), key=key) for key in keys]
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=Placement.on(RIG_CORE)) for command in words]
    return [json.loads(client.communicate(timeout=seconds + 60)[0]) for client in clients]


def command_of(leg, streams, seconds, stream, *more, key=KEY):
    command = [BENCH, "bench", "--url", leg.url, "--api-key", key, "--model", "rig-model", "--json", "-", "--no-first-request"]
    command += ["--body", leg.body] if leg.body else ["--prompt-bytes", PROMPT_BYTES]
    command += ["--streams", streams, "--duration", f"{seconds}s", *more]
    command += leg.client_options + ([] if stream else ["--no-stream"])
    return [str(part) for part in command]


def _checked(leg, load, report):
    requests = report["requests"]
    good = report["statuses"] == {"200": load.requests} and not report["errors"]
    if not good or requests["completed"] != load.requests or load.stream and requests["without_done"]:
        raise RuntimeError(f"{leg.name}: not every answer was whole: {requests} {report['statuses']} {report['errors']}")
    return report


def times(report):
    """{"age p50": nanoseconds, …}; without what the run did not measure."""
    kinds = {"age": "delivery_us", "first byte": "ttfb_us", "first token": "ttft_us", "answer": "total_us"}
    quantiles = {"p50": "p50", "p99": "p99", "p99.9": "p999"}
    return {
        f"{kind} {quantile}": report[field][key] * 1e3
        for kind, field in kinds.items()
        if report[field]
        for quantile, key in quantiles.items()
    }


@contextlib.contextmanager
def holding(leg, streams, seconds):
    """Streams held open while the block runs, which is entered when all are connected; that each began is checked after."""
    command = command_of(leg, streams, seconds, True, "--requests", streams, "--rate", OPENED_PER_SECOND)
    client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=Placement.on(RIG_CORE))
    try:
        end = time.monotonic() + seconds
        while len(os.listdir(f"/proc/{client.pid}/fd")) < streams and time.monotonic() < end:
            time.sleep(0.05)
        yield
        report = json.loads(client.communicate(timeout=seconds + 10)[0])
        if report["ttfb_us"]["count"] != streams:
            raise RuntimeError(f"{leg.name}: only {report['ttfb_us']['count']} of {streams} streams began")
    finally:
        client.kill()
        client.wait()
