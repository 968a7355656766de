"""A bot's way to a worker: accepted once, in line for so long, assigned."""

from msgspec.structs import replace

from common.wire.messages import Feeds, Join
from common.wire.vocabulary import BotState, Reason, RefusalCause
from poolmgr.core.decisions import Accept, Assign, End, Warm, Why
from poolmgr.core.events import JobAccepted, LeaveRequested
from tests.core.builders import BUSY, START, WALL, WARMING, bring_to, full, job, of_type, scenario, whose


def test_a_job_goes_to_an_idle_worker_at_once_and_its_place_is_filled() -> None:
    sc = full()
    sc.now += 5
    accept, assign, warm = sc.submit("b1")
    assert accept == Accept("b1", job(), BotState.QUEUED, WALL + 5, seq=1)
    join = Join("vm-1-2", "b1", 1, "room", "https://rooms.example/r/demo", "Notetaker", job().automatic_leave)
    assert assign == Assign("vm", join, born=START, warm=True, waited_s=0.0)
    assert warm == Warm("vm", "vm-1-3", START + 5, Why.BELOW_MIN_IDLE)


def test_what_lets_the_bot_in_and_what_it_is_for_goes_with_it() -> None:
    sc = full()
    feeds = Feeds(
        "wss://a.example/", "https://b.example/", '{"tag":1}', transcript=True, by="x_streaming", language="de"
    )
    asked = replace(
        job(),
        live_audio_url=feeds.audio_url,
        live_transcription_url=feeds.transcription_url,
        transcript=True,
        speech_live="x_streaming",
        language="de",
        custom_attributes=feeds.attributes,
        passcode="1234",
        is_probe=True,
        bot_message="Hello",
        no_audio=True,
        video=True,
    )
    (assign,) = of_type(sc.step(JobAccepted("b1", asked, sc.wall)), Assign)
    join = assign.join
    assert (join.passcode, join.is_probe, join.message) == ("1234", True, "Hello")
    assert (join.no_audio, join.video) == (True, True)
    assert join.feeds == feeds


def test_the_same_job_twice_is_one_bot() -> None:
    sc = full()
    sc.submit("b1")
    assert sc.submit("b1") == []


def test_a_join_time_in_the_past_means_now_and_jumps_no_queue() -> None:
    sc = scenario(min_idle=0)
    sc.submit("a")
    (accept,) = sc.submit("late", join_in=-3600)
    assert isinstance(accept, Accept)
    assert accept.state is BotState.QUEUED
    sc.beat()
    order: list[str] = []
    for worker_id in sc.names(WARMING):
        order += whose(of_type(sc.warmed(worker_id), Assign))
    assert order == ["a", "late"]


def test_a_job_that_waits_too_long_ends_without_capacity() -> None:
    sc = scenario(queue_timeout_s=100)
    sc.submit("b1")
    assert sc.wait(99) == []
    assert sc.wait(1) == [End("b1", 0, Reason.NO_CAPACITY, "waited 100 s for a warm worker")]
    assert sc.wait(1000) == []


def test_a_job_that_was_served_meanwhile_does_not_end_by_its_old_deadline() -> None:
    sc = full(queue_timeout_s=100)
    sc.submit("b1")
    bring_to(sc, "b1", BotState.JOINING)
    sc.wait(60)
    sc.ended("b1", Reason.BROWSER_CRASHED)  # and back in the queue, and out of it again
    sc.wait(60)
    assert sc.bot("b1").attempt == 2
    assert sc.end_of("b1") is None


def test_a_job_that_does_not_wait_has_a_worker_at_once_or_ends_for_want_of_one() -> None:
    sc = full(min_idle=1, max_workers=1)
    assert of_type(sc.submit("first", queue_timeout_s=0), Assign) != []
    sc.submit("second", queue_timeout_s=0)
    assert of_type(sc.wait(0), End) == [End("second", 0, Reason.NO_CAPACITY, "waited 0 s for a warm worker")]


def test_an_end_says_whose_quota_the_bot_counted_in() -> None:
    sc = full()
    sc.step(JobAccepted("a", replace(job(), owner="app"), sc.wall))
    assert [end.owner for end in of_type(sc.step(LeaveRequested("a")) + sc.ended("a"), End)] == ["app"]


def test_a_job_says_how_long_it_waits_for_its_first_worker_and_the_settings_how_long_for_others() -> None:
    sc = full(min_idle=1, max_workers=1, queue_timeout_s=100)
    sc.submit("first", queue_timeout_s=20)
    sc.ended("first", Reason.BROWSER_CRASHED)
    sc.gone(sc.names(BUSY)[0])
    sc.submit("impatient", queue_timeout_s=20)
    sc.submit("patient", queue_timeout_s=1e6)
    assert [end.bot_id for end in of_type(sc.wait(20), End)] == ["impatient"]
    assert {end.bot_id for end in of_type(sc.wait(80), End)} == {"first", "patient"}


def test_a_refused_bot_waits_no_longer_than_any_other() -> None:
    sc = full(min_idle=1, max_workers=1, queue_timeout_s=100, backoff_s=60, backoff_max_s=60)
    sc.submit("a")
    sc.wait(10)
    sc.refused("a", RefusalCause.LOW_MEMORY)
    sc.wait(60)
    assert sc.bot("a").attempt == 2
    sc.refused("a", RefusalCause.LOW_MEMORY)
    assert sc.wait(29) == []
    assert sc.wait(1) == [End("a", 2, Reason.NO_CAPACITY, "waited 100 s for a warm worker")]


def test_a_refused_bot_has_the_first_place_in_the_queue() -> None:
    sc = full(min_idle=1, max_workers=1)
    sc.submit("a", "b")
    sc.refused("a", RefusalCause.NO_SUCH_WORKER)
    assert whose(of_type(sc.warmed(sc.names(WARMING)[0]), Assign)) == ["a"]
