"""Replicas as `deploy/cluster.sh` starts them, from outside: a stream through the balancer, a key's limit over all
replicas, a budget, a key that is revoked, a replica that is killed, a Redis that is killed.

    COUNT=3 deploy/cluster.sh python3 tests/real_clients/cluster.py

Needs the standard library alone. Ends with "N passed, N failed".
"""

import collections
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.parse

BALANCER = os.environ["THALWEG_URL"]
REPLICAS = [line.split() for line in os.environ["REPLICAS"].strip().splitlines()]
PROGRAM = os.environ.get("THALWEG", "target/release/thalweg")
# Answered at once, so that few clients reach a limit.
QUICK = ("/v1/embeddings", {"model": "demo-embedding", "input": "Hello"})
BODY = {"model": "demo-text", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}


def send(base, key, body=BODY, path="/v1/chat/completions", timeout=30):
    """One request on a connection of its own: the status, the headers, the body."""
    url = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)
    try:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        method = "GET" if body is None else "POST"
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def keys(*arguments):
    env = {"PATH": os.environ["PATH"], "THALWEG_DATABASE_URL": os.environ["DATABASE_URL"]}
    run = subprocess.run([PROGRAM, "keys", *arguments, "--json"], env=env, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition is not reached"
        time.sleep(0.05)


def new_key(name, *limits):
    key = keys("create", "--name", name, *limits)["key"]
    for base, _ in REPLICAS:
        until(lambda: send(base, key, None, "/v1/models")[0] == 200)
    return key


def burst(bases, key, clients, seconds):
    """Clients that send one request after the other: statuses, by count."""
    path, body = QUICK
    counts, end = collections.Counter(), time.monotonic() + seconds

    def client(base):
        while time.monotonic() < end:
            status, _, _ = send(base, key, body, path)
            counts[status] += 1

    threads = [threading.Thread(target=client, args=(bases[index % len(bases)],)) for index in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def a_stream_passes_the_balancer_as_it_comes():
    url = urllib.parse.urlsplit(BALANCER)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    headers = {"authorization": f"Bearer {os.environ['API_KEY']}", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps({**BODY, "stream": True}), headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    lines = []
    while line := answer.readline():
        if line.startswith(b"data: "):
            lines.append((time.monotonic(), line))
    assert lines[-1][1] == b"data: [DONE]\n", lines[-1]
    # The demo sends its events apart, so they arrive apart.
    moments = {round(moment, 3) for moment, _ in lines}
    assert len(moments) >= 3, f"{len(lines)} events at {len(moments)} moments"
    connection.close()


def requests_of(base):
    status, _, text = send(base, os.environ["THALWEG_ADMIN_KEY"], None, "/stats")
    assert status == 200, (status, text)
    return json.loads(text)["requests"]


def the_balancer_gives_requests_to_every_replica():
    path, body = QUICK
    before = [requests_of(base) for base, _ in REPLICAS]
    for _ in range(4 * len(REPLICAS)):
        assert send(BALANCER, os.environ["API_KEY"], body, path)[0] == 200
    got = lambda: [requests_of(base) - earlier for (base, _), earlier in zip(REPLICAS, before)]
    until(lambda: sum(got()) >= 4 * len(REPLICAS))
    print(f"  {4 * len(REPLICAS)} requests, by replica: {got()}")
    assert all(got()), got()


def a_limit_holds_over_all_replicas():
    limit = 60
    for name, bases in [("all", [base for base, _ in REPLICAS]), ("one", [REPLICAS[0][0]])]:
        key = new_key(f"limited-{name}", "--rpm", str(limit))
        counts = burst(bases, key, clients=16, seconds=6)
        print(f"  rpm {limit}, {name}: {dict(counts)}")
        assert set(counts) <= {200, 429}, counts
        assert limit * 0.95 <= counts[200] <= limit, counts


def spent_by(name):
    return next(key["spent"] for key in keys("list") if key["name"] == name)


def price(per_million):
    """Gives the quick model this price at all replicas, which read their file again when it changes."""
    with open(os.environ["CONFIG"]) as file:
        config = json.load(file)
    config["prices"] = {QUICK[1]["model"]: {"input": per_million, "output": per_million}}
    with open(os.environ["CONFIG"] + ".new", "w") as file:
        json.dump(config, file)
    os.replace(file.name, os.environ["CONFIG"])


def a_budget_holds_over_all_replicas():
    price(1000)
    probe = new_key("probe", "--budget", "1000")
    for base, _ in REPLICAS:
        # By then the replica has the price, and the database what was spent.
        before = spent_by("probe")
        until(lambda: send(base, probe, QUICK[1], QUICK[0]) and spent_by("probe") > before)
    probe = new_key("one-request", "--budget", "1000")
    send(BALANCER, probe, QUICK[1], QUICK[0])
    until(lambda: spent_by("one-request") > 0)
    cost = spent_by("one-request")
    budget = round(300.5 * cost, 6)
    key, counts, end = new_key("budget", "--budget", f"{budget:f}"), collections.Counter(), time.monotonic() + 20

    def client(base):
        status = None
        while status != 402 and time.monotonic() < end:
            status, _, _ = send(base, key, QUICK[1], QUICK[0])
            counts[status] += 1
            # The rest is set aside for requests under way.
            time.sleep(0.02 if status == 429 else 0)

    threads = [threading.Thread(target=client, args=(REPLICAS[index % len(REPLICAS)][0],)) for index in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: spent_by("budget") >= counts[200] * cost - 1e-9)
    spent = spent_by("budget")
    print(f"  budget {budget:f}, {cost:f} a request: {spent:f} spent; {dict(counts)}")
    # All replicas know in the end that it is spent.
    assert set(counts) <= {200, 402, 429} and counts[402] == 24, counts
    # The last request of each replica may cost more than the rest that it was given.
    assert 0.95 * budget <= spent <= budget + len(REPLICAS) * cost, (spent, budget)


def a_revoked_key_is_refused_within_two_seconds():
    key = new_key("revoked")
    keys("revoke", "revoked")
    revoked = time.monotonic()
    for base, _ in REPLICAS:
        until(lambda: send(base, key, None, "/v1/models")[0] == 401, seconds=2)
    print(f"  refused by all after {time.monotonic() - revoked:.2f} s")


def limits_hold_while_redis_is_away():
    limit = 30
    key = new_key("alone", "--rpm", str(limit))
    os.kill(int(os.environ["REDIS_LIMITS_PID"]), signal.SIGKILL)
    counts = burst([base for base, _ in REPLICAS], key, clients=8, seconds=6)
    print(f"  rpm {limit} without Redis: {dict(counts)}")
    # Each replica has its share of the limit.
    assert set(counts) <= {200, 429} and 0 < counts[200] <= limit, counts
    assert send(BALANCER, os.environ["API_KEY"])[0] == 200


def a_killed_replica_costs_the_requests_that_it_had():
    os.kill(int(REPLICAS[1][1]), signal.SIGKILL)
    # The balancer sees its idle connections to it end.
    time.sleep(0.2)
    key = os.environ["API_KEY"]
    # HAProxy's check takes two seconds to see it; a connection that is refused goes to another replica.
    path, body = QUICK
    statuses = collections.Counter(send(BALANCER, key, body, path)[0] for _ in range(20))
    assert statuses == {200: 20}, statuses


CASES = [
    a_stream_passes_the_balancer_as_it_comes,
    the_balancer_gives_requests_to_every_replica,
    a_limit_holds_over_all_replicas,
    a_budget_holds_over_all_replicas,
    a_revoked_key_is_refused_within_two_seconds,
    limits_hold_while_redis_is_away,
    a_killed_replica_costs_the_requests_that_it_had,
]


def main():
    failed = 0
    for case in CASES:
        try:
            case()
            print(f"ok {case.__name__}")
        except Exception as error:  # noqa: BLE001
            failed += 1
            print(f"FAILED {case.__name__}: {type(error).__name__}: {error}")
    print(f"cluster: {len(CASES) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
