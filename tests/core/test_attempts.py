"""What becomes of an assignment: claimed or taken back, refused, on its way, asked to leave, ended, its worker lost."""

from typing import Final

import pytest

from common.config.settings import PoolSettings
from common.wire.messages import (
    BotMoved,
    BotVitals,
    ChatHeard,
    ChatLine,
    JoinRefused,
    Participant,
    ParticipantsSeen,
    PermissionSeen,
)
from common.wire.vocabulary import BotState, GoneCause, Reason, RefusalCause
from poolmgr.core.decisions import Ask, Assign, End, Enqueue, KeepVm, Move, Note, Retire, Revoke, Say, Unsaid, Why
from poolmgr.core.events import LeaveRequested, Revoked, SayRequested, Tick
from poolmgr.core.model import Bot
from poolmgr.core.pool import Pool
from tests.core.builders import ON_VM, START, WALL, bring_to, full, job, of_type, scenario

RETRIED: Final = [
    Reason.PAGE_LOAD_FAILED,
    Reason.UI_ELEMENT_NOT_FOUND,
    Reason.UNEXPECTED_REDIRECT,
    Reason.CONNECTION_LOST,
    Reason.BROWSER_CRASHED,
    Reason.BROWSER_HUNG,
    Reason.MEMORY_LIMIT,
    Reason.CUT_OFF,
    Reason.WORKER_LOST,
    Reason.HEARTBEAT_TIMEOUT,
    Reason.SHUTDOWN,
]
FINAL: Final = [reason for reason in Reason if reason not in RETRIED]
BEFORE_ADMISSION: Final = [BotState.ASSIGNED, BotState.JOINING, BotState.WAITING_ROOM]


# Claims and refusals


def test_an_assignment_that_nobody_claims_is_taken_back_and_made_anew() -> None:
    sc = full(claim_timeout_s=15)
    sc.submit("a")
    worker_id = sc.bot("a").worker_id
    assert sc.wait(14) == []
    assert sc.wait(1) == [Revoke("a", 1)]
    decisions = sc.answer(Revoke("a", 1))
    assert Enqueue("a", 1, Why.CLAIM_OVERDUE, failed=1) in decisions
    assert Retire("vm", worker_id, sc.now, Why.CLAIM_OVERDUE) in decisions
    sc.wait(2)  # others come first, if there are any
    assert sc.bot("a").attempt == 2
    assert sc.bot("a").worker_id != worker_id
    assert sc.step(Revoked("a", 1, revoked=True)) == []


def test_an_assignment_claimed_just_in_time_goes_on_and_is_looked_at_again() -> None:
    sc = full(claim_timeout_s=15)
    sc.submit("a")
    sc.wait(15)
    assert sc.step(Revoked("a", 1, revoked=False)) == []
    assert sc.wait(14) == []
    assert sc.wait(1) == [Revoke("a", 1)]
    sc.moved("a", BotState.JOINING)
    assert sc.step(Revoked("a", 1, revoked=False)) == []
    assert sc.wait(1000) == []


def test_the_deadline_of_an_attempt_that_came_to_nothing_is_not_that_of_the_next() -> None:
    sc = full(claim_timeout_s=15)
    sc.submit("a")
    sc.wait(10)
    sc.refused("a", RefusalCause.NO_SUCH_WORKER)
    assert sc.bot("a").attempt == 2
    assert sc.wait(5) == []
    assert sc.wait(9) == []
    assert sc.wait(1) == [Revoke("a", 2)]


def test_an_answer_about_a_bot_that_is_gone_changes_nothing() -> None:
    sc = full()
    assert sc.step(Revoked("nobody", 1, revoked=True)) == []


def test_a_revoked_assignment_on_a_vm_that_is_gone_is_made_anew_all_the_same() -> None:
    pool = Pool(PoolSettings(claim_timeout_s=5))
    pool.restore([Bot("a", job(), 1, WALL, BotState.ASSIGNED, 1, "vm", "w")], [], START)
    pool.handle(Tick(WALL), START + 5)
    vm = pool.fleet.vms["vm"]
    pool.fleet.drop_vm(vm)
    assert Enqueue("a", 1, Why.CLAIM_OVERDUE, failed=1) in pool.handle(Revoked("a", 1, revoked=True), START + 5)


def test_unclaimed_assignments_end_after_the_last_attempt() -> None:
    sc = full(min_idle=4, max_workers=9, claim_timeout_s=15, max_attempts=2)
    sc.submit("a")
    for attempt in (1, 2):
        sc.wait(15)
        sc.step(Revoked("a", attempt, revoked=True))
        sc.wait(2)
    assert sc.end_of("a") == End("a", 2, Reason.WORKER_LOST, "no agent claimed the assignment in time")


def test_a_bot_that_was_to_leave_ends_when_its_assignment_is_taken_back() -> None:
    sc = full(claim_timeout_s=15)
    sc.submit("a")
    sc.step(LeaveRequested("a"))
    sc.wait(15)
    sc.step(Revoked("a", 1, revoked=True))
    end = sc.end_of("a")
    assert end
    assert end.reason is Reason.USER_REQUESTED


@pytest.mark.parametrize("cause", [RefusalCause.NO_SUCH_WORKER, RefusalCause.BROWSER_DEAD])
def test_a_refused_bot_gets_another_worker_at_once(cause: RefusalCause) -> None:
    sc = full()
    sc.submit("a")
    refused_by = sc.bot("a").worker_id
    decisions = sc.refused("a", cause)
    assert Enqueue("a", 1, Why.REFUSED, failed=1) in decisions
    assert sc.bot("a").attempt == 2
    assert sc.bot("a").worker_id != refused_by
    assert (refused_by in sc.vm().workers) is (cause is RefusalCause.BROWSER_DEAD)  # its end is reported by itself


@pytest.mark.parametrize("cause", [RefusalCause.STOPPING, RefusalCause.LOW_MEMORY])
def test_a_refusal_that_says_nothing_of_the_bot_is_none_of_its_attempts(cause: RefusalCause) -> None:
    sc = full(max_attempts=1, backoff_s=2)
    sc.submit("a")
    assert Enqueue("a", 1, Why.REFUSED, failed=0) in sc.refused("a", cause)
    sc.fill("other")
    assert (sc.bot("a").attempt, sc.bot("a").vm_id) == (2, "other")


def test_an_agent_that_refuses_because_it_stops_gets_no_more_work() -> None:
    sc = full("vm1", "vm2")
    sc.submit("a")
    first = sc.assigned_to("a")
    kept = KeepVm(first, "s1", draining=False, lost=False, stopping=True)
    assert kept in sc.refused("a", RefusalCause.STOPPING)
    assert sc.assigned_to("a") != first
    assert kept not in sc.beat(first, stopping=True)
    assert sc.vm(first).stopping


def test_that_an_agent_stops_is_kept_once_however_many_it_refuses() -> None:
    sc = full("vm1")
    for bot_id in ("a", "b"):
        sc.submit(bot_id)
    kept = KeepVm("vm1", "s1", draining=False, lost=False, stopping=True)
    assert kept in sc.refused("a", RefusalCause.STOPPING)
    again = sc.refused("b", RefusalCause.STOPPING)
    assert kept not in again
    assert Enqueue("b", 1, Why.REFUSED, failed=0) in again


def test_a_platform_without_an_adapter_is_our_error_and_the_worker_stays() -> None:
    sc = full()
    sc.submit("a")
    worker_id = sc.bot("a").worker_id
    decisions = sc.refused("a", RefusalCause.UNKNOWN_PLATFORM)
    assert End("a", 1, Reason.UNSUPPORTED_PLATFORM, "the agent of vm has no adapter for room") in decisions
    assert worker_id in sc.vm().idle


def test_refusals_end_after_the_last_attempt() -> None:
    sc = full(min_idle=5, max_attempts=3)
    sc.submit("a")
    for _ in range(3):
        sc.refused("a", RefusalCause.BROWSER_DEAD)
    assert sc.end_of("a") == End("a", 3, Reason.WORKER_LOST, "refused: browser_dead")


@pytest.mark.parametrize("cause", RefusalCause)
def test_a_refusal_of_an_attempt_that_no_longer_counts_changes_nothing(cause: RefusalCause) -> None:
    sc = full()
    sc.submit("a")
    assert sc.refused("a", cause, attempt=7) == []
    assert sc.refused("a", cause, worker_id="other") == []
    assert sc.refused("a", cause, vm_id="nowhere") == []
    assert sc.step(JoinRefused("vm", "w", "nobody", 1, sc.wall, cause)) == []


@pytest.mark.parametrize("cause", [RefusalCause.NO_SUCH_WORKER, RefusalCause.UNKNOWN_PLATFORM])
def test_a_refusal_by_a_vm_without_that_worker_counts_all_the_same(cause: RefusalCause) -> None:
    sc = full("vm1", "vm2")
    sc.submit("a")
    other = "vm2" if sc.assigned_to("a") == "vm1" else "vm1"
    decisions = sc.refused("a", cause, vm_id=other)
    assert any(isinstance(decision, End | Enqueue) for decision in decisions)


# The way of a bot


def test_a_bot_moves_forward_and_each_step_is_told_once() -> None:
    sc = full()
    sc.submit("a")
    for state in ON_VM[1:]:
        assert sc.moved("a", state) == [Move("a", 1, state, sc.wall)]
        assert sc.moved("a", state) == []
        for earlier in BotState:
            if earlier.rank < state.rank:
                assert sc.moved("a", earlier) == []
    assert sc.moved("a", BotState.STOPPED) == []


def test_what_the_agent_saw_is_passed_on() -> None:
    sc = full()
    sc.submit("a")
    worker_id = sc.bot("a").worker_id
    event = BotMoved("vm", worker_id, "a", 1, 5.0, BotState.JOINING, "pre_join", "rule", 4.0)
    assert sc.step(event) == [Move("a", 1, BotState.JOINING, 5.0, "pre_join", "rule", 4.0)]


def test_signs_of_life_are_noted_for_the_attempt_that_counts() -> None:
    sc = full()
    sc.submit("a")
    worker_id = sc.bot("a").worker_id
    said = BotVitals("vm", worker_id, "a", 1, sc.wall, 2, 5, 0.25, "Ann")
    assert sc.vitals("a", audio_level=0.25, speaker="Ann") == [Note(said, "room")]
    assert sc.vitals("a", attempt=2) == []


def test_whether_the_meeting_permits_recording_is_noted_for_the_attempt_that_counts() -> None:
    sc = full()
    sc.submit("a")
    for attempt, is_noted in ((1, True), (2, False)):
        event = PermissionSeen("vm", sc.bot("a").worker_id, "a", attempt, 5.0, allowed=False, number=1)
        assert sc.step(event) == ([Note(event, "room")] if is_noted else [])


def test_who_is_there_and_what_is_said_is_noted_for_the_attempt_that_counts() -> None:
    sc = full()
    sc.submit("a")
    ann, line = Participant("1", "Ann"), ChatLine("7", "1", "Ann", "Hello", 5.0)
    for attempt, is_noted in ((1, True), (2, False)):
        who = ("vm", sc.bot("a").worker_id, "a", attempt, 5.0)
        said = (ParticipantsSeen(*who, joined=[ann], left=["2"], anew=True), ChatHeard(*who, chats=[line]))
        decided = [decision for event in said for decision in sc.step(event)]
        assert decided == ([Note(event, "room") for event in said] if is_noted else [])


@pytest.mark.parametrize("state", ON_VM)
def test_what_a_bot_is_to_say_goes_to_its_agent_only_while_it_is_in_its_meeting(state: BotState) -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", state)
    told = Say("vm", sc.bot("a").worker_id, "a", 1, "Hello")
    assert sc.step(SayRequested("a", "Hello")) == [told if state is BotState.IN_MEETING else Unsaid("a", state)]


def test_nobody_says_anything_who_is_not_there() -> None:
    sc = full()
    assert sc.step(SayRequested("nobody", "Hello")) == [Unsaid("nobody", None)]


@pytest.mark.parametrize("state", ON_VM)
@pytest.mark.parametrize("reason", FINAL)
def test_an_end_that_a_fresh_browser_would_not_change_is_final(state: BotState, reason: Reason) -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", state)
    assert sc.ended("a", reason) == [End("a", 1, reason, "", sc.wall, 7, by_force=reason is Reason.OVERDUE)]


@pytest.mark.parametrize("state", ON_VM)
@pytest.mark.parametrize("reason", RETRIED)
def test_a_bot_is_sent_in_again_only_before_anybody_saw_it(state: BotState, reason: Reason) -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", state)
    decisions = sc.ended("a", reason)
    if state in BEFORE_ADMISSION:
        assert Enqueue("a", 1, Why.RETRY, failed=1) in decisions
        assert sc.bot("a").attempt == 2
    else:
        assert decisions == [End("a", 1, reason, "", sc.wall, 7)]


@pytest.mark.parametrize("interrupt", [False, True])
@pytest.mark.parametrize(
    ("reasons", "end"),
    [
        ("browser_crashed browser_hung ui_element_not_found", "ui_element_not_found"),
        ("browser_crashed browser_hung page_load_failed", "page_load_failed"),
        ("unexpected_redirect browser_hung ui_element_not_found", "unexpected_redirect"),
        ("browser_hung page_load_failed cut_off", "page_load_failed"),
        ("connection_lost unexpected_redirect browser_crashed", "unexpected_redirect"),
        ("browser_crashed shutdown cut_off", "browser_crashed"),
        ("shutdown memory_limit cut_off", "memory_limit"),
        ("cut_off cut_off shutdown", "shutdown"),
        ("page_load_failed browser_crashed captcha", "captcha"),
        ("page_load_failed page_load_failed internal_error", "internal_error"),  # final, and so it is the end
    ],
)
def test_a_bot_that_fails_again_and_again_ends_with_what_tells_most(reasons: str, end: str, *, interrupt: bool) -> None:
    sc = full(min_idle=5, max_attempts=3)
    sc.submit("a")
    for attempt, reason in enumerate(reasons.split(), 1):
        assert sc.end_of("a") is None
        if interrupt:
            sc.fail_over()
        sc.ended("a", Reason(reason), detail=f"{reason} {attempt}")
    told = reasons.split().index(end) + 1 if reasons.split().count(end) == 1 else 3
    assert sc.end_of("a") == End("a", 3, Reason(end), f"{end} {told}", sc.wall, 7)


def test_a_bot_that_failed_and_then_finds_no_worker_ends_with_what_it_failed_for() -> None:
    sc = scenario(min_idle=1, max_workers=1, queue_timeout_s=100)
    sc.fill()
    sc.submit("a")
    sc.ended("a", Reason.PAGE_LOAD_FAILED, detail="HTTP 503")
    assert sc.bot("a").state is BotState.QUEUED
    sc.wait(100)
    assert sc.end_of("a") == End("a", 1, Reason.PAGE_LOAD_FAILED, "HTTP 503")
    sc.submit("b")
    sc.wait(100)
    assert sc.end_of("b") == End("b", 0, Reason.NO_CAPACITY, "waited 100 s for a warm worker")


@pytest.mark.parametrize("state", ON_VM)
def test_the_worker_of_a_bot_dying_without_a_word_is_a_lost_worker(state: BotState) -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", state)
    decisions = sc.gone(sc.bot("a").worker_id, GoneCause.CRASHED)
    if state in BEFORE_ADMISSION:
        assert Enqueue("a", 1, Why.WORKER_LOST, failed=1) in decisions
    else:
        assert End("a", 1, Reason.WORKER_LOST, "worker crashed") in decisions
    assert sc.vm().failures == 0  # a browser in use says nothing of the next warm-up


def test_a_spent_worker_says_nothing_of_the_bots_next_attempt() -> None:
    sc = full()
    sc.submit("a")
    first = sc.bot("a").worker_id
    sc.ended("a", Reason.BROWSER_CRASHED)
    sc.gone(first)
    assert (sc.bot("a").state, sc.bot("a").attempt) == (BotState.ASSIGNED, 2)


# Leaving


def test_whoever_was_asked_to_leave_is_asked_again_until_it_has() -> None:
    sc = full(claim_timeout_s=15)
    sc.submit("a")
    bring_to(sc, "a", BotState.IN_MEETING)
    again = [Ask("vm", sc.bot("a").worker_id, "a", 1, Reason.USER_REQUESTED)]
    assert sc.step(LeaveRequested("a")) == again
    assert sc.wait(14) == []
    assert sc.wait(1) == again
    assert sc.step(LeaveRequested("a")) == again
    sc.fail_over()
    sc.step(LeaveRequested("a"))
    assert sc.wait(15) == again, "once, however often it is wished"
    sc.ended("a", Reason.USER_REQUESTED)
    assert sc.wait(100) == []


@pytest.mark.parametrize("state", ON_VM)
def test_a_bot_on_a_vm_is_asked_to_leave_and_ends_by_its_own_report(state: BotState) -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", state)
    worker_id = sc.bot("a").worker_id
    assert sc.step(LeaveRequested("a")) == [Ask("vm", worker_id, "a", 1, Reason.USER_REQUESTED)]
    assert sc.ended("a", Reason.USER_REQUESTED) == [End("a", 1, Reason.USER_REQUESTED, "", sc.wall, 7)]


@pytest.mark.parametrize("state", ON_VM)
def test_a_bot_that_was_to_leave_is_not_sent_in_again(state: BotState) -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", state)
    sc.step(LeaveRequested("a"))
    assert sc.ended("a", Reason.BROWSER_CRASHED) == [End("a", 1, Reason.USER_REQUESTED, "", sc.wall, 7)]


@pytest.mark.parametrize("reason", [Reason.REQUEST_DENIED, Reason.MEETING_ENDED, Reason.CAPTCHA, Reason.CUT_OFF])
def test_what_happened_to_a_bot_while_it_was_told_to_leave_does_not_hide_that_it_was_told(reason: Reason) -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", BotState.WAITING_ROOM)
    sc.step(LeaveRequested("a"))
    sc.ended("a", reason)
    end = sc.end_of("a")
    assert end
    assert end.reason is Reason.USER_REQUESTED


def test_a_bot_that_waits_leaves_at_once_with_the_reason_given() -> None:
    sc = scenario()
    sc.submit("a")
    assert sc.step(LeaveRequested("a", Reason.SHUTDOWN)) == [End("a", 0, Reason.SHUTDOWN)]
    sc.fill()
    assert of_type(sc.log, Assign) == []


def test_nobody_can_leave_who_is_not_there() -> None:
    sc = full()
    assert sc.step(LeaveRequested("nobody")) == []
    sc.submit("a")
    sc.ended("a")
    assert sc.step(LeaveRequested("a")) == []


def test_whoever_still_moves_after_the_end_has_to_leave() -> None:
    sc = full()
    sc.submit("a")
    worker_id = sc.bot("a").worker_id
    sc.ended("a")
    assert sc.moved("a", BotState.IN_MEETING) == [Ask("vm", worker_id, "a", 1, Reason.SUPERSEDED)]
