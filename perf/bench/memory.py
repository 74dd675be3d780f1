"""Memory of an idle stream: what 2000 streams, each with its head and first event delivered, add to the proxy's
resident memory. A fresh proxy, once: memory does not drift, and what was freed would hide what is taken. And memory at the
peak of short requests as fast as they go, and a minute after them."""

import contextlib
import tempfile
import time

from . import client, legs
from .workloads import Load

BAR = 17 * 1024
# At the peak of short requests, and above idle a minute later, with everything on.
PEAK_BAR, LEFT_BAR = 30 * 2**20, 2 * 2**20
MINUTE = 60
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


def peak(names, scale):
    """{leg: (idle bytes, bytes at the peak of short requests on 32 connections, bytes a minute after the last)}"""
    load = Load(32, max(int(300_000 * scale), 320), stream=False)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-perf-"))
        emulator, upstream = legs.emulator([], directory)
        stack.callback(emulator.stop)
        running, figures = [], {}
        for name in names:
            running.append(legs.start(name, upstream))
            stack.callback(running[-1].stop)
        time.sleep(SETTLE)
        for leg in running:
            idle = leg.process.resident()
            client.run(leg, load)
            figures[leg.name] = (idle, leg.process.peak())
        time.sleep(MINUTE * min(scale, 1))
        return {leg.name: (*figures[leg.name], leg.process.resident()) for leg in running}
