"""What a translation costs: clients of messages and of responses before a provider that knows chat completions alone,
beside the native way (chat before chat) in the same process and the same rounds, and beside LiteLLM's proxy doing the same.

LITELLM_BIN is its program, of a virtual environment, or `none` to leave it out; without it, one is made in perf/results/
and the pinned version installed there.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from . import client, legs, rounds, table
from .process import PROXY_CORE, Placement, Process, wait_until
from .workloads import WARMUP, Bar, Load, Workload

LITELLM = "litellm[proxy]==1.108.7"
NATIVE, MESSAGES, RESPONSES = WAYS = ("native", "messages", "responses")
ENDPOINTS = {legs.DIRECT: "chat", NATIVE: "chat", MESSAGES: "messages", RESPONSES: "responses"}
# Claude Code's requests of a few turns are about as long.
REQUEST_BYTES = 90_000
# CPU of an event and of LiteLLM's, at most.
OF_LITELLM = 1 / 50
# It carries some 850 events a second of the 20,000: it gets a tenth of the streams, in each fifth round.
LITELLM_ROUNDS = 5
LITELLM_SHARE = 10
MEMORY_BAR = 8 * 1024


def _bars(figure, limit, **more):
    return tuple(Bar(figure, NATIVE, limit, leg=way, **more) for way in (MESSAGES, RESPONSES))


def _events(scale):
    bars = _bars("cpu", 1.35) + _bars("age p50", 10_000, difference=True)
    return Workload(
        "translate", "200 streams, an event of 200 B per 10 ms each, to a provider of chat completions", Load(200, 200, warmup=WARMUP),
        events=max(int(150 * scale), 50), interval_us=10_000, bars=bars, latency=True,
    )


def _first(scale):
    bars = _bars("first token p50", 50_000, difference=True)
    return Workload(
        "translate-first", f"streams of one event after a request of {REQUEST_BYTES // 1000} KB of a coding agent's form, one after another",
        Load(1, max(int(500 * scale), 20)), events=1, bars=bars, latency=True,
    )


def run(scale, repeats, realtime):
    """All samples; prints the tables and the bars."""
    proxy = _litellm()
    results, bars = {}, []
    for workload, size in ((_events(scale), None), (_first(scale), REQUEST_BYTES)):
        samples = _rounds(workload, size, repeats, realtime, proxy)
        table.show_workload(workload, {name: own for name, own in samples.items() if name in ENDPOINTS})
        bars += table.show_bars(workload, samples)
        bars += _show_litellm(workload, samples)
        results[workload.name] = samples
    results["memory"] = _memory(2000 if scale > 0.1 else 100)
    return results, bars


def _rounds(workload, size, repeats, realtime, proxy):
    """{way: samples}. LiteLLM's ways have fewer."""
    Placement.realtime = realtime
    with _started(workload, size, proxy) as (emulator, running, slow):
        less = _less(workload)
        for leg in running:
            client.run(leg, replace(workload.load, requests=workload.load.streams))
        for leg in slow:
            client.run(leg, less.load)
        samples = {leg.name: [] for leg in running + slow}
        for number in range(repeats * rounds.ROUNDS_PER_REPEAT):
            for leg in rounds.rotated(running, number):
                samples[leg.name].append(rounds.sample(workload, emulator, leg))
            for leg in slow if number % LITELLM_ROUNDS == 0 else []:
                samples[leg.name].append(rounds.sample(less, emulator, leg))
    return samples


def _less(workload):
    """The same with a tenth of the streams, or of the requests one after another."""
    load = workload.load
    return replace(workload, load=replace(load, streams=max(load.streams // LITELLM_SHARE, 1), requests=max(load.requests // LITELLM_SHARE, 1)))


@contextlib.contextmanager
def _started(workload, size, proxy):
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-perf-")))
        emulator, upstream = legs.emulator([*workload.emulator, "--stamp-text"], directory)
        stack.callback(emulator.stop)
        gateway = _gateway(upstream)
        stack.callback(gateway.stop)
        direct = legs.Leg(legs.DIRECT, upstream.port, None, f"http://127.0.0.1:{upstream.port}/v1")
        running = [_way(direct, legs.DIRECT, size, directory), *(_way(gateway, way, size, directory) for way in WAYS)]
        slow = []
        if proxy:
            other = _other(proxy, upstream)
            stack.callback(other.stop)
            slow = [_way(other, way, size, directory, "litellm ") for way in (MESSAGES, RESPONSES)]
        yield emulator, running, slow


def _gateway(upstream):
    port = legs.free_port()
    provider = {**legs.provider("rig", upstream), "dialects": ["chat"]}
    process = Process(legs.thalweg(port, upstream.directory, [provider]), PROXY_CORE, upstream.directory, "thalweg")
    wait_until(lambda: legs.listening(port), process, 0.005)
    return legs.Leg("thalweg", port, process, f"http://127.0.0.1:{port}/v1")


def _way(leg, way, size, directory, prefix=""):
    """The same process, asked in a dialect."""
    endpoint = ENDPOINTS[way]
    body = None
    if size:
        body = directory / f"{endpoint}.json"
        body.write_bytes(subprocess.check_output([legs.RIG, "request", "--dialect", endpoint, "--bytes", str(size)]))
    return replace(leg, name=prefix + way, client_options=["--endpoint", endpoint], body=body)


def _litellm():
    """Its program. `None`: it is not here and cannot be installed."""
    if given := os.environ.get("LITELLM_BIN"):
        return None if given == "none" else given
    environment = legs.HERE / "results" / "litellm"
    program = environment / "bin" / "litellm"
    try:
        if not program.exists():
            subprocess.run([sys.executable, "-m", "venv", environment], check=True)
            subprocess.run([environment / "bin" / "pip", "install", "--quiet", LITELLM], check=True)
        return program
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"\nwithout LiteLLM, which cannot be installed: {error}")
        return None


def _other(program, upstream):
    port = legs.free_port()
    parameters = {"model": "openai/rig-model", "api_base": f"http://127.0.0.1:{upstream.port}/v1", "api_key": "sk-up", "use_chat_completions_api": True}
    config = {
        "model_list": [{"model_name": "rig-model", "litellm_params": parameters}],
        "litellm_settings": {"use_chat_completions_url_for_anthropic_messages": True, "telemetry": False},
        "general_settings": {"master_key": legs.KEY},
    }
    file = upstream.directory / "litellm.yaml"
    # JSON is YAML.
    file.write_text(json.dumps(config))
    command = [program, "--config", file, "--host", "127.0.0.1", "--port", port, "--num_workers", 1]
    env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    process = Process(command, PROXY_CORE, upstream.directory, "litellm", env, quiet=True)
    wait_until(lambda: legs.listening(port), process, 0.1)
    return legs.Leg("litellm", port, process, f"http://127.0.0.1:{port}/v1")


def _show_litellm(workload, samples):
    results = []
    for way in (MESSAGES, RESPONSES):
        theirs = samples.get(f"litellm {way}")
        if not theirs:
            continue
        other, own = (median(sample["cpu"] for sample in all) for all in (theirs, samples[way]))
        token = median(sample["first token p50"] for sample in theirs)
        met = own <= other * OF_LITELLM
        print(
            f"  LiteLLM, {way}: CPU {table.micro(other)} µs per {workload.unit}, {other / own:.0f} times thalweg's (bar 50: {'ok' if met else 'over'}); "
            f"busy {median(sample['busy'] for sample in theirs):.0%}, first token p50 {table.micro(token)} µs"
        )
        results.append((workload.name, way, "cpu", "litellm", own / other, OF_LITELLM, met))
    return results


def _memory(streams):
    """{size of the request: {way: bytes per stream}}"""
    figures = {}
    print(f"\ntranslate-memory: {streams} streams held open after their first event")
    for size in (None, REQUEST_BYTES):
        figures[size or client.PROMPT_BYTES] = of_size = {way: _held(way, size, streams) for way in WAYS}
        request = f"{(size or client.PROMPT_BYTES) / 1000:g} KB"
        print(f"  after a request of {request}: native {of_size[NATIVE] / 1024:.1f} KB per stream", end="")
        for way in (MESSAGES, RESPONSES):
            more = of_size[way] - of_size[NATIVE]
            print(f"; {way} {more / 1024:+.1f} KB (bar {MEMORY_BAR // 1024}: {'ok' if more <= MEMORY_BAR else 'over'})", end="")
        print(flush=True)
    return figures


def _held(way, size, streams):
    """Of a fresh process, once: what was freed would hide what is taken."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-perf-")))
        emulator, upstream = legs.emulator(["--silent", "--stamp-text"], directory)
        stack.callback(emulator.stop)
        leg = _way(_gateway(upstream), way, size, directory)
        stack.callback(leg.stop)
        time.sleep(0.5)
        idle = leg.process.resident()
        with client.holding(leg, streams, seconds=8):
            time.sleep(1)
            return (leg.process.resident() - idle) / streams
