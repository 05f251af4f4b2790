"""The server's counters for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """Counters of one server; two servers in a process count separately."""

    def __init__(self, waiting: Callable[[], int], loaded: Callable[[], int]):
        self._registry = CollectorRegistry()
        prefix = "mindone_diffusers"
        self.seconds = Histogram(
            f"{prefix}_seconds", "Seconds of a request by stage.", ["stage"], buckets=_SECONDS, registry=self._registry
        )
        self.images = Counter(f"{prefix}_images", "Images generated.", ["model"], registry=self._registry)
        self.refusals = Counter(f"{prefix}_refusals", "Requests refused.", ["reason"], registry=self._registry)
        self.cancelled = Counter(f"{prefix}_cancelled", "Requests cancelled by clients.", registry=self._registry)
        Gauge(f"{prefix}_queue_length", "Requests waiting.", registry=self._registry).set_function(waiting)
        Gauge(f"{prefix}_models_loaded", "Models in memory.", registry=self._registry).set_function(loaded)

    def text(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self._registry)
