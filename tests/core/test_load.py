"""What a bot takes of its VM: who is given a recording, who waits for a VM that bears it, who is not kept waiting."""

from typing import Any, Final

import pytest

from common.config.settings import CaptureSettings, PoolSettings
from common.jobs.warnings import LIVE
from common.wire.minutes import CAPTIONS
from common.wire.vocabulary import BotState, GoneCause, Reason
from poolmgr.core.decisions import Assign, End, Warm
from poolmgr.core.load import JobKind, cost, expected_processors, kind_of
from poolmgr.core.settling import held_bots
from tests.core.builders import IDLE, WARMING, Scenario, bring_to, job, of_type, scenario, whose

STORE: Final = CaptureSettings(store="/recordings")
SHARES: Final[dict[str, Any]] = {
    "cpu_limit": 1.0,
    "listens_cpu_share": 0.1,
    "sound_cpu_share": 0.25,
    "picture_cpu_share": 0.5,
}
LISTENS: Final[dict[str, Any]] = {"no_audio": True}
PICTURE: Final[dict[str, Any]] = {"video": True}


def recording(processors: float = 1.0, vms: tuple[str, ...] = ("vm",), **settings: Any) -> Scenario:
    """VMs at min_idle, of so many processors each, in a fleet that records."""
    sc = scenario(records=True, **{**SHARES, "min_idle": 3, "max_workers": 12, **settings})
    sc.fill(*vms, processors=processors)
    sc.log.clear()
    return sc


def beat(sc: Scenario, vm_id: str = "vm", **more: Any) -> None:
    sc.beat(vm_id, processors=sc.vm(vm_id).processors, **more)


def warm_all(sc: Scenario, vm_id: str = "vm") -> None:
    while warming := sc.names(WARMING, vm_id):
        for worker_id in warming:
            sc.warmed(worker_id, vm_id)


@pytest.mark.parametrize(
    ("wishes", "capture", "kind"),
    [
        ({}, STORE, "sound"),
        ({}, CaptureSettings(), "listens"),
        ({"no_audio": True}, STORE, "listens"),
        ({"video": True}, STORE, "picture"),
        ({"video": True, "no_audio": True}, STORE, "picture"),
        ({"video": True}, CaptureSettings(), "listens"),
        ({"video": True}, CaptureSettings(store="/recordings", video="off"), "sound"),
        ({"is_probe": True, "video": True}, STORE, "listens"),
        ({"no_audio": True, "live_audio_url": "wss://h.example/"}, CaptureSettings(), "sound"),
        ({"no_audio": True, "transcript": True, "speech_live": "deepgram_streaming"}, STORE, "sound"),
        ({"live_transcription_url": "https://h.example/", "speech_live": LIVE[0]}, CaptureSettings(), "sound"),
        ({"no_audio": True, "transcript": True, "speech_live": CAPTIONS}, STORE, "listens"),
        ({"no_audio": True, "speech_live": LIVE[0]}, STORE, "listens"),
    ],
)
def test_a_job_is_of_a_kind_by_what_is_recorded_of_it(
    wishes: dict[str, Any], capture: CaptureSettings, kind: str
) -> None:
    assert kind_of(job(**wishes), capture) == kind


def test_what_bots_take_is_what_the_settings_say_of_their_kinds() -> None:
    settings = PoolSettings(**SHARES, sound_memory_mb=30, picture_memory_mb=60)
    assert [cost(kind, settings) for kind in JobKind] == [(0.1, 0), (0.25, 30), (0.5, 60)]
    assert expected_processors({JobKind.LISTENS: 2, JobKind.PICTURE: 1}, settings) == pytest.approx(0.7)


def test_a_bot_joins_with_a_name_that_says_that_it_records_and_its_job_keeps_its_own() -> None:
    sc = recording()
    sc.capture = CaptureSettings(store="/recordings", name_suffix=" (recording)")
    sc.fail_over()
    [heard] = of_type(sc.submit("heard"), Assign)
    [silent] = of_type(sc.submit("silent", **LISTENS), Assign)
    assert (heard.join.bot_name, silent.join.bot_name) == ("Notetaker (recording)", "Notetaker")
    assert sc.bot("heard").job.bot_name == "Notetaker"


def test_a_vm_is_given_as_many_recordings_as_it_bears_and_the_next_waits_for_one_that_ends() -> None:
    sc = recording()
    sc.submit("p1", "p2", **PICTURE)
    warm_all(sc)
    assert of_type(sc.submit("p3", **PICTURE), Assign) == []
    assert sc.count(IDLE) == 3
    assert held_bots(sc.pool.queue, sc.pool.fleet) == 1
    beat(sc)
    assert sc.bot("p3").state is BotState.QUEUED
    sc.ended("p1")
    assert sc.bot("p3").state is BotState.QUEUED, "its browser is still there"
    assert whose(of_type(sc.gone(sc.names(IDLE)[0]), Assign)) == []
    assert whose(of_type(sc.gone(sc.durable.bots["p1"].worker_id), Assign)) == ["p3"]
    assert held_bots(sc.pool.queue, sc.pool.fleet) == 0


def test_of_shares_that_are_decimal_fractions_all_fit_that_do_by_hand() -> None:
    sc = recording(cpu_limit=0.9, sound_cpu_share=0.1, max_workers=12)
    for n in range(10):
        sc.submit(f"s{n}")
        warm_all(sc)
    assert [sc.bot(f"s{n}").state for n in (8, 9)] == [BotState.ASSIGNED, BotState.QUEUED]


def test_where_nothing_is_recorded_only_the_number_of_workers_limits_a_vm() -> None:
    sc = recording(processors=0.2, max_workers=6)
    for n in range(6):
        sc.submit(f"l{n}", **LISTENS)
        warm_all(sc)
    assert len(of_type(sc.log, Assign)) == 6


def test_a_bot_that_listens_does_not_take_what_a_recording_needs() -> None:
    sc = recording()
    sc.submit("p1", "p2", **PICTURE)
    warm_all(sc)
    assert of_type(sc.submit("l1", **LISTENS), Assign) == []
    assert held_bots(sc.pool.queue, sc.pool.fleet) == 1


def test_a_recording_goes_to_the_vm_that_bears_it_and_not_to_the_one_with_fewest_bots() -> None:
    sc = recording(vms=("small",), processors=1.0)
    sc.fill("large", processors=4.0)
    sc.submit("p1", "p2", "p3", "p4", **PICTURE)
    assert sorted(sc.assigned_to(f"p{n}") for n in range(1, 5)) == ["large", "large", "small", "small"]
    assert of_type(sc.submit("p5", **PICTURE), Assign)[0].vm_id == "large"


@pytest.mark.parametrize("processors", [0.0, 0.1])
def test_a_vm_without_a_bot_bears_one_of_any_kind(processors: float) -> None:
    sc = recording(processors=processors)
    assert whose(of_type(sc.submit("p1", **PICTURE), Assign)) == ["p1"]
    warm_all(sc)
    assert bool(of_type(sc.submit("p2", **PICTURE), Assign)) == (processors == 0.0), "of which nothing is known"


def test_who_fits_passes_whom_no_vm_bears_but_nobody_of_a_higher_priority() -> None:
    sc = recording()
    sc.submit("p1", **PICTURE)
    sc.submit("s1")
    warm_all(sc)
    sc.submit("p2", **PICTURE)
    assert sc.bot("p2").state is BotState.QUEUED
    assert whose(of_type(sc.submit("l1", **LISTENS), Assign)) == ["l1"]
    warm_all(sc)
    sc.submit("p3", priority=1, **PICTURE)
    assert of_type(sc.submit("l2", **LISTENS), Assign) == []
    assert whose(of_type(sc.submit("urgent", priority=2, **LISTENS), Assign)) == ["urgent"]


def test_no_browser_is_warmed_for_a_bot_that_its_vm_would_not_bear() -> None:
    sc = recording(min_idle=0)
    sc.submit("p1", "p2", "p3", **PICTURE)
    warm_all(sc)
    assert (sc.count(WARMING), sc.count(IDLE), len(of_type(sc.log, Warm))) == (0, 0, 2)
    assert held_bots(sc.pool.queue, sc.pool.fleet) == 0, "it waits for a worker as well"
    sc.beat("other", processors=1.0)
    assert sc.names(WARMING, "other") != []


def test_memory_that_a_recording_will_take_is_not_given_twice() -> None:
    sc = recording(processors=0.0, sound_memory_mb=30, picture_memory_mb=60)
    beat(sc, free_mb=100)
    sc.submit("l1", **LISTENS)
    warm_all(sc)
    assert whose(of_type(sc.submit("p1", **PICTURE), Assign)) == ["p1"]
    warm_all(sc)
    assert of_type(sc.submit("p2", **PICTURE), Assign) == []
    beat(sc, free_mb=100)
    assert sc.vm().free_mb == 40, "it has not begun to record"
    assert sc.bot("p2").state is BotState.QUEUED
    assert whose(of_type(sc.submit("s1"), Assign)) == ["s1"]
    bring_to(sc, "p1", BotState.IN_MEETING)
    beat(sc, free_mb=95)
    assert sc.bot("p2").state is BotState.ASSIGNED, "what p1 takes is among what is no longer free"
    assert sc.vm().free_mb == 95 - 30 - 60


def test_a_new_leader_knows_what_each_vm_carries() -> None:
    sc = recording()
    sc.submit("p1", "p2", **PICTURE)
    warm_all(sc)
    sc.submit("p3", join_in=1000.0, **PICTURE)
    sc.fail_over()
    assert sc.vm().carried == {JobKind.PICTURE: 2}
    assert sc.vm().processors == 1.0
    assert of_type(sc.submit("p4", **PICTURE), Assign) == []


def test_a_worker_is_put_aside_only_where_its_bot_will_be_borne() -> None:
    sc = recording(reserve_ahead_s=60)
    sc.submit("later", join_in=100, **PICTURE)
    sc.submit("p1", **PICTURE)
    warm_all(sc)
    sc.wait(50)
    assert sc.bot("later").worker_id
    assert of_type(sc.submit("p2", **PICTURE), Assign) == []
    sc.submit("latest", join_in=50, **PICTURE)
    sc.wait(0)
    assert not sc.bot("latest").worker_id
    sc.ended("p1")
    sc.gone(sc.durable.bots["p1"].worker_id, GoneCause.SPENT)
    assert sc.bot("p2").state is BotState.ASSIGNED


def test_a_bot_that_no_vm_bore_in_time_ends_and_says_so() -> None:
    sc = recording(queue_timeout_s=30)
    sc.submit("p1", "p2", **PICTURE)
    warm_all(sc)
    sc.submit("p3", **PICTURE)
    (end,) = of_type(sc.wait(30), End)
    assert (end.bot_id, end.reason) == ("p3", Reason.NO_CAPACITY)
    assert "some stand idle, on VMs that do not bear it beside what is recorded there" in end.detail


def test_a_vm_that_has_become_silent_at_that_moment_is_none_on_which_some_stand_idle() -> None:
    sc = recording(queue_timeout_s=30, heartbeat_timeout_s=29)
    sc.submit("p1", "p2", **PICTURE)
    warm_all(sc)
    sc.submit("p3", **PICTURE)
    (end,) = of_type(sc.wait(30), End)
    assert end.bot_id == "p3"
    assert "stand idle" not in end.detail
