"""What is noted of an attempt, so that it can be explained: screens, and what it came to nothing for."""

import pytest
from msgspec.structs import replace

from common.wire.messages import BotRecorded, BotSaw, BotStreamed
from common.wire.vocabulary import BotState, Feed, FeedStatus, OnWorkerLost, Reason, RefusalCause, WorkerState
from poolmgr.core.decisions import Assign, End, Note, NoteFailed, NoteRecorded, Pause, Why
from poolmgr.core.events import LeaveRequested, PauseRequested
from tests.core.builders import Scenario, bring_to, full, of_type


def saw(sc: Scenario, attempt: int) -> BotSaw:
    bot = sc.bot("a")
    return BotSaw(bot.vm_id, bot.worker_id, "a", attempt, sc.wall, "name_prompt", "a-rule", "continue")


def test_a_screen_is_noted_of_the_attempt_that_counts_only() -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", BotState.JOINING)
    assert sc.step(saw(sc, 1)) == [Note(saw(sc, 1), "room")]
    assert sc.step(saw(sc, 2)) == []


def test_an_attempt_that_is_tried_again_is_noted_with_its_evidence_before_the_next_one() -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", BotState.JOINING)
    decided = sc.ended("a", Reason.BROWSER_CRASHED, detail="it died", evidence="a-1")
    assert decided[0] == NoteFailed("a", 1, Reason.BROWSER_CRASHED, "it died", "a-1")
    sc = full()
    sc.submit("a")
    refused = sc.refused("a", RefusalCause.BROWSER_DEAD)
    assert of_type(refused, NoteFailed) == [NoteFailed("a", 1, Reason.WORKER_LOST, "refused: browser_dead", "")]
    assert Why.REFUSED in [getattr(decision, "why", None) for decision in refused]


def test_an_end_names_its_evidence_also_of_a_bot_that_was_to_leave_anyway() -> None:
    for reason in (Reason.REQUEST_DENIED, Reason.BROWSER_CRASHED):
        sc = full()
        sc.submit("a")
        bring_to(sc, "a", BotState.WAITING_ROOM)
        sc.step(LeaveRequested("a"))
        [end] = of_type(sc.ended("a", reason, evidence="a-1"), End)
        assert (end.reason, end.evidence) == (Reason.USER_REQUESTED, "a-1")


def test_a_bot_that_is_put_back_into_the_lobby_is_told_to_wait_and_stays_admitted() -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", BotState.IN_MEETING)
    told: list[str] = []
    for screen, did in (("lobby_again", ""), ("lobby_again", "dismiss tip"), ("in_meeting", "")):
        event = replace(saw(sc, 1), screen=screen, did=did)
        told += [note.status for note in of_type(sc.step(event), Note)]
        assert sc.bot("a").state is BotState.IN_MEETING
    assert told == ["InWaitingRoom", "", "InMeeting"]


def test_a_recording_is_noted_also_of_a_bot_that_has_ended_and_is_forgotten_here() -> None:
    sc = full()
    told = BotRecorded("vm", "long gone", 2, sc.wall, finished=True, audio_s=60.5, gaps=1)
    assert sc.step(told) == [NoteRecorded(told)]
    fares = BotStreamed("vm", "long gone", 2, sc.wall, Feed.AUDIO, FeedStatus.ENDED)
    assert sc.step(fares) == [NoteRecorded(fares)]


def test_a_recording_is_paused_where_the_bot_is_and_nowhere_else() -> None:
    sc = full()
    sc.submit("a")
    assert sc.step(PauseRequested("none")) == []
    bring_to(sc, "a", BotState.IN_MEETING)
    bot = sc.bot("a")
    for paused in (True, False):
        told = of_type(sc.step(PauseRequested("a", paused)), Pause)
        assert told == [Pause(bot.vm_id, bot.worker_id, "a", 1, paused)]


@pytest.mark.parametrize("is_led_anew", [False, True])
def test_what_was_paused_stays_so_when_the_bot_is_sent_in_again_until_it_is_resumed(is_led_anew: bool) -> None:
    sc = full(min_idle=3)
    sc.submit("a", on_worker_lost=OnWorkerLost.REJOIN)
    for paused in (True, False):
        bring_to(sc, "a", BotState.IN_MEETING)
        sc.step(PauseRequested("a", paused))
        if is_led_anew:
            sc.fail_over()
        [again] = of_type(sc.ended("a", Reason.BROWSER_CRASHED), Assign)
        assert (again.join.attempt, again.join.paused) == (2 if paused else 3, paused)


@pytest.mark.parametrize("is_led_anew", [False, True])
@pytest.mark.parametrize("paused", [True, False])
def test_what_is_asked_for_while_nobody_serves_the_bot_holds_for_its_next_attempt(
    is_led_anew: bool, paused: bool
) -> None:
    sc = full(min_idle=1, max_workers=1)
    sc.submit("a", on_worker_lost=OnWorkerLost.REJOIN)
    bring_to(sc, "a", BotState.IN_MEETING)
    sc.step(PauseRequested("a", not paused))
    served_by = sc.bot("a").worker_id
    sc.ended("a", Reason.BROWSER_CRASHED)
    assert sc.bot("a").state is BotState.QUEUED
    assert sc.step(PauseRequested("a", paused)) == [Pause("", "", "a", 1, paused)]
    sc.gone(served_by)
    if is_led_anew:
        sc.fail_over()
        sc.beat()
    [again] = of_type(sc.warmed(*sc.names(WorkerState.WARMING)), Assign)
    assert (again.join.attempt, again.join.paused) == (2, paused)


@pytest.mark.parametrize("state", [BotState.ASSIGNED, BotState.JOINING, BotState.WAITING_ROOM])
def test_an_agent_that_has_the_bot_is_told_before_it_is_in_its_meeting_again(state: BotState) -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", state)
    assert sc.step(PauseRequested("a")) == [Pause("vm", sc.bot("a").worker_id, "a", 1, paused=True)]
    assert sc.durable.bots["a"].paused
