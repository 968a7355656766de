"""What is counted of screens: a closed set, whatever operators and agents name."""

from prometheus_client import CollectorRegistry

from common.wire.messages import BotSaw
from poolmgr.core.decisions import Note
from poolmgr.loops.clock import Clock
from poolmgr.loops.metrics import Metrics


def count(registry: CollectorRegistry, platform: str, screen: str, rule: str) -> float | None:
    labels = {"platform": platform, "screen": screen, "rule": rule}
    return registry.get_sample_value("poolmgr_screens_seen_total", labels)


def test_screens_are_counted_by_the_rule_that_recognised_them_up_to_a_limit() -> None:
    metrics = Metrics(Clock())
    for number in range(505):
        metrics.decided(Note(BotSaw("vm", "w", "b", 1, 0.0, "denied", f"rule-{number}", ""), "zoom"))
    metrics.decided(Note(BotSaw("vm", "w", "b", 1, 0.0, "denied", "rule-0", ""), "zoom"))
    metrics.decided(Note(BotSaw("vm", "w", "b", 1, 0.0, "denied", "rule-0", "continue"), "zoom"))
    assert count(metrics.registry, "zoom", "denied", "rule-0") == 2
    assert count(metrics.registry, "zoom", "denied", "rule-499") == 1
    assert count(metrics.registry, "zoom", "denied", "rule-500") is None
    assert count(metrics.registry, "zoom", "other", "other") == 5
