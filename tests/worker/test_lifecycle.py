"""What a bot does about what it sees: tables for each rule, and properties for every sequence of observations."""

import pytest
from hypothesis import given

from tests.worker.stories import (
    CANCEL,
    CLICK_LEAVE,
    FILL,
    GONE,
    LEAVE,
    LEFT,
    LIMITS,
    LOADING,
    LOBBY,
    PROMPT,
    REQUESTED,
    TIMED_OUT,
    UNKNOWN,
    clicks_of,
    finish_of,
    live,
    meeting,
    observations,
    reason_of,
    states_of,
    stories,
)
from wire.messages import AutomaticLeave
from wire.settings import WorkerSettings
from wire.vocabulary import BotState, Reason
from worker.lifecycle import (
    REPEAT_S,
    VITALS_S,
    CallTimedOut,
    Finish,
    Greet,
    LeaveRequested,
    Limits,
    LoadFailed,
    Move,
    Observation,
    PageAction,
    ReportVitals,
    Screen,
    Seen,
    begin,
    next_deadline,
    step,
    worth_keeping,
)


def test_a_bot_goes_through_the_lobby_into_the_meeting_and_leaves_when_asked() -> None:
    _, done = live(
        [
            (0, REQUESTED),
            (1, LOADING),
            (2, PROMPT),
            (3, LOBBY),
            (9, meeting(2)),
            (50, LEAVE),
            (50.1, meeting(2)),
            (51, LEFT),
        ]
    )
    assert done == [
        Move(BotState.JOINING, Screen.LOADING, ""),
        FILL,
        Move(BotState.WAITING_ROOM, Screen.WAITING_ROOM, "lobby"),
        Move(BotState.IN_MEETING, Screen.IN_MEETING, "meeting"),
        ReportVitals(2, 0),
        Move(BotState.LEAVING, Screen.IN_MEETING, "meeting"),
        CLICK_LEAVE,
        Finish(Reason.USER_REQUESTED),
    ]


def test_a_bot_that_is_let_in_at_once_never_waits() -> None:
    _, done = live([(0, REQUESTED), (1, PROMPT), (2, meeting())])
    assert states_of(done) == [BotState.JOINING, BotState.IN_MEETING]


@pytest.mark.parametrize(
    ("screen", "reason"),
    [
        (Screen.DENIED, Reason.REQUEST_DENIED),
        (Screen.REMOVED, Reason.REMOVED_BY_HOST),
        (Screen.ENDED, Reason.MEETING_ENDED),
        (Screen.LEFT, Reason.MEETING_ENDED),
        (Screen.FULL, Reason.MEETING_FULL),
        (Screen.CONNECTION_LOST, Reason.CONNECTION_LOST),
        (Screen.NOT_FOUND, Reason.PAGE_LOAD_FAILED),
    ],
)
@pytest.mark.parametrize("before", [[], [PROMPT], [PROMPT, LOBBY], [PROMPT, meeting()]])
def test_an_end_screen_ends_the_bot_in_every_phase(screen: Screen, reason: Reason, before: list[Seen]) -> None:
    story = [*enumerate(before, 1), (9, Seen(screen, "the-end"))]
    assert finish_of(story) == Finish(reason, f"the page showed {screen} the-end")


@pytest.mark.parametrize(
    ("story", "reason"),
    [
        ([(60, LOADING)], Reason.PAGE_LOAD_FAILED),
        ([(1, REQUESTED), (61, LOADING)], Reason.PAGE_LOAD_FAILED),
        ([(60, UNKNOWN)], Reason.UI_ELEMENT_NOT_FOUND),
        ([(50, PROMPT), (140, PROMPT)], Reason.UI_ELEMENT_NOT_FOUND),
        ([(50, PROMPT), (60, UNKNOWN), (140, UNKNOWN)], Reason.UI_ELEMENT_NOT_FOUND),
        ([(1, LOBBY), (601, LOBBY), (607, LOBBY)], Reason.WAITING_ROOM_TIMEOUT),
        ([(1, LOBBY), (601, UNKNOWN), (602, LEFT)], Reason.WAITING_ROOM_TIMEOUT),
        ([(1, meeting(1)), (501, meeting(1)), (502, LEFT)], Reason.NO_ONE_JOINED),
        ([(1, meeting(2)), (2, meeting(1)), (302, meeting(1)), (303, LEFT)], Reason.EVERYONE_LEFT),
        ([(1, meeting(2)), (14401, meeting(2)), (14402, LEFT)], Reason.MAX_DURATION),
        ([(1, meeting(2)), (2, UNKNOWN), (32, UNKNOWN), (38, UNKNOWN)], Reason.UI_ELEMENT_NOT_FOUND),
        ([(1, meeting(2)), (2, LOBBY), (32, LOBBY), (38, LOBBY)], Reason.REMOVED_BY_HOST),
        ([(1, PROMPT), (2, TIMED_OUT), (12, TIMED_OUT)], Reason.BROWSER_HUNG),
        ([(1, meeting(2)), (2, TIMED_OUT), (12, TIMED_OUT)], Reason.BROWSER_HUNG),
        ([(0.1, LoadFailed("net::ERR_FAILED"))], Reason.PAGE_LOAD_FAILED),
        ([(1, GONE)], Reason.BROWSER_CRASHED),
        ([(1, meeting(2)), (2, GONE)], Reason.BROWSER_CRASHED),
    ],
)
def test_every_deadline_and_fault_ends_with_its_reason_and_not_a_moment_earlier(
    story: list[tuple[float, Observation]], reason: Reason
) -> None:
    assert reason_of(story) is reason
    assert reason_of(story[:-1]) is None
    *earlier, (last, observation) = story
    if isinstance(observation, Seen | CallTimedOut) and observation is not LEFT:
        assert reason_of([*earlier, (last - 0.01, observation)]) is None


def test_a_timeout_says_how_long_and_what_the_page_showed() -> None:
    assert finish_of([(1, PROMPT), (91, PROMPT)]) == Finish(
        Reason.UI_ELEMENT_NOT_FOUND, "90 s passed, the page showed name_prompt prompt"
    )


@pytest.mark.parametrize("gap", [meeting(None), meeting(0), UNKNOWN, TIMED_OUT])
def test_a_missing_count_never_ends_a_call(gap: Observation) -> None:
    left = [(1.0, meeting(2)), (2.0, meeting(1)), (301.0, gap), (303.0, gap)]
    assert states_of(live(left)[1])[-1] is BotState.IN_MEETING
    assert states_of(live([*left, (304, meeting(2))])[1])[-1] is BotState.IN_MEETING
    assert states_of(live([*left, (304, meeting(1))])[1])[-1] is BotState.LEAVING


def test_others_who_come_back_stop_the_clock_of_being_alone() -> None:
    assert (
        reason_of([(1, meeting(2)), (2, meeting(1)), (200, meeting(3)), (201, meeting(1)), (500, meeting(1))]) is None
    )


def test_alone_from_the_start_counts_from_admission_even_if_the_count_came_late() -> None:
    _, done = live([(1, meeting(None)), (400, meeting(1)), (501, meeting(1))])
    assert states_of(done)[-1] is BotState.LEAVING


def test_a_meeting_hidden_for_a_while_is_no_end() -> None:
    story = [
        (1, meeting()),
        (2, UNKNOWN),
        (31, UNKNOWN),
        (31.5, meeting()),
        (32, UNKNOWN),
        (61, UNKNOWN),
        (62, meeting()),
    ]
    assert states_of(live(story)[1]) == [BotState.IN_MEETING]


def test_an_answer_in_between_is_no_hang() -> None:
    assert reason_of([(1, PROMPT), (5, TIMED_OUT), (10, PROMPT), (15, TIMED_OUT), (24, TIMED_OUT)]) is None


@pytest.mark.parametrize(
    ("story", "clicks"),
    [
        ([(1, PROMPT), (1.05, PROMPT), (2.95, PROMPT)], [FILL]),
        ([(1, PROMPT), (1 + REPEAT_S, PROMPT)], [FILL, FILL]),
        ([(1, PROMPT), (1.5, LOADING), (1.6, PROMPT)], [FILL, FILL]),  # a page that reloads has forgotten the name
        ([(1, PROMPT), (1.5, LOBBY), (9, PROMPT)], [FILL, FILL]),
        ([(1, meeting()), (2, PROMPT), (9, PROMPT)], []),  # once admitted, never a second time
        ([(1, LOBBY), (2, LEAVE), (3, LOBBY), (2 + REPEAT_S, LOBBY)], [CANCEL, CANCEL]),
        ([(1, meeting()), (2, LEAVE), (2 + REPEAT_S, meeting())], [CLICK_LEAVE, CLICK_LEAVE]),
        ([(1, LOBBY), (2, LEAVE), (2.1, meeting())], [CANCEL, CLICK_LEAVE]),  # admitted while it was going
        ([(1, meeting()), (2, UNKNOWN), (3, LEAVE), (4, meeting())], [CLICK_LEAVE]),
    ],
)
def test_a_click_is_repeated_only_when_the_screen_did_not_change(
    story: list[tuple[float, Observation]], clicks: list[PageAction]
) -> None:
    assert clicks_of(live(story)[1]) == clicks


@pytest.mark.parametrize("before", [[], [REQUESTED], [REQUESTED, LOADING], [REQUESTED, PROMPT]])
def test_a_leave_request_before_the_lobby_ends_at_once(before: list[Observation]) -> None:
    _, done = live([*enumerate(before), (9, LEAVE)])
    assert done[-1] == Finish(Reason.USER_REQUESTED)


@pytest.mark.parametrize("inside", [LOBBY, meeting()])
@pytest.mark.parametrize(
    "shown",
    [LEFT, Seen(Screen.REMOVED), Seen(Screen.ENDED), Seen(Screen.CONNECTION_LOST), GONE, LoadFailed("HTTP 500")],
)
def test_the_reason_of_a_leave_request_wins_over_what_happens_then(inside: Seen, shown: Observation) -> None:
    assert reason_of([(1, inside), (2, LEAVE), (3, shown)]) is Reason.USER_REQUESTED


def test_the_first_of_two_leave_requests_counts() -> None:
    story = [(1, meeting()), (2, LeaveRequested(Reason.SHUTDOWN)), (3, LEAVE), (4, LEFT)]
    assert reason_of(story) is Reason.SHUTDOWN


@pytest.mark.parametrize("stuck", [LOBBY, meeting(), UNKNOWN, TIMED_OUT, LEAVE])
def test_a_page_that_does_not_let_go_is_left_anyway(stuck: Observation) -> None:
    story = [(1, meeting()), (2, LEAVE), (7.9, stuck)]
    assert reason_of(story) is None
    assert reason_of([*story, (8, stuck)]) is Reason.USER_REQUESTED


def test_vitals_tell_changes_and_the_first_sound_at_once_and_the_rest_now_and_then() -> None:
    story = [
        (1, meeting(2, 0)),
        (2, meeting(2, 0)),
        (3, meeting(3, 0)),
        (4, meeting(3, 7)),
        (5, meeting(3, 90)),
        (6, meeting(0, 95)),  # being redrawn
        (4 + VITALS_S, meeting(3, 500)),
        (5 + VITALS_S, meeting(3, 400)),  # a connection closed and took its count along
        (4 + 2 * VITALS_S, UNKNOWN),
    ]
    state, done = live(story)
    vitals = [(action.participants, action.audio_packets) for action in done if isinstance(action, ReportVitals)]
    assert vitals == [(2, 0), (3, 0), (3, 7), (3, 500), (3, 500)]
    assert state.audio_packets == 500


def test_a_bot_greets_once_when_it_is_in_and_not_before() -> None:
    state, greeted_at = begin(LIMITS, 0, greets=True), list[float]()
    for now, observation in enumerate([PROMPT, LOBBY, meeting(), UNKNOWN, meeting()]):
        state, actions = step(state, observation, now)
        greeted_at += [now for action in actions if isinstance(action, Greet)]
    assert greeted_at == [2]
    assert not worth_keeping(state).greets


def test_the_next_deadline_is_that_of_the_first_timer_to_run_out() -> None:
    assert next_deadline(begin(LIMITS, 5)) == 65
    assert next_deadline(live([(1, LOBBY), (2, TIMED_OUT)])[0]) == 12
    assert next_deadline(live([(1, LOBBY), (2, LEAVE)])[0]) == 8


def test_limits_come_from_the_job_and_from_the_settings() -> None:
    automatic = AutomaticLeave(
        waiting_room_timeout=1, everyone_left_timeout=2, noone_joined_timeout=3, in_call_recording_timeout=4
    )
    settings = WorkerSettings(load_timeout_s=5, join_timeout_s=6, leave_timeout_s=8, page_timeout_s=10)
    assert Limits.of(automatic, settings) == Limits(
        load_s=5,
        join_s=6,
        waiting_room_s=1,
        noone_joined_s=3,
        everyone_left_s=2,
        max_duration_s=4,
        leave_s=6,
        hung_s=20,
    )


@given(stories())
def test_a_bot_only_moves_forward_and_finishes_once_and_last(story: list[tuple[float, Observation]]) -> None:
    state, done = live(story)
    ranks = [moved.rank for moved in states_of(done)]
    assert ranks == sorted(set(ranks))
    finishes = [place for place, action in enumerate(done) if isinstance(action, Finish)]
    assert finishes in ([], [len(done) - 1])
    assert (state.phase is BotState.STOPPED) == bool(finishes)


@given(stories(), stories(), observations)
def test_a_leave_request_always_ends_within_the_leave_timeout(
    before: list[tuple[float, Observation]], after: list[tuple[float, Observation]], last: Observation
) -> None:
    asked_at = before[-1][0] if before else 0.0
    story = [*before, (asked_at, LEAVE), *((asked_at + now, seen) for now, seen in after if now < LIMITS.leave_s)]
    assert finish_of([*story, (asked_at + LIMITS.leave_s, last)]) is not None


@given(stories())
def test_a_bot_never_acts_on_a_screen_that_it_does_not_see(story: list[tuple[float, Observation]]) -> None:
    state = begin(LIMITS, 0)
    for now, observation in story:
        before, (state, actions) = state, step(state, observation, now)
        for click in clicks_of(actions):
            expected = {FILL: Screen.NAME_PROMPT, CANCEL: Screen.WAITING_ROOM, CLICK_LEAVE: Screen.IN_MEETING}[click]
            assert state.screen is expected
            assert (
                before.acted_at is None
                or before.screen is not expected
                or now - before.acted_at >= REPEAT_S
                or (before.phase is not state.phase)
            )


@given(stories())
def test_no_story_outlives_its_limits(story: list[tuple[float, Observation]]) -> None:
    longest_s = sum(getattr(LIMITS, name) for name in LIMITS.__struct_fields__)
    end = (story[-1][0] if story else 0.0) + longest_s
    closing = [(end + LIMITS.leave_s * turn, meeting(2)) for turn in range(3)]
    assert finish_of([*story, (end - longest_s, meeting(2)), *closing]) is not None
