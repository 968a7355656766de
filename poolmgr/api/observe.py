"""Metrics of the API. Labels come from closed sets: route templates, methods, status codes."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ApiMetrics:
    """Registers itself with `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "poolmgr_api_requests",
            "Requests answered, by route template, method and status code",
            ["route", "method", "code"],
            registry=registry,
        )
        self._seconds = Histogram(
            "poolmgr_api_request_seconds",
            "From the request's head to its answer",
            ["route", "method"],
            buckets=_BUCKETS,
            registry=registry,
        )

    def answered(self, route: str, method: str, status: int, took_s: float) -> None:
        """Count an answer. `route`: the template; empty for an unknown address."""
        word = method if method in _METHODS else "other"
        self._requests.labels(route or "none", word, status).inc()
        self._seconds.labels(route or "none", word).observe(took_s)
