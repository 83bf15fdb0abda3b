"""Figures in Prometheus' text format.

There are no counters of requests: they would start at zero with every instance, and an instance lives for minutes. The
text holds the state of the dependencies and of this process, and the figures that features read from their stores.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from app.feature import Figure, Invariant
from app.kit import telemetry
from app.kit.errors import Fault
from app.monitoring.service import Monitoring

Figures = Callable[[], Iterable[Figure]]
"""Asked at each scrape."""


def no_figures() -> Iterable[Figure]:
    """Figures of a system without features."""
    return ()


def exposition(monitoring: Monitoring, version: str, figures: Figures = no_figures) -> tuple[str, str]:
    """The text and its content type."""
    from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    build = Gauge("credits_build_info", "Always 1; the label says what runs", ["version"], registry=registry)
    build.labels(version=version).set(1)
    health = monitoring.health()
    up = Gauge("credits_dependency_up", "1 when the dependency answers", ["dependency"], registry=registry)
    for name in health.dependencies:
        up.labels(dependency=name).set(0 if name in health.failing else 1)
    checked = Gauge("credits_dependency_checked_timestamp_seconds", "When they were asked", registry=registry)
    checked.set(health.at_us / 1_000_000)
    started = Gauge("credits_instance_start_time_seconds", "When this instance started", registry=registry)
    started.set(monitoring.started_at_us / 1_000_000)
    cpu = Gauge("credits_instance_cpu_seconds", "CPU that this instance has used", registry=registry)
    cpu.set(time.process_time())
    memory = Gauge("credits_instance_peak_memory_bytes", "Most memory that this instance has used", registry=registry)
    memory.set(_peak_memory())
    gauges: dict[str, Gauge] = {}
    for figure in figures():
        if figure.name not in gauges:
            gauges[figure.name] = Gauge(f"credits_{figure.name}", figure.help, [*figure.labels], registry=registry)
        (gauges[figure.name].labels(**figure.labels) if figure.labels else gauges[figure.name]).set(figure.value)
    return generate_latest(registry).decode(), CONTENT_TYPE_PLAIN_0_0_4


def _peak_memory() -> int:
    """getrusage counts kibibytes on Linux and bytes on macOS."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def broken_invariants(invariants: Iterable[Invariant]) -> Iterator[Figure]:
    """Counts, for each invariant, what breaks it; an invariant whose store did not answer is left out."""
    for invariant in invariants:
        try:
            broken = invariant.broken()
        except Fault:
            continue
        if broken:
            telemetry.log("monitoring").error("invariant_broken", invariant=invariant.name, sample=list(broken)[:10])
        help = "What was found to break a rule that must always hold, in a bounded sample"
        yield Figure("invariant_broken", help, len(broken), {"invariant": invariant.name})
