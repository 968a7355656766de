"""What is counted of screens and VMs, in closed sets whatever operators and agents name; and of recordings."""

from typing import Final

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from common.config.settings import CaptureSettings, PoolSettings
from common.jobs.record import Job
from common.runtime.clock import Clock
from common.wire.messages import BotRecorded, BotSaw, Heartbeat, Join, WorkerReport
from common.wire.vocabulary import BotState, WorkerState
from poolmgr.core.decisions import Assign, Enqueue, Move, Note, NoteRecorded
from poolmgr.core.events import JobAccepted
from poolmgr.core.model import Vm
from poolmgr.core.pool import Pool
from poolmgr.observe.metrics import Metrics, PoolGauges

NOW: Final = 100.0


def count(registry: CollectorRegistry, platform: str, screen: str, rule: str) -> float | None:
    labels = {"platform": platform, "screen": screen, "rule": rule}
    return registry.get_sample_value("poolmgr_screens_seen_total", labels)


def test_screens_are_counted_by_the_rule_that_recognised_them_up_to_a_limit() -> None:
    metrics = Metrics(Clock())
    for number in range(505):
        metrics.decided(Note(BotSaw("vm", "w", "b", 1, 0.0, "denied", f"rule-{number}", ""), "zoom"), NOW, NOW)
    metrics.decided(Note(BotSaw("vm", "w", "b", 1, 0.0, "denied", "rule-0", ""), "zoom"), NOW, NOW)
    metrics.decided(Note(BotSaw("vm", "w", "b", 1, 0.0, "denied", "rule-0", "continue"), "zoom"), NOW, NOW)
    assert count(metrics.registry, "zoom", "denied", "rule-0") == 2
    assert count(metrics.registry, "zoom", "denied", "rule-499") == 1
    assert count(metrics.registry, "zoom", "denied", "rule-500") is None
    assert count(metrics.registry, "zoom", "other", "other") == 5


@pytest.mark.parametrize(("bot_id", "named"), [("b" * 122, True), ("b" * 123, False)])
def test_a_bucket_names_a_bot_that_fell_into_it_where_the_format_has_room(bot_id: str, named: bool) -> None:
    metrics = Metrics(Clock())
    order = Assign("vm1", Join("w1", bot_id, 1, "room", "http://r", "Bot"), born=0.0, warm=True, waited_s=0.0)
    for decision in (Enqueue(bot_id, 0), order, Move(bot_id, 1, BotState.IN_MEETING, 1.0)):
        metrics.decided(decision, NOW, NOW)
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
    told = encode(metrics.registry).decode()
    for name in ("poolmgr_dispatch_seconds", "poolmgr_join_seconds"):
        assert f"{name}_count 1.0" in told
        assert (
            any(line.startswith(f"{name}_bucket") and f'# {{bot_id="{bot_id}"}}' in line for line in told.splitlines())
            is named
        )


def test_recordings_are_counted_when_they_begin_and_by_what_came_of_them() -> None:
    metrics = Metrics(Clock())
    for finished, audio_s, gaps in ((False, 0.0, 0), (True, 60.0, 2), (True, 0.0, 1)):
        event = BotRecorded("vm", "b", 1, 0.0, finished, audio_s, gaps, missing_s=audio_s / 40)
        metrics.decided(NoteRecorded(event), NOW, NOW)
    metrics.decided(NoteRecorded(BotRecorded("vm", "b", 1, 0.0, unmade="no file was made")), NOW, NOW)
    steps = ("begun", "processed", "skipped")
    counts = [metrics.registry.get_sample_value("poolmgr_recordings_total", {"step": step}) for step in steps]
    assert counts == [1, 1, 1]
    assert metrics.registry.get_sample_value("poolmgr_recording_gaps_total") == 3
    assert metrics.registry.get_sample_value("poolmgr_recording_seconds_total") == 60.0
    assert metrics.registry.get_sample_value("poolmgr_recording_missing_seconds_total") == 1.5


def test_a_vm_is_counted_by_the_word_that_the_fleet_shows_and_a_stopping_one_as_draining_too() -> None:
    gauges = PoolGauges(Clock())
    gauges.pool = Pool(PoolSettings(min_idle=2))
    vms = [
        Vm("a", "s", 0.0, stopping=True),
        Vm("b", "s", 0.0, draining=True),
        Vm("c", "s", 0.0, shunned=True),
        Vm("d", "s", 0.0, silent=True),
        Vm("e", "s", 0.0, lost=True),
        Vm("f", "s", 0.0),
    ]
    gauges.pool.fleet.vms.update((vm.vm_id, vm) for vm in vms)
    families = {family.name: family for family in gauges.collect()}
    counted = {sample.labels["state"]: sample.value for sample in families["poolmgr_vms"].samples}
    assert counted == {"up": 1, "resting": 1, "draining": 2, "stopping": 1, "silent": 1, "lost": 1}
    assert [sample.value for sample in families["poolmgr_idle_target"].samples] == [4]


def test_what_bots_are_expected_to_take_is_shown_beside_what_there_is_and_who_waits_for_it() -> None:
    settings = PoolSettings(min_idle=2, picture_cpu_share=0.5, listens_cpu_share=0.1, cpu_limit=1.0)
    pool = Pool(settings, capture=CaptureSettings(store="/recordings"))
    job = Job(platform="room", meeting_url="http://h/r/x", bot_name="N", payload="{}", video=True)
    idle = {f"w{n}": WorkerReport(WorkerState.IDLE) for n in range(4)}
    pool.handle(Heartbeat("vm", "s", 0.0, idle, 0, processors=1.0), 1.0)
    for number in range(3):
        pool.handle(JobAccepted(f"b{number}", job, 1.0), 1.0)
    gauges = PoolGauges(Clock())
    gauges.pool = pool
    shown = {family.name: [sample.value for sample in family.samples] for family in gauges.collect()}
    assert shown["poolmgr_expected_processors"] == [0.0, 0.0, 1.0]
    assert shown["poolmgr_processors"] == [1.0]
    assert shown["poolmgr_queue_held"] == [1.0]
    assert shown["poolmgr_queue_unmet"] == [0.0]
    pool.handle(JobAccepted("mars", msgspec.structs.replace(job, requires={"region": "mars"}), 1.0), 1.0)
    shown = {family.name: [sample.value for sample in family.samples] for family in gauges.collect()}
    assert (shown["poolmgr_queue_held"], shown["poolmgr_queue_unmet"]) == ([1.0], [1.0])


def test_canaries_are_counted_that_serve_and_that_were_taken_out() -> None:
    gauges = PoolGauges(Clock())
    gauges.pool = pool = Pool(PoolSettings())
    for vm_id in ("vm", "canary", "out", "lost"):
        pool.handle(Heartbeat(vm_id, "s", 0.0, canary=vm_id != "vm"), 1.0)
    for vm_id in ("out", "lost"):
        pool.fleet.vms[vm_id].draining, pool.fleet.vms[vm_id].out = True, "its joins failed"
    pool.fleet.vms["lost"].lost = True
    families = {family.name: family for family in gauges.collect()}
    shown = {sample.labels["state"]: sample.value for sample in families["poolmgr_canaries"].samples}
    assert shown == {"serving": 1, "out": 1}


def test_workers_with_a_display_are_counted_by_themselves_and_pictures_that_found_one() -> None:
    settings = PoolSettings(min_idle=2, min_idle_display=1)
    pool = Pool(settings, capture=CaptureSettings(store="/recordings"))
    idle = {f"w{n}": WorkerReport(WorkerState.IDLE, display=n == 0) for n in range(3)}
    pool.handle(Heartbeat("vm", "s", 0.0, idle, 9, display_room=9), 1.0)
    pool.handle(Heartbeat("by tab", "s", 0.0, {}, 0), 1.0)
    metrics = Metrics(Clock())
    metrics.pool_gauges.pool = pool

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    assert (value("poolmgr_idle_target"), value("poolmgr_display_idle_target")) == (5, 1)
    assert (value("poolmgr_workers", state="idle"), value("poolmgr_display_workers", state="idle")) == (3, 1)
    job = Job(platform="room", meeting_url="http://h/r/x", bot_name="N", payload="{}", video=True)
    for number in range(2):
        for decision in pool.handle(JobAccepted(f"b{number}", job, 1.0), 1.0):
            metrics.decided(decision, NOW, NOW)
    pictures = [value("poolmgr_pictures_assigned_total", display=display) for display in ("1", "0")]
    assert pictures == [1, 1]
