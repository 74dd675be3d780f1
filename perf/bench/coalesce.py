"""Equal streams at once, with one answer of the provider for all beside one for each."""

from statistics import median

from . import legs, rounds, table, workloads

SHARING = "thalweg-coalesce"
# CPU per delivered event, shared over not shared.
BAR = 0.6


def run(scale, repeats, realtime):
    """samples, [(workload, leg, figure, against, value, bar, met)]"""
    # What is stored is too old at once: each stream is one under way or a new one.
    legs.use_settings(SHARING, cache={"coalesce": True, "max_age": "1ms"})
    workload = workloads.all_of(scale)[0]
    samples = rounds.run(workload, [legs.DIRECT, "thalweg", SHARING], repeats, realtime)
    table.show_workload(workload, samples)
    value = median(shared["cpu"] / own["cpu"] for shared, own in zip(samples[SHARING], samples["thalweg"]))
    print(f"  {SHARING} / thalweg, cpu: {value:.2f} (bar {BAR}: {'ok' if value <= BAR else 'over'})")
    return samples, [("coalesce", SHARING, "cpu", "thalweg", value, BAR, value <= BAR)]
