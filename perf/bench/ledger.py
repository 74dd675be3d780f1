"""What a row of the ledger costs: the CPU of the threads that make and write it, per short request with everything on. The
control is the emulator's CPU per request in the same round, which no build of thalweg changes."""

import time
from statistics import median

from . import client, legs, rounds, workloads
from .process import Placement

THREADS = {"settle": "settlement", "ledger": "ledger", "sqlx-sqlite-wor": "SQLite"}
# Microseconds per row, over the threads.
BAR = 3.0
# Rows are written within this time of the last answer.
SETTLING = 0.3


def run(scale, repeats, realtime):
    """{leg: [{thread: µs per row, "all": …, "control": …} of each round]}"""
    workload = next(workload for workload in workloads.all_of(scale) if workload.name == "short")
    Placement.realtime = realtime
    names = [legs.FULL, *legs.others_in_full()]
    samples = {name: [] for name in names}
    with rounds.started(workload, names) as (emulator, running):
        for leg in running:
            client.run(leg, workload.load)
        for number in range(repeats * rounds.ROUNDS_PER_REPEAT):
            for leg in rounds.rotated(running, number):
                samples[leg.name].append(_sample(workload, emulator, leg))
    return samples


def show(samples):
    """[(workload, leg, figure, against, value, bar, met)]"""
    for name, found in samples.items():
        middle = {key: median(sample[key] for sample in found) for key in found[0]}
        parts = ", ".join(f"{title} {middle[thread]:.2f}" for thread, title in THREADS.items())
        low, high = min(sample["all"] for sample in found), max(sample["all"] for sample in found)
        ratio = median(sample["all"] / sample["control"] for sample in found)
        print(f"  {name}: {middle['all']:.2f} µs per row ({low:.2f}…{high:.2f}): {parts}; {ratio:.2f} of the emulator's CPU per request")
    value = median(sample["all"] for sample in samples[legs.FULL])
    print(f"  bar {BAR:g} µs: {'ok' if value <= BAR else 'over'}")
    return [("ledger", legs.FULL, "cpu per row", None, value, BAR, value <= BAR)]


def _sample(workload, emulator, leg):
    def clocks():
        return emulator.process.cpu(), leg.process.cpu_by_thread()

    control, before = clocks()
    client.run(leg, workload.load)
    time.sleep(SETTLING)
    after_control, after = clocks()
    # SQLite's thread may be another one by now: it ends when no rows come.
    of = {name: max(0, after.get(name, 0) - before.get(name, 0)) / workload.units / 1e3 for name in THREADS}
    return {**of, "all": sum(of.values()), "control": (after_control - control) / workload.units / 1e3}
