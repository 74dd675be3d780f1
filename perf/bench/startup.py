"""From the start of thalweg's process to the last byte of its first answer, through the upstream and back."""

import contextlib
import http.client
import tempfile
import time
from statistics import median

from . import legs

BAR = 0.050
BODY = b'{"model":"rig-model","messages":[{"role":"user","content":"hi"}]}'


def run(repeats):
    """Seconds, at the median, and all of them."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-perf-"))
        emulator, upstream = legs.emulator([], directory)
        stack.callback(emulator.stop)
        times = [_once(upstream) for _ in range(repeats)]
    return median(times), times


def _once(upstream):
    began = time.monotonic()
    leg = legs.start("thalweg", upstream, poll=0.0005)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", leg.port, timeout=10)
        headers = {"authorization": f"Bearer {legs.KEY}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", BODY, headers)
        answer = connection.getresponse()
        answer.read()
        took = time.monotonic() - began
        if answer.status != 200:
            raise RuntimeError(f"the first answer was {answer.status}")
        return took
    finally:
        leg.stop()
