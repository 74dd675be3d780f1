"""The ways from the client to the upstream: straight, or through one of the proxies, each with one worker.

A leg is (re)started for every workload, since its upstream is another process each time.
"""

import json
import os
import shutil
import socket
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from .process import PROXY_CORE, RIG_CORE, Process, wait_until
from .transport import PLAIN, Transport, certificate_file

HERE = Path(__file__).resolve().parent.parent
RELEASE = HERE.parent / "target" / "release"
RIG = RELEASE / "rig"
THALWEG = Path(os.environ.get("THALWEG_BIN", RELEASE / "thalweg"))
# Other builds to be measured in the same rounds: "before=/path/of/thalweg,…".
OTHERS = {name: Path(path) for name, _, path in (entry.partition("=") for entry in os.environ.get("THALWEG_OTHERS", "").split(",") if entry)}
KEY = "sk-rig-0123456789abcdef"
DIRECT = "direct"
# thalweg with everything that an operator turns on: a key with limits, the ledger, statistics, metrics.
FULL = "thalweg-full"


@dataclass
class Leg:
    name: str
    port: int
    process: Process | None
    # What the client speaks to it.
    url: str = ""
    client_options: list = field(default_factory=list)
    # A file with what is asked; None: a short prompt.
    body: Path | None = None

    def stop(self):
        if self.process:
            self.process.stop()


@dataclass(frozen=True)
class Upstream:
    """What a proxy is told of the emulator, and where its own files go."""

    port: int
    transport: Transport
    directory: Path

    @property
    def scheme(self):
        return "https" if self.transport.tls_upstream else "http"


def emulator(arguments, directory, transport=PLAIN):
    """(the emulator's leg, its description for the others)"""
    options = transport.emulator_options(directory)
    process = Process([RIG, "emulator", *arguments, *options], RIG_CORE, directory, "emulator")
    port = int(process.first_line())
    return Leg("emulator", port, process), Upstream(port, transport, Path(directory))


def available():
    """Names of the legs that this machine can run, in the order of the tables."""
    found = [DIRECT, "tunnel"]
    found += [name for name in ("nginx", "haproxy") if shutil.which(name)]
    return found + (["thalweg", FULL] if THALWEG.exists() else []) + list(OTHERS)


def start(name, upstream, wrapper=(), poll=0.005):
    """`wrapper` is put before the proxy's command: valgrind. `poll`: seconds between two looks whether it listens."""
    leg = _started(name, upstream, wrapper, poll)
    is_direct = name == DIRECT
    leg.url = f"{upstream.scheme if is_direct else 'http'}://127.0.0.1:{leg.port}/v1"
    leg.client_options = upstream.transport.client_options(is_direct)
    if is_direct and upstream.transport.tls_upstream:
        leg.client_options += ["--ca-file", certificate_file(upstream.directory)]
    return leg


def _started(name, upstream, wrapper, poll):
    if name == DIRECT:
        return Leg(name, upstream.port, None)
    if name == "tunnel":
        command = [*wrapper, RIG, "tunnel", "--to", f"127.0.0.1:{upstream.port}"]
        process = Process(command, PROXY_CORE, upstream.directory, name)
        return Leg(name, int(process.first_line()), process)
    port = free_port()
    command = _thalweg(port, upstream, OTHERS[name]) if name in OTHERS else _COMMANDS[name](port, upstream)
    process = Process([*wrapper, *command], PROXY_CORE, upstream.directory, name)
    wait_until(lambda: listening(port), process, poll)
    return Leg(name, port, process)


def free_port():
    """A port the kernel picks, given back at once: nginx and HAProxy cannot be told to pick one and say which."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(port):
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _nginx(port, upstream):
    downstream = "http2" if upstream.transport.http2_downstream else ""
    config = _fill("nginx.conf", upstream, PORT=port, SCHEME=upstream.scheme, DOWNSTREAM=downstream)
    return ["nginx", "-c", config, "-p", upstream.directory, "-e", upstream.directory / "nginx.log"]


def _haproxy(port, upstream):
    transport = upstream.transport
    to_upstream = "ssl verify none" if transport.tls_upstream else "proto h2" if transport.http2_upstream else ""
    downstream = "proto h2" if transport.http2_downstream else ""
    return ["haproxy", "-db", "-f", _fill("haproxy.cfg", upstream, PORT=port, DOWNSTREAM=downstream, TO_UPSTREAM=to_upstream)]


def _thalweg(port, upstream, binary=THALWEG, **more):
    only = provider("rig", upstream)
    if upstream.transport.tls_upstream:
        only["ca_file"] = str(certificate_file(upstream.directory))
    return thalweg(port, upstream.directory, [only], binary, **more)


def provider(name, upstream):
    return {
        "name": name,
        "base_url": f"{upstream.scheme}://127.0.0.1:{upstream.port}/v1",
        "api_key": "sk-up",
        "models": ["rig-model"],
        "protocol": "http2" if upstream.transport.http2_upstream else "http1",
    }


def thalweg(port, directory, providers, binary=THALWEG, **more):
    """Its command; `more` stands in its configuration."""
    config = {
        "host": "127.0.0.1",
        "port": port,
        "workers": 1,
        "log_level": "WARNING",
        # The other proxies keep no books and time no frames either; the leg with everything on does.
        "database": False,
        "ledger": {"enabled": False},
        "telemetry": {"frame_latency": False},
        "providers": providers,
        "tokens": [f"rig|{KEY}"],
        "max_connections": 4096,
        "max_keepalive_connections": 4096,
        **more,
    }
    file = directory / f"thalweg-{port}.json"
    file.write_text(json.dumps(config))
    return [binary, "serve", "--config", file]


def _full(port, upstream, keys=(KEY,), telemetry=None, **more):
    """Limits that are counted and never reached."""
    limits = {"models": ["rig-*"], "rpm": 100_000_000, "tpm": 4 * 10**9, "concurrent": 100_000, "budget": 1e9}
    tokens = [{"description": f"rig-{number}", "token": key, **limits} for number, key in enumerate(keys)]
    prices = {"rig-model": {"input": 2.5, "output": 10}}
    database = f"sqlite:{upstream.directory / f'thalweg-{port}.db'}"
    return _thalweg(port, upstream, tokens=tokens, prices=prices, database=database, ledger={}, telemetry=telemetry or {}, **more)


_COMMANDS = {"nginx": _nginx, "haproxy": _haproxy, "thalweg": _thalweg, FULL: _full}


def use_redis(name, url, keys=(KEY,)):
    """Adds a leg: everything on, with this Redis, for these keys; its metrics are open."""
    _COMMANDS[name] = lambda port, upstream: _full(port, upstream, keys, {"public_metrics": True}, redis=url)


def others_in_full():
    """Adds a leg for each other build: with everything on. Their names."""
    names = {f"{name}-full": path for name, path in OTHERS.items()}
    for name, path in names.items():
        _COMMANDS[name] = lambda port, upstream, path=path: _full(port, upstream, binary=path)
    return list(names)


def use_settings(name, **more):
    """Adds a leg: with these settings, and without the ledger."""
    _COMMANDS[name] = lambda port, upstream: _thalweg(port, upstream, **more)


def _fill(template, upstream, **values):
    text = (HERE / "proxies" / template).read_text()
    for name, value in {"DIR": upstream.directory, "UPSTREAM": upstream.port, **values}.items():
        text = text.replace(f"@{name}@", str(value))
    file = upstream.directory / template
    file.write_text(text)
    return file
