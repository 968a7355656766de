"""What a bot does about what it sees: tables for each rule, and properties for every sequence of observations."""

from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.wire.vocabulary import BotState, Reason
from tests.worker.decide.stories import (
    CANCEL,
    CLICK_LEAVE,
    FILL,
    FOR_HOST,
    GONE,
    LAUNCHER,
    LEAVE,
    LEFT,
    LIMITS,
    LOADING,
    LOBBY,
    PASSCODE,
    PROMPT,
    REFUSED,
    REQUESTED,
    TIMED_OUT,
    UNKNOWN,
    clicks_of,
    ends_for,
    finish_of,
    live,
    meeting,
    observations,
    put_away,
    reason_of,
    states_of,
    stories,
)
from worker.decide.deadlines import CAPTCHA_S, LOBBIES, NOT_ADMITTED, OVER_S, next_deadline
from worker.decide.lifecycle import (
    LOBBY_DRAWN_S,
    LOBBY_S,
    RETURNS,
    WORDS_CONNECTED_S,
    WORDS_S,
    begin,
    carry_on,
    step,
    worth_keeping,
)
from worker.decide.page_actions import AGAIN_AT_LEAST_S, POPUP_GONE_S, POPUP_TIMES, REPEAT_S
from worker.decide.state import UNKNOWN_GRACE_S, SessionOptions, State
from worker.decide.words import (
    Finish,
    LeaveRequested,
    LoadFailed,
    Move,
    Observation,
    PageAction,
    ReportVitals,
    Screen,
    Seen,
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


def test_a_bot_clicks_through_the_launcher_and_asks_for_a_passcode_on_its_way() -> None:
    _, done = live(
        [(0, REQUESTED), (1, LAUNCHER), (3, PASSCODE), (4, PROMPT), (5, FOR_HOST), (9, LOBBY), (20, meeting())],
        options=SessionOptions(has_passcode=True),
    )
    assert clicks_of(done) == [PageAction.CONTINUE, PageAction.ENTER_PASSCODE, FILL]
    assert [move.screen for move in done if isinstance(move, Move)] == [
        Screen.LOADING,
        Screen.WAITING_FOR_HOST,
        Screen.IN_MEETING,
    ]


ENDS_SHOWN: Final = {
    Screen.DENIED: Reason.REQUEST_DENIED,
    Screen.NO_ANSWER: Reason.WAITING_ROOM_TIMEOUT,
    Screen.REMOVED: Reason.REMOVED_BY_HOST,
    Screen.ENDED: Reason.MEETING_ENDED,
    Screen.LEFT: Reason.MEETING_ENDED,
    Screen.FULL: Reason.MEETING_FULL,
    Screen.LOCKED: Reason.MEETING_LOCKED,
    Screen.CONNECTION_LOST: Reason.CONNECTION_LOST,
    Screen.NOT_FOUND: Reason.MEETING_NOT_FOUND,
    Screen.SIGN_IN: Reason.SIGN_IN_REQUIRED,
    Screen.ORG_ONLY: Reason.ORG_ONLY,
    Screen.REGISTRATION: Reason.REGISTRATION_REQUIRED,
    Screen.PASSCODE_WRONG: Reason.PASSCODE_WRONG,
    Screen.CAPTCHA: Reason.CAPTCHA,
    Screen.BLOCKED: Reason.PLATFORM_BLOCKED,
    Screen.REDIRECTED: Reason.UNEXPECTED_REDIRECT,
    Screen.FAILED: Reason.PAGE_LOAD_FAILED,
}


def holds_at_least_s(screen: Screen, before: list[Seen]) -> float:
    if screen in NOT_ADMITTED and meeting() in before:  # somebody in the meeting may have written that
        return UNKNOWN_GRACE_S
    return CAPTCHA_S if screen is Screen.CAPTCHA else 0.0


@pytest.mark.parametrize(("screen", "reason"), ENDS_SHOWN.items())
@pytest.mark.parametrize("before", [[], [PROMPT], [PROMPT, LOBBY], [PROMPT, meeting()]])
def test_an_end_screen_ends_the_bot_in_every_phase(screen: Screen, reason: Reason, before: list[Seen]) -> None:
    holds_s = holds_at_least_s(screen, before)
    end = Seen(screen, "the-end")
    story = [*enumerate(before, 1), (9, end), (9 + holds_s, end)]
    if screen in (Screen.REDIRECTED, Screen.SIGN_IN) and meeting() in before:  # where platforms lead to after a call
        reason = Reason.MEETING_ENDED
    if reason is Reason.MEETING_ENDED and not before:
        reason = Reason.NEVER_ADMITTED
    assert finish_of(story) == Finish(reason, f"the page showed {screen} the-end")


@pytest.mark.parametrize(
    ("ended_at", "reason"), [(3.5, Reason.NEVER_ADMITTED), (3.6, Reason.MEETING_ENDED)], ids=["watched", "a gap"]
)
@pytest.mark.parametrize("between", [(), ((1.5, UNKNOWN), (1.9, LOBBY))])
def test_a_bot_was_never_let_in_only_if_nobody_had_missed_it(
    ended_at: float, reason: Reason, between: tuple[tuple[float, Seen], ...]
) -> None:
    begun = [(0.1, PROMPT), (1, LOBBY), *between, (2, LOBBY)]
    assert reason_of([*begun, (ended_at, UNKNOWN), (ended_at + 0.1, LEFT)]) is reason
    assert reason_of([*begun, (ended_at, LOBBY), (ended_at + 0.1, LEFT)]) is Reason.NEVER_ADMITTED


def test_an_agent_that_takes_over_does_not_say_that_the_bot_was_never_let_in() -> None:
    before, _ = live([(1, PROMPT), (2, LOBBY)])
    state = carry_on(worth_keeping(before))
    assert ending_of(step(state, LEFT, 3).state) is Reason.MEETING_ENDED
    state = step(state, LOBBY, 3).state
    assert ending_of(step(state, LEFT, 4).state) is Reason.NEVER_ADMITTED


def ending_of(state: State) -> Reason | None:
    return state.ending.reason if state.ending else None


@pytest.mark.parametrize("screen", [Screen.REDIRECTED, Screen.SIGN_IN])
def test_a_page_that_goes_elsewhere_while_the_bot_leaves_for_a_fault_does_not_hide_that_fault(screen: Screen) -> None:
    story = [(1, PROMPT), (2, meeting()), (3, UNKNOWN), (3 + UNKNOWN_GRACE_S, UNKNOWN), (34, Seen(screen, "the-end"))]
    assert reason_of(story) is Reason.UI_ELEMENT_NOT_FOUND


def test_every_other_screen_is_one_on_the_way() -> None:
    assert set(Screen) - set(ENDS_SHOWN) == {
        *(Screen.LOADING, Screen.LAUNCHER, Screen.NAME_PROMPT, Screen.PASSCODE_PROMPT, Screen.WAITING_ROOM),
        *(Screen.WAITING_FOR_HOST, Screen.IN_MEETING, Screen.RECORDING_DENIED, Screen.UNKNOWN, Screen.BLANK),
        *(Screen.LOBBY_AGAIN, Screen.BREAKOUT, Screen.REFUSED),
    }


@pytest.mark.parametrize("before", [[], [PROMPT, LOBBY], [PROMPT, meeting()]])
@pytest.mark.parametrize("screen", [Screen.FULL, Screen.BLOCKED, Screen.CAPTCHA])
def test_an_end_screen_may_have_to_hold_before_it_is_believed(screen: Screen, before: list[Seen]) -> None:
    holds_s = max(20.0, holds_at_least_s(screen, before))
    end, other = Seen(screen, "a", holds_s=20), Seen(screen, "b", holds_s=20)
    begun: list[tuple[float, Observation]] = [*enumerate(before, 1), (9, end)]
    assert reason_of([*begun, (9 + holds_s - 0.1, end)]) is None
    assert reason_of([*begun, (9 + holds_s, other)]) is ENDS_SHOWN[screen], "by whatever rule"
    broken = [*begun, (20, before[-1] if before else PROMPT), (25, end), (9 + holds_s, end)]
    assert reason_of(broken) is None
    assert reason_of([*broken, (25 + holds_s, end)]) is ENDS_SHOWN[screen]


def test_an_end_screen_that_holds_for_longer_than_there_is_time_is_what_the_time_ran_out_on() -> None:
    wall = Seen(Screen.BLOCKED, "wall", holds_s=1000)
    assert reason_of([(1, PROMPT), (2, wall), (91, wall)]) is Reason.PLATFORM_BLOCKED
    assert ends_for([(1, meeting()), (2, wall), (32, wall)]) is Reason.PLATFORM_BLOCKED
    assert ends_for([(1, LOBBY), (2, wall), (601, wall)]) is Reason.WAITING_ROOM_TIMEOUT


def test_who_leaves_believes_what_the_page_shows_at_once() -> None:
    story = [(1, meeting()), (2, LEAVE), (3, Seen(Screen.ENDED, "over", holds_s=60))]
    assert reason_of(story) is Reason.USER_REQUESTED
    assert reason_of([(1, meeting()), (2, LEAVE), (3, PROMPT)]) is Reason.USER_REQUESTED, "nothing to leave any more"
    assert reason_of([(1, LOBBY), (2, PROMPT), (3, LEAVE)]) is Reason.USER_REQUESTED


@pytest.mark.parametrize("shown", [meeting(), LOBBY])
def test_a_screen_that_has_to_hold_moves_nobody_before(shown: Seen) -> None:
    unsure = msgspec.structs.replace(shown, holds_s=1.5)
    assert states_of(live([(0, REQUESTED), (1, unsure), (2, PROMPT), (3, unsure)])[1]) == [BotState.JOINING]
    assert len(states_of(live([(0, REQUESTED), (1, unsure), (2, unsure), (2.5, unsure)])[1])) == 2


def test_a_click_waits_until_its_screen_is_believed() -> None:
    prompt = Seen(Screen.NAME_PROMPT, "prompt", holds_s=1)
    assert clicks_of(live([(0, REQUESTED), (1, prompt), (1.9, prompt)])[1]) == []
    assert clicks_of(live([(0, REQUESTED), (1, prompt), (1.9, prompt), (2, prompt)])[1]) == [FILL]


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


def test_a_lobby_that_flickers_after_admission_is_no_removal() -> None:
    story = [(1, LOBBY), (2, meeting()), (2.5, LOBBY), (12, LOBBY), (12.5, meeting()), (13, LOBBY), (14.9, LOBBY)]
    assert live(story)[0].screen is Screen.WAITING_ROOM


@pytest.mark.parametrize(
    ("lobby", "holds_s"),
    [
        (Seen(Screen.WAITING_ROOM, "lobby"), LOBBY_S),
        (Seen(Screen.WAITING_FOR_HOST, "lobby"), LOBBY_S),
        (Seen(Screen.WAITING_ROOM, "lobby", behind="free"), LOBBY_DRAWN_S),
        (Seen(Screen.WAITING_ROOM, "lobby", behind="free", media="failed"), 0.0),
    ],
)
def test_a_bot_that_was_put_back_into_the_lobby_waits_there_again(lobby: Seen, holds_s: float) -> None:
    call = Seen(Screen.IN_MEETING, "meeting", 2, media="connected")
    if not lobby.media:
        lobby = msgspec.structs.replace(lobby, media="connected")
    story: list[tuple[float, Observation]] = [(1, call), (20, lobby)]
    if holds_s:
        assert live([*story, (19.9 + holds_s, lobby)])[0].screen is not Screen.LOBBY_AGAIN
    story.append((20 + holds_s, lobby))
    state, _ = live(story)
    assert (state.phase, state.screen) == (BotState.IN_MEETING, Screen.LOBBY_AGAIN)
    back = [*story, (65, call), (300, call)]
    assert (ends_for(back), live(back)[0].screen) == (None, Screen.IN_MEETING)
    assert ends_for([*story, (619.9, lobby)]) is None
    assert ends_for([*story, (620, lobby)]) is Reason.WAITING_ROOM_TIMEOUT
    assert clicks_of(live([*story, (60, LEAVE), (61, lobby)])[1]) == [CANCEL]


@pytest.mark.parametrize("screen", NOT_ADMITTED)
@pytest.mark.parametrize("counted", [True, False])
def test_what_a_notice_says_of_others_is_not_said_to_a_bot_that_sees_or_hears_them(
    screen: Screen, *, counted: bool
) -> None:
    def note_people(now: int) -> Seen:
        return Seen(
            screen, "notice", participants=2 if counted else None, audio_packets=0 if counted else now, holds_s=1
        )

    story = [(1, meeting(2, 1)), *((now, note_people(now)) for now in range(9, 300, 5))]
    state, done = live(story)
    assert (state.phase, state.screen) == (BotState.IN_MEETING, Screen.IN_MEETING)
    assert clicks_of(done) == []
    quiet = Seen(screen, "notice", audio_packets=0 if counted else 299, behind="under")
    assert ends_for([*story, (301, quiet), (330.9, quiet)]) is None, "nobody is heard for a while"
    late, _ = live([*story, (301, quiet), (330.9, quiet), (331, quiet)])
    assert late.screen is Screen.LOBBY_AGAIN if screen in LOBBIES else late.ending is not None
    resumed: list[tuple[float, Observation]] = [(301, quiet), (330, note_people(330)), (331, quiet), (360.9, quiet)]
    assert ends_for([*story, *resumed]) is None


@pytest.mark.parametrize("screen", [Screen.REMOVED, Screen.ENDED, Screen.LEFT, Screen.CONNECTION_LOST, Screen.SIGN_IN])
def test_words_of_an_end_over_a_call_that_is_still_there_end_nothing(screen: Screen) -> None:
    words = Seen(screen, "words", behind="free", media="connected")
    story = [(1, meeting()), *((now, words) for now in range(2, 300, 3))]
    assert live(story)[0].screen is Screen.IN_MEETING
    assert ends_for([*story, (301, Seen(screen, "words"))]) is not None, "and now it is gone"
    alone = [(1, meeting(1)), *((now, Seen(screen, "words", 1, behind="free")) for now in range(2, 503, 4))]
    assert ends_for(alone) is Reason.NO_ONE_JOINED, "no other clock stands still meanwhile"


@pytest.mark.parametrize(
    ("media", "holds_s"), [("", WORDS_S), ("connected", WORDS_CONNECTED_S), ("connecting", WORDS_CONNECTED_S)]
)
def test_what_the_page_itself_says_over_a_call_is_believed_after_a_while(media: str, holds_s: float) -> None:
    def over(packets: int = 0) -> Seen:
        return Seen(Screen.REMOVED, "dialog", audio_packets=packets, behind="under", media=media)

    call = Seen(Screen.IN_MEETING, "meeting", 2, media="connected" if media else "")
    story: list[tuple[float, Observation]] = [(1, call), (9, over()), (8.9 + holds_s, over())]
    assert ends_for(story) is None
    assert ends_for([*story, (9 + holds_s, over())]) is Reason.REMOVED_BY_HOST
    heard = [*story, *((now, over(now)) for now in range(19, 300, 4))]
    assert ends_for(heard) is None, "somebody is heard"


@pytest.mark.parametrize("media", ["", "failed"])
def test_what_the_page_says_once_its_connections_are_gone_is_believed_at_once(media: str) -> None:
    call = Seen(Screen.IN_MEETING, "meeting", 2, media="connected")
    assert ends_for([(1, call), (9, Seen(Screen.ENDED, "dialog", behind="under", media=media))]) is Reason.MEETING_ENDED


def test_words_that_come_with_the_first_of_the_call_keep_nobody_out_of_it() -> None:
    words = Seen(Screen.REMOVED, "words", behind="free")
    assert states_of(live([(1, PROMPT), (2, words)])[1])[-1] is BotState.IN_MEETING
    under = msgspec.structs.replace(words, behind="under")
    assert ends_for([(1, PROMPT), (2, under), (2 + WORDS_S, under)]) is Reason.REMOVED_BY_HOST
    passing = live([(1, PROMPT), (2, under), (3, meeting()), (4, under), (5, meeting())])
    assert states_of(passing[1])[-1] is BotState.IN_MEETING, "a dialog may quote somebody"
    connected = msgspec.structs.replace(under, media="connected", audio_packets=5)
    talks = [(1, PROMPT), (2, connected), (3, msgspec.structs.replace(connected, audio_packets=9))]
    assert states_of(live(talks)[1])[-1] is BotState.IN_MEETING, "somebody is still heard"
    heard = [Seen(Screen.WAITING_ROOM, "words", audio_packets=packets, behind="free") for packets in (5, 9)]
    assert states_of(live([(1, PROMPT), (2, heard[0]), (3, heard[1])])[1])[-1] is BotState.IN_MEETING
    assert states_of(live([(1, PROMPT), (2, heard[0]), (3, heard[0])])[1])[-1] is BotState.WAITING_ROOM


def odd(*, over: bool = False, media: str = "", document: float = 0.0, asks: bool = True) -> Seen:
    return Seen(Screen.UNKNOWN, over=over, media=media, document=document, asks=asks)


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (odd(over=True), Reason.MEETING_ENDED),
        (odd(over=True, media="failed"), Reason.CONNECTION_LOST),
        (odd(), Reason.MEETING_ENDED),
        (odd(media="failed"), Reason.CONNECTION_LOST),
        (odd(media="connected"), None),
        (odd(document=7.0), None),
        (odd(asks=False), None),
        (Seen(Screen.BLANK), None),
    ],
)
def test_a_call_that_is_over_ends_soon_if_no_rule_says_why(shown: Seen, reason: Reason | None) -> None:
    call = Seen(Screen.IN_MEETING, "meeting", 2, media="connected")
    story: list[tuple[float, Observation]] = [(1, call), (9, shown), (8.9 + OVER_S, shown)]
    assert ends_for(story) is None
    assert ends_for([*story, (9 + OVER_S, shown)]) is reason
    assert ends_for([*story, (9 + OVER_S, call), (10 + OVER_S, shown), (9.9 + 2 * OVER_S, shown)]) is None


def test_of_a_call_that_is_over_there_is_nothing_to_leave() -> None:
    call, over = Seen(Screen.IN_MEETING, "meeting", 2, media="connected"), odd(over=True)
    story: list[tuple[float, Observation]] = [(1, call), (9, over), (9 + OVER_S, over)]
    assert live(story)[0].phase is BotState.LEAVING
    assert live([*story, (9.1 + OVER_S, over)])[0].phase is BotState.STOPPED
    assert live([*story, (9.1 + OVER_S, call)])[0].phase is BotState.LEAVING


def test_a_page_that_hung_up_and_asks_nothing_is_given_up_as_a_lost_connection() -> None:
    call, silent = Seen(Screen.IN_MEETING, "meeting", 2, media="connected"), odd(asks=False)
    assert ends_for([(1, call), (9, silent), (9 + LIMITS.away_s, silent)]) is Reason.CONNECTION_LOST


def test_a_page_that_never_had_a_connection_and_shows_nothing_known_may_come_back() -> None:
    assert ends_for([(1, meeting()), (9, odd()), (9 + OVER_S, odd())]) is None


def test_a_lobby_that_draws_the_people_of_the_meeting_behind_itself_is_a_lobby() -> None:
    drawn = Seen(Screen.WAITING_ROOM, "lobby", participants=3)
    story = [(1, LOBBY), (2, meeting()), (2.5, drawn), (601, drawn)]
    assert ends_for(story) is None
    assert ends_for([*story, (602.5, drawn)]) is Reason.WAITING_ROOM_TIMEOUT


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


@pytest.mark.parametrize(("shown", "limit_s"), [(UNKNOWN, 30), (LOBBY, 600), (TIMED_OUT, 10)])
def test_what_an_agent_before_this_one_saw_last_did_not_go_on_while_nobody_looked(
    shown: Observation, limit_s: float
) -> None:
    state, _ = live([(1, meeting()), (2, shown)])
    for now, ends in ((5000.0, False), (4999.9 + limit_s, False), (5000 + limit_s, True)):
        state = step(carry_on(state) if now == 5000 else state, shown, now).state
        assert (state.ending is not None) is ends


def test_an_answer_in_between_is_no_hang() -> None:
    assert reason_of([(1, PROMPT), (5, TIMED_OUT), (10, PROMPT), (15, TIMED_OUT), (24, TIMED_OUT)]) is None


@pytest.mark.parametrize(
    ("story", "clicks"),
    [
        ([(1, PROMPT), (1.05, PROMPT), (2.95, PROMPT)], [FILL]),
        ([(1, PROMPT), (1 + REPEAT_S, PROMPT)], [FILL, FILL]),
        ([(1, PROMPT), (1.5, LOADING), (1.6, PROMPT)], [FILL, FILL]),  # a page that reloads has forgotten the name
        ([(1, PROMPT), (1.5, LOBBY), (9, PROMPT)], [FILL, FILL]),
        ([(1, LOBBY), (2, LEAVE), (3, LOBBY), (2 + REPEAT_S, LOBBY)], [CANCEL, CANCEL]),
        ([(1, meeting()), (2, LEAVE), (2 + REPEAT_S, meeting())], [CLICK_LEAVE, CLICK_LEAVE]),
        ([(1, LOBBY), (2, LEAVE), (2.1, meeting())], [CANCEL, CLICK_LEAVE]),  # admitted while it was going
        ([(1, meeting()), (2, UNKNOWN), (3, LEAVE), (4, meeting())], [CLICK_LEAVE]),
        ([(1, LAUNCHER), (2, LAUNCHER), (1 + REPEAT_S, LAUNCHER)], [PageAction.CONTINUE, PageAction.CONTINUE]),
        ([(1, FOR_HOST), (2, LEAVE)], [CANCEL]),
        ([(1, REFUSED), (2, LEAVE)], [CLICK_LEAVE]),
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


@pytest.mark.parametrize(
    ("story", "reason"),
    [
        ([(1, meeting()), (2, UNKNOWN), (32, UNKNOWN), (33, Seen(Screen.REMOVED))], Reason.REMOVED_BY_HOST),
        ([(1, meeting()), (2, UNKNOWN), (32, UNKNOWN), (33, LEFT)], Reason.UI_ELEMENT_NOT_FOUND),
        ([(1, meeting()), (2, UNKNOWN), (32, UNKNOWN), (33, Seen(Screen.ENDED))], Reason.UI_ELEMENT_NOT_FOUND),
        ([(1, LOBBY), (2, LeaveRequested(Reason.SHUTDOWN)), (3, Seen(Screen.DENIED))], Reason.REQUEST_DENIED),
        ([(1, LOBBY), (2, LeaveRequested(Reason.SUPERSEDED)), (3, Seen(Screen.DENIED))], Reason.SUPERSEDED),
        ([(1, LOBBY), (601, LOBBY), (602, Seen(Screen.DENIED))], Reason.WAITING_ROOM_TIMEOUT),
    ],
)
def test_a_verdict_of_the_page_tells_more_than_a_fault_of_ours_unless_all_who_leave_see_it(
    story: list[tuple[float, Observation]], reason: Reason
) -> None:
    assert reason_of(story) is reason


def test_the_first_of_two_leave_requests_counts() -> None:
    story = [(1, meeting()), (2, LeaveRequested(Reason.SHUTDOWN)), (3, LEAVE), (4, LEFT)]
    assert reason_of(story) is Reason.SHUTDOWN


@pytest.mark.parametrize("stuck", [LOBBY, meeting(), UNKNOWN, TIMED_OUT, LEAVE])
def test_a_page_that_does_not_let_go_is_left_anyway(stuck: Observation) -> None:
    story = [(1, meeting()), (2, LEAVE), (7.9, stuck)]
    assert reason_of(story) is None
    assert reason_of([*story, (8, stuck)]) is Reason.USER_REQUESTED


def test_the_next_deadline_is_that_of_the_first_timer_to_run_out() -> None:
    assert next_deadline(begin(LIMITS, 5)) == 65
    assert next_deadline(live([(1, LOBBY), (2, TIMED_OUT)])[0]) == 12
    assert next_deadline(live([(1, LOBBY), (2, LEAVE)])[0]) == 8


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


SEEN_WHEN: Final = {
    PageAction.CONTINUE: {Screen.LAUNCHER},
    FILL: {Screen.NAME_PROMPT},
    PageAction.ENTER_PASSCODE: {Screen.PASSCODE_PROMPT},
    CANCEL: {Screen.WAITING_ROOM, Screen.WAITING_FOR_HOST},
    CLICK_LEAVE: {Screen.IN_MEETING, Screen.RECORDING_DENIED},
}


@given(stories(), st.booleans())
def test_a_bot_never_acts_on_a_screen_that_it_does_not_see(
    story: list[tuple[float, Observation]], has_passcode: bool
) -> None:
    state = begin(LIMITS, 0, SessionOptions(has_passcode=has_passcode))
    for now, observation in story:
        before, (state, actions) = state, step(state, observation, now)
        clicks = clicks_of(actions)
        assert len(clicks) <= 1
        for click in clicks:
            if click is PageAction.LOAD_AGAIN:
                assert not state.phase.is_admitted
                continue
            if click is PageAction.SWITCH_OFF:
                assert state.phase is BotState.IN_MEETING
                continue
            assert state.screen in SEEN_WHEN[click]
            assert (
                before.acted_at is None
                or before.screen is not state.screen
                or now - before.acted_at >= REPEAT_S
                or (before.phase is not state.phase)
            )


@given(stories(), st.booleans())
def test_whatever_comes_back_for_ever_is_done_something_about_for_a_while_only(
    story: list[tuple[float, Observation]], has_passcode: bool
) -> None:
    state, done = live(story, options=SessionOptions(has_passcode=has_passcode))
    end = story[-1][0] if story else 0.0
    assert clicks_of(done).count(PageAction.LOAD_AGAIN) <= end / AGAIN_AT_LEAST_S
    assert clicks_of(done).count(PageAction.ENTER_PASSCODE) <= has_passcode * (1 + RETURNS)
    for popup in set(put_away(done)):
        assert put_away(done).count(popup) <= POPUP_TIMES * (1 + end / POPUP_GONE_S)
    if state.phase is BotState.STOPPED:
        assert isinstance(done[-1], Finish)


@given(stories(), st.lists(observations, max_size=3), st.booleans())
def test_nothing_puts_off_the_end_beyond_the_cap(
    story: list[tuple[float, Observation]], after: list[Observation], has_passcode: bool
) -> None:
    limits = msgspec.structs.replace(LIMITS, session_s=100.0, load_s=1e6, join_s=1e6, waiting_room_s=1e6)
    early = [(now, seen) for now, seen in story if now < 100]
    late = [(100 + limits.leave_s * turn, seen) for turn, seen in enumerate([*after, meeting(2), meeting(2)])]
    assert finish_of([*early, *late], limits, SessionOptions(has_passcode=has_passcode)) is not None


@given(stories())
def test_what_is_written_down_is_enough_to_go_on(story: list[tuple[float, Observation]]) -> None:
    state, _ = live(story)
    kept = msgspec.json.decode(msgspec.json.encode(worth_keeping(state)), type=State)
    assert worth_keeping(kept) == kept
    assert kept.phase is state.phase
    if state.phase is not BotState.STOPPED:
        assert next_deadline(kept) <= state.since + limits_of(state)


def limits_of(state: State) -> float:
    """No phase of a story's bot may take longer."""
    limits = state.limits
    return max(limits.load_s, limits.join_s, limits.waiting_room_s, limits.max_duration_s, limits.leave_s)
