"""Metrics of the event loop, for both programs: how late it is, and how often one step held it."""

from collections import deque
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from common.runtime.loop.lag import Beat, HeldLog

_LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_LAG_WINDOW_S: Final = 60.0


class LoopMetrics:
    """Metrics of the event loop. `beat` takes every beat. `steady`: a clock, seconds."""

    def __init__(self, registry: CollectorRegistry, prefix: str, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._seconds = Histogram(
            f"{prefix}_loop_lag_seconds",
            "How late the event loop comes to what is due, looked at twenty times a second",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        worst = Gauge(f"{prefix}_loop_lag_worst_seconds", "The longest of the last minute", registry=registry)
        worst.set_function(self._worst)
        self._held = Counter(
            f"{prefix}_loop_held", "Steps of ours that held the loop for 20 ms of processor time", registry=registry
        )
        self._say = HeldLog()
        self._longest: deque[tuple[float, float]] = deque()  # (when, lag); each lag is longer than all later ones

    def beat(self, beat: Beat) -> None:
        now = self._steady()
        self._seconds.observe(beat.lag_s)
        while self._longest and self._longest[-1][1] <= beat.lag_s:
            self._longest.pop()
        self._longest.append((now, beat.lag_s))
        self._drop_old(now)
        if beat.is_held:
            self._held.inc()
        self._say(beat, now)

    def _worst(self) -> float:
        self._drop_old(self._steady())
        return self._longest[0][1] if self._longest else 0.0

    def _drop_old(self, now: float) -> None:
        while self._longest and self._longest[0][0] < now - _LAG_WINDOW_S:
            self._longest.popleft()
