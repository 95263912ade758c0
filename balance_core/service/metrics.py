"""What Prometheus reads of a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The counts of one service; `counts` tells how many jobs there are in each state, `collector` anything else."""

    def __init__(
        self, counts: Callable[[], Mapping[str, int]] | None = None, *, collector: Collector | None = None
    ) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "balance_requests", "Requests answered.", ["route", "method", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "balance_request_seconds",
            "Time to the end of an answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        if counts is not None:
            self._registry.register(_Jobs(counts))
        if collector is not None:
            self._registry.register(collector)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        known = method if method in {"GET", "POST", "DELETE", "HEAD", "PUT"} else "other"
        self._requests.labels(route, known, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _Jobs(Collector):
    """The queue's counts, read when they are asked for."""

    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily("balance_jobs", "Proof jobs by state.", labels=["state"])
        others = {}
        for name, count in self._counts().items():
            if name in {"receipts", "input_bytes"}:
                others[name] = count
            else:
                family.add_metric([name], count)
        yield family
        yield GaugeMetricFamily("balance_receipts", "Receipts kept.", value=others.get("receipts", 0))
        yield GaugeMetricFamily(
            "balance_input_bytes", "Bytes of sealed inputs kept.", value=others.get("input_bytes", 0)
        )

    def describe(self) -> list[GaugeMetricFamily]:
        return []
