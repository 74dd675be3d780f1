"""Prometheus' promtool on deploy/grafana and on /metrics: rules, their tests, the dashboard's queries."""

import json
import os
import pathlib
import re
import subprocess
import tempfile

import httpx
from checks import ADMIN_KEY, URL, expect, run

ROOT = pathlib.Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "deploy/grafana"
PROMTOOL = os.environ["THALWEG_PROMTOOL"]
# Labels that Prometheus itself puts on, and those of buckets.
OWN_LABELS = {"instance", "job", "le"}


def promtool(*args, stdin=None):
    done = subprocess.run([PROMTOOL, *args], input=stdin, capture_output=True, text=True, timeout=60, check=False)
    expect(done.returncode == 0, args, done.stdout, done.stderr)
    return done.stdout


def dashboard_queries():
    """The queries as Prometheus gets them, with Grafana's variables filled in."""
    dashboard = json.loads((GRAFANA / "dashboard.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    found += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    expect(len(found) > 30, found)
    return [re.sub(r"\$(instance|provider|model)\b", ".*", query.replace("$__rate_interval", "1m")) for query in found]


def documented():
    """The labels of each metric, by the table in docs/OPERATING.md."""
    labels = {}
    for line in (ROOT / "docs/OPERATING.md").read_text().splitlines():
        cells = line.split("|")
        if line.startswith("| `thalweg_") and len(cells) >= 4:
            for name in re.findall(r"`(thalweg_\w+)`", cells[1]):
                labels[name] = set(re.findall(r"`(\w+)`", cells[3]))
    expect(len(labels) > 40, labels)
    return labels


def rules_are_valid():
    out = promtool("check", "rules", str(GRAFANA / "alerts.yaml"))
    expect("SUCCESS" in out, out)


def rules_fire_as_their_tests_say():
    out = promtool("test", "rules", str(GRAFANA / "alerts_test.yaml"))
    expect("SUCCESS" in out, out)


def the_dashboards_queries_are_valid():
    rules = [{"record": f"query:{at}", "expr": query} for at, query in enumerate(dashboard_queries())]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        # JSON is YAML.
        json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
        file.flush()
        out = promtool("check", "rules", file.name)
    expect(f"{len(rules)} rules" in out, out)


def each_query_asks_for_metrics_and_labels_that_exist():
    known = documented()
    queries = dashboard_queries() + re.findall(r"expr: (.*(?:\n {10}.*)*)", (GRAFANA / "alerts.yaml").read_text())
    for query in queries:
        names = re.findall(r"thalweg_\w+", query)
        expect(names or query.startswith("up{"), query)
        for name in names:
            expect(re.sub(r"_bucket$", "", name) in known, name, query)
        labels = set(re.findall(r"(\w+)\s*=~?\s*\"", query))
        for group in re.findall(r"\bby \(([^)]*)\)", query):
            labels |= set(re.split(r",\s*", group))
        allowed = OWN_LABELS.union(*(known[re.sub(r"_bucket$", "", name)] for name in names))
        expect(labels <= allowed, labels - allowed, query)


def promtool_reads_the_metrics():
    response = httpx.get(f"{URL}/metrics", headers={"authorization": f"Bearer {ADMIN_KEY}"}, timeout=10)
    promtool("check", "metrics", stdin=response.text)


run(
    "promtool",
    [
        rules_are_valid,
        rules_fire_as_their_tests_say,
        the_dashboards_queries_are_valid,
        each_query_asks_for_metrics_and_labels_that_exist,
        promtool_reads_the_metrics,
    ],
)
