"""A flood: 64 clients over three replicas that share a limit of 600 requests a minute, while a replica is killed and
started again and another one is cut off from Redis for a while. In no 60 seconds are more requests admitted than the
limit, and in no 60 seconds of a calm time less than 95 % of it.

    THALWEG=target/release/thalweg python3 tests/real_clients/flood.py [MINUTES]

Without MINUTES a short one of 64 s, in which everything happens once and all comes as a burst. As root the third
replica is in a network namespace, and its link to Redis is taken down; without `ip`, or the right to make one, a
forwarder before its Redis stands still. The first line has the one that is used. Replicas refuse while they are alone
(`"closed"`), because only then the limit holds at a replica that is cut off. Needs redis-server and the standard
library. Ends with "N passed, N failed".
"""

import bisect
import contextlib
import http.client
import ipaddress
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

PROGRAM = os.environ.get("THALWEG", "target/release/thalweg")
KEY, LIMIT, CLIENTS, WINDOW = "sk-flood", 600, 64, 60
BODY = json.dumps({"model": "demo-embedding", "input": "Hello"})
# Admitted in a minute of a calm time, at least.
LEAST = 0.95 * LIMIT
# What a killed or cut-off replica held counts as used until then.
UNREST = WINDOW + 5
# The first uses are free again after 61 s.
SHORT = 64
# A long flood begins at a pace, so that uses are spread over the minute and not one burst each minute.
PACED = WINDOW + 10
# Where `ip` is on Debian, also for those who are not root.
os.environ["PATH"] += ":/usr/sbin:/sbin"
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NAMESPACE = f"thalweg-{os.getpid()}"
# Of the addresses for tests of networks eight, by process id: two ends of Redis' link, two of the clients'.
NETWORK = ipaddress.ip_network("198.18.0.0/15")[os.getpid() % (1 << 14) * 8]
HOST_SIDE, OWN_SIDE = (str(NETWORK + 1), str(NETWORK + 5)), (str(NETWORK + 2), str(NETWORK + 6))


def free_port(host="127.0.0.1"):
    with socket.socket() as listener:
        listener.bind((host, 0))
        return listener.getsockname()[1]


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition is not reached"
        time.sleep(0.05)


def listening(address):
    try:
        socket.create_connection(address, 1).close()
        return True
    except OSError:
        return False


class Namespace:
    """A network of its own with two links, so that one can be cut."""

    redis_host = HOST_SIDE[0]
    own_host = OWN_SIDE[1]
    command = ["ip", "netns", "exec", NAMESPACE]

    def __init__(self):
        if self.ip("-o", "addr", "show", "to", f"{NETWORK}/29"):
            raise OSError(f"addresses of {NETWORK}/29 are in use")
        self.link = f"tw0-{os.getpid()}"
        self.ip("netns", "add", NAMESPACE)
        for number, (host, own) in enumerate(zip(HOST_SIDE, OWN_SIDE)):
            outer, inner = f"tw{number}-{os.getpid()}", f"in{number}-{os.getpid()}"
            self.ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", NAMESPACE)
            self.ip("addr", "add", f"{host}/30", "dev", outer)
            self.ip("link", "set", outer, "up")
            self.ip("-n", NAMESPACE, "addr", "add", f"{own}/30", "dev", inner)
            self.ip("-n", NAMESPACE, "link", "set", inner, "up")
        self.ip("-n", NAMESPACE, "link", "set", "lo", "up")

    @staticmethod
    def ip(*words):
        return subprocess.run(["ip", *words], check=True, capture_output=True).stdout

    def cut(self):
        self.ip("link", "set", self.link, "down")

    def join(self):
        self.ip("link", "set", self.link, "up")

    @staticmethod
    def remove():
        """Removes what there is of it; the links are gone with it."""
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(["ip", "netns", "del", NAMESPACE], capture_output=True)


class Forwarder:
    """Passes bytes between a replica and Redis; cut, it holds them."""

    redis_host = own_host = "127.0.0.1"
    command = []

    def __init__(self):
        self.passes, self.target = threading.Event(), None
        self.passes.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    def port_before(self, port):
        self.target = port
        return self.listener.getsockname()[1]

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.create_connection(("127.0.0.1", self.target))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self.copy, args=(source, sink), daemon=True).start()

    def copy(self, source, sink):
        try:
            while data := source.recv(1 << 16):
                self.passes.wait()
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()

    def cut(self):
        self.passes.clear()

    def join(self):
        self.passes.set()


def partition():
    try:
        link = Namespace()
        print(f"cut off by the link of a network namespace, {NAMESPACE}", flush=True)
        return link
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or b""
        print(f"cut off by a forwarder, without a network namespace: {error} {reason.decode().strip()}", flush=True)
        return Forwarder()


class Replica:
    def __init__(self, folder, number, redis, host="127.0.0.1", command=()):
        self.folder, self.number, self.host, self.command = folder, number, host, list(command)
        config = {
            "host": host,
            "port": 0,
            "instance": f"replica-{number}",
            "redis": {"limits": redis},
            "limits": {"when_alone": "closed"},
            "tokens": [{"description": "flood", "token": KEY, "rpm": LIMIT}],
        }
        self.config = os.path.join(folder, f"replica-{number}.json")
        with open(self.config, "w") as file:
            json.dump(config, file)
        self.process = None

    def start(self):
        log = os.path.join(self.folder, f"replica-{self.number}.log")
        # No provider may be found on this machine: the demo answers.
        env = {"PATH": os.environ["PATH"], "OLLAMA_HOST": "127.0.0.1:1", "STATE_DIRECTORY": self.folder}
        words = [*self.command, PROGRAM, "serve", "--config", self.config]
        with open(log, "w") as output:
            self.process = subprocess.Popen(words, env=env, stdout=output, stderr=subprocess.STDOUT)

        def address():
            with open(log) as file:
                return re.search(rf"http://(?:{re.escape(self.host)}|localhost):(\d+)", file.read())

        until(address)
        self.address = (self.host, int(address().group(1)))
        until(lambda: listening(self.address))

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()


class Flood:
    def __init__(self, replicas, paced):
        self.replicas, self.begin, self.paced, self.end = replicas, time.monotonic(), paced, None
        self.admitted, self.refused, self.alone, self.unanswered, self.other = [], 0, 0, 0, 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.client, args=(number,), daemon=True) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def now(self):
        return time.monotonic() - self.begin

    def client(self, number):
        turn, connection = number, None
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        # Clients do not begin together.
        time.sleep(number * self.paced / CLIENTS / 12)
        while self.end is None:
            sent = self.now()
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(*self.replicas[turn % len(self.replicas)].address, timeout=10)
                connection.request("POST", "/v1/embeddings", BODY, headers)
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException):
                status = None
            got = self.now()
            with self.lock:
                if status == 200:
                    self.admitted.append((sent, got))
                elif status == 429:
                    self.refused += 1
                elif status == 503:
                    self.alone += 1
                elif status is None:
                    self.unanswered += 1
                else:
                    self.other += 1
            if status not in (200, 429):
                # As a balancer does: the next replica.
                turn, connection = turn + 1, None
            if got < self.paced:
                # All together a tenth above the limit.
                time.sleep(CLIENTS * WINDOW / LIMIT / 1.1)
            elif status != 200:
                time.sleep(0.25)

    def stop(self):
        self.end = self.now()
        for thread in self.threads:
            thread.join()
        self.admitted.sort()


def most(admitted):
    """The most requests that were surely admitted within one window: sent and answered in it."""
    found = (0, 0)
    for index, (begin, _) in enumerate(admitted):
        last = bisect.bisect_right(admitted, (begin + WINDOW, 0))
        count = sum(got <= begin + WINDOW for _, got in admitted[index:last])
        found = max(found, (count, begin))
    return found


def least(admitted, calm):
    """The fewest in a window of calm time, and the number of such windows (one begins each second)."""
    answered = sorted(got for _, got in admitted)
    found = []
    for begin, end in calm:
        while begin + WINDOW <= end:
            found.append((bisect.bisect_left(answered, begin + WINDOW) - bisect.bisect_left(answered, begin), begin))
            begin += 1
    return (*min(found, default=(None, None)), len(found))


def stop(number, _):
    """A stop from outside unwinds like an error, so that nothing stays behind; a second one does not cut that off."""
    for each in STOPS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main():
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else None
    for number in STOPS:
        signal.signal(number, stop)
    with contextlib.ExitStack() as left_behind:
        folder = left_behind.enter_context(tempfile.TemporaryDirectory())
        left_behind.callback(Namespace.remove)
        link = partition()
        port, hosts = free_port(), {"127.0.0.1", link.redis_host}
        server = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", *hosts, "--protected-mode", "no", "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        left_behind.callback(server.wait)
        left_behind.callback(server.kill)
        own_port = link.port_before(port) if isinstance(link, Forwarder) else port
        running = [Replica(folder, number, f"redis://127.0.0.1:{port}") for number in range(2)]
        running.append(Replica(folder, 2, f"redis://{link.redis_host}:{own_port}", link.own_host, link.command))
        until(lambda: listening(("127.0.0.1", port)))
        for replica in running:
            left_behind.callback(replica.kill)
            replica.start()
        # Replicas are careful in a Redis's first seconds.
        time.sleep(6)
        failed = run(running, link, minutes)
    sys.exit(1 if failed else 0)


def run(replicas, link, minutes):
    length = minutes * 60 if minutes else SHORT
    flood = Flood(replicas, PACED if minutes else 0)
    at = lambda part, short: length * part if minutes else short

    def wait_for(moment):
        time.sleep(max(moment - flood.now(), 0))

    wait_for(at(0.3, 20))
    killed = flood.now()
    replicas[1].kill()
    wait_for(at(0.4, 30))
    replicas[1].start()
    restarted = flood.now()
    wait_for(at(0.6, 40))
    cut = flood.now()
    link.cut()
    wait_for(at(0.75, 55))
    joined = flood.now()
    link.join()
    wait_for(length)
    flood.stop()
    # The time between two disturbances, and after the last one.
    calm = [(PACED, killed), (killed + UNREST, cut), (cut + UNREST, joined), (joined + UNREST, length)]
    (high, high_at), (low, low_at, windows) = most(flood.admitted), least(flood.admitted, calm)
    kind = "a network namespace" if isinstance(link, Namespace) else "a forwarder"
    print(
        f"  {len(flood.admitted)} admitted, {flood.refused} refused, {flood.alone} refused without Redis, "
        f"{flood.unanswered} without an answer, {flood.other} others in {length:.0f} s; killed at {killed:.0f} s, again "
        f"at {restarted:.0f} s; cut off ({kind}) from {cut:.0f} s to {joined:.0f} s"
    )
    print(f"  most in 60 s: {high} of {LIMIT} (from {high_at:.0f} s)")
    checks = {"no_window_is_above_the_limit": high <= LIMIT, "no_answer_of_another_kind": flood.other == 0}
    if minutes:
        print(f"  fewest in 60 s of calm: {low} (from {low_at} s), {windows} windows")
        checks["no_calm_window_is_far_below"] = low is not None and low >= LEAST
    else:
        first = sum(got < WINDOW for _, got in flood.admitted)
        second = len(flood.admitted) - first
        print(f"  in the first minute {first}, then {second}")
        checks["the_limit_is_used_and_free_again"] = first >= LEAST and second > 0
    for name, good in checks.items():
        print("ok" if good else "FAILED", name)
    failed = list(checks.values()).count(False)
    print(f"flood: {len(checks) - failed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    main()
