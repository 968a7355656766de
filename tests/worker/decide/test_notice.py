"""What follows from what a cloud says of this VM, look by look."""

import math

from hypothesis import given
from hypothesis import strategies as st

from worker.decide.notice import LOOKS_WITHOUT, Notice, NoticeTracker, Step

LEAD_S = 18.0
GOES = Notice("terminate", 1120.0)


def looked(*looks: tuple[Notice | None, float]) -> list[Step]:
    tracker = NoticeTracker(LEAD_S)
    return [tracker.look(found, now) for found, now in looks]


def test_a_vm_that_stays_is_left_alone() -> None:
    assert looked((None, 1000.0), (None, 1002.0)) == [Step.NOTHING] * 2


def test_work_is_refused_at_once_and_the_bots_leave_when_it_is_time_once() -> None:
    looks = [(GOES, now) for now in (1000.0, 1002.0, 1101.9, 1102.0, 1104.0)]
    assert looked(*looks) == [Step.REFUSE_WORK, Step.NOTHING, Step.NOTHING, Step.LEAVE_ALL, Step.NOTHING]


def test_a_notice_that_comes_late_has_the_bots_leave_at_the_next_look() -> None:
    assert looked((GOES, 1119.0), (GOES, 1121.0)) == [Step.REFUSE_WORK, Step.LEAVE_ALL]


def test_a_recommendation_takes_no_bot_out_of_its_meeting_until_it_becomes_an_order() -> None:
    perhaps = Notice("rebalance")
    assert perhaps.at == math.inf
    assert looked((perhaps, 1000.0), (perhaps, 9e9), (GOES, 1110.0)) == [
        Step.REFUSE_WORK,
        Step.NOTHING,
        Step.LEAVE_ALL,
    ]


def test_a_notice_that_is_withdrawn_is_believed_after_some_looks_and_the_next_one_counts_anew() -> None:
    missing = [(None, 1002.0)] * (LOOKS_WITHOUT - 1)
    assert looked((GOES, 1000.0), *missing, (GOES, 1010.0)) == [Step.REFUSE_WORK, *[Step.NOTHING] * LOOKS_WITHOUT]
    steps = looked((GOES, 1119.0), (GOES, 1119.0), *missing, (None, 1120.0), (GOES, 1119.0), (GOES, 1119.0))
    assert steps[-4:] == [Step.NOTHING, Step.TAKE_WORK, Step.REFUSE_WORK, Step.LEAVE_ALL]


@given(st.lists(st.tuples(st.sampled_from([None, GOES, Notice("rebalance")]), st.floats(1000, 1200))))
def test_whatever_is_found_work_is_refused_and_taken_in_turns_and_nobody_leaves_a_vm_that_stays(
    looks: list[tuple[Notice | None, float]],
) -> None:
    refuses = left = False
    for step in looked(*looks):
        match step:
            case Step.REFUSE_WORK:
                assert not refuses
                refuses, left = True, False
            case Step.LEAVE_ALL:
                assert refuses
                assert not left
                left = True
            case Step.TAKE_WORK:
                assert refuses
                refuses = False
            case Step.NOTHING:
                pass
