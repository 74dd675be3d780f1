"""Prometheus' own parser on /metrics, and /stats and /events beside it, as an operator's tools read them."""

import json
import time

import httpx
from checks import ADMIN_KEY, KEY, URL, expect, run
from prometheus_client.parser import text_string_to_metric_families

BODY = {"model": "demo-text", "messages": [{"role": "user", "content": "hi"}], "stream": True}
CLIENT = {"authorization": f"Bearer {KEY}"}
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


def complete(**headers):
    response = httpx.post(f"{URL}/v1/chat/completions", json=BODY, headers=CLIENT | headers, timeout=30)
    expect(response.status_code == 200, response.status_code)
    return response.text


def families():
    """By name, once the request before has been settled."""
    for _ in range(100):
        response = httpx.get(f"{URL}/metrics", headers=ADMIN, timeout=10)
        expect(response.status_code == 200, response.status_code, response.text)
        found = {family.name: family for family in text_string_to_metric_families(response.text)}
        if any(sample.value for sample in found["thalweg_time_to_first_token_seconds"].samples):
            return found
        time.sleep(0.05)
    raise AssertionError("the request is not in the metrics")


def metrics_are_what_prometheus_reads():
    complete()
    found = families()
    for name, family in found.items():
        expect(name.startswith("thalweg_") and family.documentation and family.type != "unknown", family)
    requests = [sample for sample in found["thalweg_requests"].samples if sample.labels["outcome"] == "done"]
    expect(any(sample.labels["model"] == "demo-text" for sample in requests), requests)
    for family in found.values():
        if family.type == "histogram":
            counts = {}
            for sample in family.samples:
                labels = tuple(sorted((key, value) for key, value in sample.labels.items() if key != "le"))
                if sample.name.endswith("_bucket"):
                    buckets = counts.setdefault(labels, [])
                    expect(not buckets or buckets[-1] <= sample.value, family.name, sample)
                    buckets.append(sample.value)
            for sample in family.samples:
                if sample.name.endswith("_count"):
                    expect(counts[tuple(sorted(sample.labels.items()))][-1] == sample.value, sample)


def statistics_are_the_operators():
    expect(httpx.get(f"{URL}/stats", headers=CLIENT).status_code == 403)
    stats = httpx.get(f"{URL}/stats", headers=ADMIN).json()
    expect(stats["requests"] >= 1 and "demo-text" in stats["models"], stats)


def events_arrive_as_they_happen():
    with httpx.stream("GET", f"{URL}/events", headers=CLIENT, timeout=30) as feed:
        lines = feed.iter_lines()
        expect(next(lines) == ": thalweg")
        complete()
        row = next(line for line in lines if line.startswith("data: "))
        expect(json.loads(row.removeprefix("data: "))["model"] == "demo-text", row)


def a_stream_tells_of_itself_when_asked():
    last = complete(**{"x-thalweg-trace": "1"}).strip().splitlines()[-1]
    expect(last.startswith(": thalweg {"), last)
    expect(json.loads(last.removeprefix(": thalweg "))["added_us"]["p99"] > 0, last)


run(
    "metrics",
    [
        metrics_are_what_prometheus_reads,
        statistics_are_the_operators,
        events_arrive_as_they_happen,
        a_stream_tells_of_itself_when_asked,
    ],
)
