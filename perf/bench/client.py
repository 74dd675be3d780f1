"""Runs the rig's client against a leg and gives its report, with what the run cost it."""

import json
import subprocess

from .legs import KEY, RIG
from .process import RIG_CORE, Placement

LONGEST_RUN = 120


def command(leg, arguments):
    kind, *rest = arguments
    return [str(RIG), "client", kind, "--to", f"127.0.0.1:{leg.port}", "--key", KEY, *map(str, rest)]


def run(leg, arguments, before=()):
    """The client's report. `before` is put before its command: `perf stat`."""
    result = subprocess.run(
        [*before, *command(leg, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=LONGEST_RUN,
        preexec_fn=Placement.on(RIG_CORE),
    )
    if result.returncode:
        raise RuntimeError(f"the client failed against {leg.name}: {result.stderr.decode()[-500:]}")
    report = json.loads(result.stdout)
    if report["errors"]:
        raise RuntimeError(f"{leg.name}: {report['errors']} errors, the first: {report['first_error']}")
    return report, result.stderr.decode()


class Held:
    """Streams held open while the block runs."""

    def __init__(self, leg, streams):
        self._command = command(leg, ["hold", "--streams", streams])

    def __enter__(self):
        self._popen = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=Placement.on(RIG_CORE),
        )
        return json.loads(self._popen.stdout.readline())

    def __exit__(self, *_):
        self._popen.stdin.close()
        self._popen.stdout.close()
        self._popen.wait(10)
