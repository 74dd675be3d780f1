"""Two hundred streams with five dashboards open beside none: the cost of an event that is watched."""

import contextlib
import subprocess
import tempfile
from dataclasses import replace
from statistics import median

from . import legs, rounds, table, workloads
from .process import RIG_CORE, Placement

WATCHED = "thalweg-watched"
ADMIN = "sk-rig-operator"
DASHBOARDS = 5
# CPU per relayed event, watched over not watched.
BAR = 1.03


def run(scale, repeats, realtime):
    """samples, [(workload, leg, figure, against, value, bar, met)]"""
    operator = {"description": "operator", "token": ADMIN, "admin": True}
    legs.use_settings(WATCHED, tokens=[f"rig|{legs.KEY}", operator])
    workload = workloads.all_of(scale)[0]
    # Longer, because dashboards are also shown each request that ends.
    workload = replace(workload, title=f"{workload.title}, four times as long", events=4 * workload.events)
    samples = rounds.run(workload, [legs.DIRECT, "thalweg", WATCHED], repeats, realtime, beside=_dashboards)
    table.show_workload(workload, samples)
    value = median(watched["cpu"] / own["cpu"] for watched, own in zip(samples[WATCHED], samples["thalweg"]))
    print(f"  {WATCHED} / thalweg, cpu: {value:.3f} (bar {BAR}: {'ok' if value <= BAR else 'over'})")
    return samples, [("watched", WATCHED, "cpu", "thalweg", value, BAR, value <= BAR)]


@contextlib.contextmanager
def _dashboards(running):
    """Reads as dashboards do; each must have been shown streams in the end."""
    leg = next(leg for leg in running if leg.name == WATCHED)
    address = f"{leg.url.removesuffix('/v1')}/events?running=true"
    command = ["curl", "--silent", "--no-buffer", "--header", f"Authorization: Bearer {ADMIN}", address]
    files = [tempfile.TemporaryFile() for _ in range(DASHBOARDS)]
    readers = [subprocess.Popen(command, stdout=file, preexec_fn=Placement.on(RIG_CORE)) for file in files]
    try:
        yield
        for file in files:
            file.seek(0)
            if b'"phase":"mid_stream"' not in file.read():
                raise RuntimeError(f"a dashboard of {leg.name} was shown no stream")
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
