"""Metrics of the VMs that the leader asks for and gives back."""

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge

from poolmgr.scaling.steps import Action, View

_COUNTED = ("target", "hold", "floor", "ceiling", "asked", "serving", "coming", "draining")


class ScalingMetrics:
    """Only the leader has these gauges, and only with a provider."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._vms = Gauge(
            "poolmgr_scaling_vms",
            "VMs at the last look: target (wanted now), hold (with the cool-down), floor, ceiling, asked (the provider"
            " is to have), serving, coming, draining",
            ["count"],
            registry=registry,
        )
        self._actions = Counter(
            "poolmgr_scaling_actions", "What the scaling did: grow, drain, undrain, giveback, release, admit",
            ["action"], registry=registry,
        )  # fmt: skip
        self._faults = Counter(
            "poolmgr_scaling_faults", "Questions that the provider did not answer, or refused", registry=registry
        )
        self._reached = Gauge(
            "poolmgr_scaling_provider_reached", "1 when the provider answered the last question, 0 when it did not",
            registry=registry,
        )  # fmt: skip

    def looked(self, view: View) -> None:
        for name, number in msgspec.structs.asdict(view).items():
            if name in _COUNTED:
                self._vms.labels(name).set(number)
        self._reached.set(1)

    def did(self, action: Action) -> None:
        self._actions.labels(type(action).__name__.lower()).inc()

    def failed(self) -> None:
        self._faults.inc()
        self._reached.set(0)

    def forget(self) -> None:
        """Remove the gauges, since this process leads no longer."""
        self._vms.clear()
        self._reached.set(0)
