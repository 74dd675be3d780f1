"""Memory of an idle stream: what 2000 streams, each with its head and first event delivered, add to the proxy's
resident memory. A fresh proxy, once: memory does not drift, and what was freed would hide what is taken."""

import contextlib
import tempfile
import time

from . import client, legs

BAR = 17 * 1024
SETTLE = 0.5


def run(names, streams):
    """{leg: (idle bytes, bytes per stream)}"""
    figures = {}
    for name in names:
        if name == legs.DIRECT:
            continue
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-perf-"))
            emulator, upstream = legs.emulator(["--silent"], directory)
            stack.callback(emulator.stop)
            leg = legs.start(name, upstream)
            stack.callback(leg.stop)
            time.sleep(SETTLE)
            idle = leg.process.resident()
            with client.holding(leg, streams, seconds=6):
                time.sleep(SETTLE)
                figures[name] = (idle, (leg.process.resident() - idle) / streams)
    return figures
