"""The words fit together: no state without an outward word, no reason without a meaning."""

from typing import Final

import pytest

from common.wire.vocabulary import Attribution, BotState, Reason, Status, VmState, outward_status


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_says_what_it_means_to_the_outside(reason: Reason) -> None:
    end = reason.end
    assert end.status in {Status.STOPPED, Status.DENIED, Status.NOT_ALLOWED, Status.ERROR}
    assert end.bot_event.startswith("bot.")
    assert outward_status(BotState.STOPPED, reason) is end.status


def test_every_reason_that_ends_a_bot_has_a_meaning_for_operators() -> None:
    assert [reason for reason in Reason if reason.end.meaning is None] == [Reason.SUPERSEDED]


def test_what_others_did_is_said_to_the_client() -> None:
    silent = {reason for reason in Reason if not reason.end.sentence}
    assert {reason.end.attribution for reason in silent - {Reason.INVALID_REQUEST}} == {Attribution.US}


@pytest.mark.parametrize("state", BotState)
def test_every_state_has_an_outward_status(state: BotState) -> None:
    assert outward_status(state) in Status


def test_a_bot_without_a_worker_is_joining_to_the_outside() -> None:
    assert {outward_status(state) for state in (BotState.QUEUED, BotState.ASSIGNED, BotState.JOINING)} == {
        Status.JOINING
    }


def test_states_rank_in_the_order_of_the_way() -> None:
    assert sorted(BotState, key=lambda state: state.rank) == list(BotState)
    assert [state for state in BotState if state.is_admitted] == [
        BotState.IN_MEETING,
        BotState.LEAVING,
        BotState.STOPPED,
    ]


def test_only_errors_are_worth_another_try() -> None:
    assert {end.status for end in (reason.end for reason in Reason) if end.retry} == {Status.ERROR}


OURS_TO_MEND: Final = {
    Reason.CUT_OFF,
    Reason.BROWSER_CRASHED,
    Reason.BROWSER_HUNG,
    Reason.CAPTURE_FAILED,
    Reason.HEARTBEAT_TIMEOUT,
    Reason.INTERNAL_ERROR,
    Reason.MEMORY_LIMIT,
    Reason.NO_CAPACITY,
    Reason.OVERDUE,
    Reason.REQUIREMENT_UNMET,
    Reason.SHUTDOWN,
    Reason.UI_ELEMENT_NOT_FOUND,
    Reason.UNSUPPORTED_PLATFORM,
    Reason.WORKER_LOST,
}


def test_what_others_did_is_not_laid_at_our_door() -> None:
    errors = {reason for reason in Reason if reason.end.status is Status.ERROR}
    assert {reason for reason in errors if reason.end.attribution is Attribution.US} == OURS_TO_MEND
    stopped = [end for end in (reason.end for reason in Reason) if end.status is not Status.ERROR]
    ours = (Reason.SUPERSEDED.end, Reason.SESSION_LIMIT.end)
    assert {end.attribution for end in stopped if end not in ours} == {
        Attribution.HOST,
        Attribution.USER,
    }


# What the reasons mean to a client of the API: status, bot_event, and whether a fresh browser may help.
TOLD: Final = {
    (
        Status.STOPPED,
        "bot.stopped",
        False,
    ): "user_requested meeting_ended everyone_left no_one_joined silence max_duration only_bots_left superseded "
    "session_limit",
    (Status.STOPPED, "bot.kicked", False): "removed_by_host",
    (Status.NOT_ALLOWED, "bot.notallowed", False): "waiting_room_timeout host_not_started never_admitted",
    (Status.DENIED, "bot.denied", False): "request_denied",
    (Status.ERROR, "bot.failed", False): "sign_in_required org_only registration_required passcode_missing "
    "passcode_wrong meeting_not_found meeting_full meeting_locked captcha platform_blocked recording_permission_denied "
    "no_media ice_failed capture_failed overdue no_capacity missed_start invalid_request internal_error "
    "unsupported_platform requirement_unmet",
    (Status.ERROR, "bot.failed", True): "page_load_failed ui_element_not_found unexpected_redirect connection_lost "
    "browser_crashed browser_hung memory_limit cut_off worker_lost heartbeat_timeout shutdown",
}


def test_a_reason_means_to_the_outside_what_clients_of_the_api_know() -> None:
    meant = {Reason(word): told for told, words in TOLD.items() for word in words.split()}
    assert meant == {reason: (reason.end.status, reason.end.bot_event, reason.end.retry) for reason in Reason}


def test_what_is_kept_is_what_nobody_wished_for() -> None:
    wished = {reason for reason in Reason if not reason.end.evidence}
    stopped = {reason for reason in Reason if reason.end.status is Status.STOPPED}
    assert wished == stopped - {Reason.REMOVED_BY_HOST} | {Reason.INVALID_REQUEST}


def test_idle_workers_are_kept_where_new_bots_may_come_again() -> None:
    assert [state for state in VmState if state.has_target] == [VmState.UP, VmState.RESTING]
