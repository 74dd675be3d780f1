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

HERE = Path(__file__).resolve().parent.parent
RELEASE = HERE.parent / "target" / "release"
RIG = RELEASE / "rig"
THALWEG = Path(os.environ.get("THALWEG_BIN", RELEASE / "thalweg"))
KEY = "sk-rig-0123456789abcdef"
DIRECT = "direct"


@dataclass
class Leg:
    name: str
    port: int
    process: Process | None
    url: str = ""
    client_options: list = field(default_factory=list)

    def __post_init__(self):
        self.url = self.url or f"http://127.0.0.1:{self.port}/v1"

    def stop(self):
        if self.process:
            self.process.stop()


def emulator(arguments, directory):
    process = Process([RIG, "emulator", *arguments], RIG_CORE, directory, "emulator")
    return Leg("emulator", int(process.first_line()), process)


def available():
    """Names of the legs that this machine can run, in the order of the tables."""
    found = [DIRECT, "tunnel"]
    found += [name for name in ("nginx", "haproxy") if shutil.which(name)]
    return found + (["thalweg"] if THALWEG.exists() else [])


def start(name, upstream, directory, wrapper=(), poll=0.005):
    """`wrapper` is put before the proxy's command: valgrind. `poll`: seconds between two looks whether it listens."""
    if name == DIRECT:
        return Leg(name, upstream, None)
    if name == "tunnel":
        process = Process([*wrapper, RIG, "tunnel", "--to", f"127.0.0.1:{upstream}"], PROXY_CORE, directory, name)
        return Leg(name, int(process.first_line()), process)
    port = free_port()
    command = _COMMANDS[name](port, upstream, Path(directory))
    process = Process([*wrapper, *command], PROXY_CORE, directory, name)
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


def _nginx(port, upstream, directory):
    config = _fill("nginx.conf", directory, PORT=port, UPSTREAM=upstream, SCHEME="http", DOWNSTREAM="")
    return ["nginx", "-c", config, "-p", directory, "-e", directory / "nginx.log"]


def _haproxy(port, upstream, directory):
    return ["haproxy", "-db", "-f", _fill("haproxy.cfg", directory, PORT=port, UPSTREAM=upstream, DOWNSTREAM="", TO_UPSTREAM="")]


def _thalweg(port, upstream, directory):
    config = {
        "host": "127.0.0.1",
        "port": port,
        "workers": 1,
        "log_level": "WARNING",
        "providers": [{"name": "rig", "base_url": f"http://127.0.0.1:{upstream}/v1", "api_key": "sk-up", "models": ["rig-model"]}],
        "tokens": [f"rig|{KEY}"],
        "max_connections": 4096,
        "max_keepalive_connections": 4096,
    }
    file = directory / "thalweg.json"
    file.write_text(json.dumps(config))
    return [THALWEG, "serve", "--config", file]


_COMMANDS = {"nginx": _nginx, "haproxy": _haproxy, "thalweg": _thalweg}


def _fill(template, directory, **values):
    text = (HERE / "proxies" / template).read_text()
    for name, value in {"DIR": directory, **values}.items():
        text = text.replace(f"@{name}@", str(value))
    file = Path(directory) / template
    file.write_text(text)
    return file
