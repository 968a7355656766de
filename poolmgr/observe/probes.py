"""Metrics of the leader's own probes. Labels are the names in [probes] and the platforms, so they are few."""

from prometheus_client import CollectorRegistry, Gauge

from common.jobs.record import epoch
from poolmgr.store.leader.probes import ProbeRun

_LABELS = ("probe", "platform")


class ProbeMetrics:
    """Only the leader has these metrics, for links that it has probed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._in_meeting = Gauge(
            "poolmgr_probe_in_meeting", "1 where the latest probe of a link got into its meeting", _LABELS,
            registry=registry,
        )  # fmt: skip
        self._changed = Gauge(
            "poolmgr_probe_page_changed", "1 where the latest probe met another page than those before", _LABELS,
            registry=registry,
        )  # fmt: skip
        self._join = Gauge(
            "poolmgr_probe_join_seconds", "How long the latest probe took from its assignment to being in", _LABELS,
            registry=registry,
        )  # fmt: skip
        self._ended = Gauge(
            "poolmgr_probe_ended_timestamp_seconds", "When the latest probe of a link ended", _LABELS,
            registry=registry,
        )  # fmt: skip
        self._interval = Gauge(
            "poolmgr_probe_interval_seconds", "How often each link is probed; 0: this process probes none",
            registry=registry,
        )  # fmt: skip
        self._platforms: dict[str, str] = {}

    def begin(self, every_s: float) -> None:
        self._interval.set(every_s)

    def concluded(self, name: str, run: ProbeRun) -> None:
        before = self._platforms.get(name)
        if before is not None and before != run.platform:
            self._remove(name, before)  # the link's platform has changed
        self._platforms[name] = run.platform
        labels = (name, run.platform)
        self._in_meeting.labels(*labels).set(run.outcome == "joined")
        self._changed.labels(*labels).set(run.changed)
        self._ended.labels(*labels).set(epoch(run.at))
        if run.join_s is not None:
            self._join.labels(*labels).set(run.join_s)

    def forget(self) -> None:
        """Remove all, since this process leads no longer."""
        self._interval.set(0)
        for name, platform in self._platforms.items():
            self._remove(name, platform)
        self._platforms = {}

    def _remove(self, name: str, platform: str) -> None:
        for gauge in (self._in_meeting, self._changed, self._ended, self._join):
            gauge.remove_by_labels({"probe": name, "platform": platform})
