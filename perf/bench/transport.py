"""What the bytes travel in on either side: the second table repeats one workload in each, to show what they cost."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Transport:
    name: str
    title: str
    tls_upstream: bool = False
    http2_upstream: bool = False
    http2_downstream: bool = False
    # What can carry it: a tunnel passes on what it gets, this nginx speaks no HTTP/2 to upstreams.
    legs: tuple = ("direct", "tunnel", "nginx", "haproxy", "thalweg")

    def emulator_options(self, directory):
        options = ["--http2"] if self.http2_upstream else []
        if self.tls_upstream:
            certificate, key = _certificate(directory)
            options += ["--certificate", certificate, "--private-key", key]
        return options

    def client_options(self, is_direct):
        """Straight to the upstream the client speaks what a proxy would."""
        http2 = self.http2_upstream if is_direct else self.http2_downstream
        return ["--http2"] if http2 else []


PLAIN = Transport("plain", "HTTP/1.1 on both sides")
OTHERS = (
    Transport("tls-up", "TLS to the upstream", tls_upstream=True, legs=("direct", "nginx", "haproxy", "thalweg")),
    Transport("http2-up", "HTTP/2 to the upstream", http2_upstream=True, legs=("direct", "haproxy", "thalweg")),
    Transport("http2-down", "HTTP/2 from the client", http2_downstream=True, legs=("direct", "nginx", "haproxy", "thalweg")),
)


def certificate_file(directory):
    return Path(directory) / "upstream.crt"


def _certificate(directory):
    """Of a day's life, for loopback only, and its own authority."""
    certificate, key = certificate_file(directory), Path(directory) / "upstream.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    extensions = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    files = ["-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *extensions, *files], check=True, stderr=subprocess.DEVNULL)
    return certificate, key
