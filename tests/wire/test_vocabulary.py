"""The words fit together: no state without an outward word, no reason without a meaning."""

import pytest

from wire.vocabulary import ENDS, Attribution, BotState, Reason, Status, outward_status


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_says_what_it_means_to_the_outside(reason: Reason) -> None:
    end = ENDS[reason]
    assert end.status in {Status.STOPPED, Status.DENIED, Status.NOT_ALLOWED, Status.ERROR}
    assert end.bot_event.startswith("bot.")
    assert outward_status(BotState.STOPPED, reason) is end.status


def test_nothing_but_reasons_has_a_meaning() -> None:
    assert set(ENDS) == set(Reason)


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
    assert {end.status for end in ENDS.values() if end.retry} == {Status.ERROR}


def test_what_a_person_did_is_not_our_error() -> None:
    for end in ENDS.values():
        if end.attribution in (Attribution.HOST, Attribution.USER):
            assert end.status is not Status.ERROR
