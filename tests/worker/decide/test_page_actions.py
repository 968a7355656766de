"""What a bot does to its page: pop-ups first, each for a while; pages loaded anew; a passcode once."""

import pytest

from common.wire.vocabulary import BotState, Reason
from tests.worker.decide.stories import (
    CLICK_LEAVE,
    FILL,
    FOR_HOST,
    LEAVE,
    LIMITS,
    LOADING,
    LOBBY,
    PASSCODE,
    PROMPT,
    REQUESTED,
    UNKNOWN,
    Story,
    clicks_of,
    ends_for,
    live,
    meeting,
    put_away,
)
from worker.decide.deadlines import UNSEEN_S
from worker.decide.lifecycle import RETURNS, begin, step
from worker.decide.page_actions import (
    AGAIN_AT_LEAST_S,
    CHAT_TIMES,
    LOSS_SHARE,
    POPUP_GONE_S,
    POPUP_TIMES,
    REPEAT_S,
    SWITCH_TIMES,
)
from worker.decide.state import SessionOptions
from worker.decide.words import Action, Dismiss, Move, Observation, PageAction, Screen, Seen

COVERED = Seen(Screen.NAME_PROMPT, "prompt", popup="cookies")


def deeds(story: Story) -> list[tuple[float, PageAction | Dismiss]]:
    """What was done when."""
    state, done = begin(live([])[0].limits, 0), list[tuple[float, PageAction | Dismiss]]()
    for now, observation in story:
        state, actions = step(state, observation, now)
        done += [(now, action) for action in actions if isinstance(action, PageAction | Dismiss)]
    return done


def test_a_popup_is_put_away_before_anything_else_is_done() -> None:
    away = Dismiss("cookies")
    assert deeds([(1, COVERED), (1.5, COVERED), (1.6, PROMPT)]) == [(1, away), (1.6, FILL)]
    again = [(1, COVERED), (1 + REPEAT_S, COVERED), (1.1 + REPEAT_S, PROMPT)]
    assert deeds(again) == [(1, away), (1 + REPEAT_S, away), (1.1 + REPEAT_S, FILL)]


def test_a_popup_that_cannot_be_put_away_is_in_nobodys_way_for_long() -> None:
    done = deeds([(1, COVERED), (1 + REPEAT_S, COVERED), (1.1 + REPEAT_S, COVERED)])
    assert done[-1] == (1.1 + REPEAT_S, FILL)


def test_a_popup_that_stays_is_passed_over_in_the_end() -> None:
    story = [(turn / 2, Seen(Screen.IN_MEETING, "", 2, popup="notice")) for turn in range(1, 400)]
    done = live(story)[1]
    assert put_away(done) == ["notice"] * POPUP_TIMES
    _, done = live([*story, (200.0, meeting(2)), (200.0 + POPUP_GONE_S, story[0][1])])
    assert len(put_away(done)) == POPUP_TIMES + 1, "one that comes after a while is another one"
    _, done = live([*story, (199.6 + POPUP_GONE_S, story[0][1])])
    assert len(put_away(done)) == POPUP_TIMES + 1, "also when nobody looked meanwhile"


def test_each_popup_counts_for_itself_and_in_every_phase() -> None:
    def over(screen: Screen, *names: str) -> list[Seen]:
        return [Seen(screen, "", popup=name) for name in names]

    shown = [
        *over(Screen.LOADING, "a"),
        *over(Screen.WAITING_ROOM, "a", "b"),
        *over(Screen.IN_MEETING, "a", "b", "b"),
        *over(Screen.UNKNOWN, "b"),
    ]
    assert put_away(live([(3.0 * turn, seen) for turn, seen in enumerate(shown)])[1]) == ["a", "a", "b", *"abbb"]


def test_a_popup_does_not_keep_a_bot_from_leaving() -> None:
    covered = Seen(Screen.IN_MEETING, "", 2, popup="notice")
    assert deeds([(1, meeting(2)), (2, LEAVE), (2.1, covered)]) == [(2, CLICK_LEAVE), (2.1, Dismiss("notice"))]
    assert deeds([(1, covered), (2, LEAVE)])[-1] == (2, CLICK_LEAVE)


def test_other_news_are_told_even_when_a_popup_is_in_the_way() -> None:
    _, done = live([(0, REQUESTED), (1, Seen(Screen.WAITING_ROOM, "lobby", popup="a"))])
    assert [type(action) for action in done] == [Move, Move, Dismiss]


def again(again_s: float, screen: Screen = Screen.WAITING_FOR_HOST) -> Seen:
    return Seen(screen, "3001", again_s=again_s, holds_s=0 if screen is Screen.WAITING_FOR_HOST else 40)


def loaded_at(story: Story) -> list[float]:
    return [now for now, deed in deeds(story) if deed is PageAction.LOAD_AGAIN]


def test_a_page_that_came_to_nothing_known_before_it_asked_for_anything_is_loaded_anew_once() -> None:
    half = LIMITS.load_s * LOSS_SHARE
    lost: list[tuple[float, Observation]] = [
        (0, REQUESTED),
        *((float(now), UNKNOWN) for now in range(1, int(LIMITS.load_s) - 1)),
    ]
    assert loaded_at(lost) == [half]
    assert loaded_at([(now, Seen(Screen.BLANK) if seen is UNKNOWN else seen) for now, seen in lost]) == [half]
    loading = [(now, LOADING if seen is UNKNOWN else seen) for now, seen in lost]
    assert loaded_at(loading) == [], "it may only be slow"
    assert loaded_at([(0, REQUESTED), (1, PROMPT), *lost[2:]]) == [], "it may be a lobby in other words"
    assert ends_for([*lost, (LIMITS.load_s, UNKNOWN)]) is Reason.UI_ELEMENT_NOT_FOUND


def test_a_page_is_loaded_again_as_often_as_its_rule_says() -> None:
    story = [(turn / 2, again(15)) for turn in range(2, 100)]
    assert loaded_at(story) == [16, 31, 46]
    between = [(1, again(15)), (16, again(15)), (16.5, LOADING), (20, UNKNOWN), (25, again(15)), (31, again(15))]
    assert loaded_at(between) == [16, 31], "loading is no other screen"
    assert loaded_at([(1, again(15)), (16, again(15)), (17, LOBBY), (18, again(15)), (32, again(15))]) == [16]


def test_no_rule_loads_a_page_faster_than_it_can_come() -> None:
    story = [(turn / 10, again(0.1)) for turn in range(10, 200)]
    assert loaded_at(story) == [1 + AGAIN_AT_LEAST_S, 1 + 2 * AGAIN_AT_LEAST_S, 1 + 3 * AGAIN_AT_LEAST_S]


def test_a_page_that_came_to_nothing_is_loaded_once_more_after_a_while() -> None:
    lost = [(1, again(15)), (16, again(15)), *((16.0 + turn, UNKNOWN) for turn in range(1, 45))]
    assert loaded_at(lost) == [16, 46]
    assert loaded_at([(1, again(15)), (16, again(15)), (50, LOADING), (79, LOADING)]) == [16]


@pytest.mark.parametrize("shown", [UNKNOWN, LOADING, Seen(Screen.BLANK)])
def test_a_lobby_whose_page_shows_nothing_known_is_loaded_again_and_then_given_up(shown: Seen) -> None:
    story = [(1, LOBBY), *((float(now), shown) for now in range(2, 61))]
    assert loaded_at(story) == [2 + UNSEEN_S]
    assert ends_for(story) is None
    lost = Reason.UI_ELEMENT_NOT_FOUND if shown is UNKNOWN else Reason.PAGE_LOAD_FAILED
    assert ends_for([*story, (62, shown)]) is lost
    assert ends_for([*story, (61, LOBBY), (62, shown), (90, shown)]) is None
    said = Seen(Screen.LOADING, "joining", holds_s=60)
    assert loaded_at([(1, LOBBY), *((float(now), said) for now in range(2, 99))]) == [], "it says that it loads"


def test_a_page_that_refused_the_bot_is_asked_once_more() -> None:
    refused = Seen(Screen.REFUSED, "problem", holds_s=2)
    story: Story = [(1, refused), (3, refused), (3.5, LOADING), (4, refused)]
    assert loaded_at(story) == [3]
    assert ends_for(story) is None
    assert ends_for([*story, (3 + AGAIN_AT_LEAST_S, refused)]) is Reason.PLATFORM_BLOCKED
    let_in: Story = [*story, (5, PROMPT), (6, LOBBY), (7, meeting())]
    assert ends_for(let_in) is None
    assert ends_for([*let_in, (9, refused), (11, refused)]) is Reason.PLATFORM_BLOCKED
    assert loaded_at([*story, (5, PROMPT), (6, refused), (9, refused)]) == [3]
    assert ends_for([*story, (5, PROMPT), (6, refused), (9, refused)]) is Reason.PLATFORM_BLOCKED


def test_a_page_that_left_the_meeting_by_itself_is_entered_again_a_few_times() -> None:
    fill, episode = PageAction.FILL_NAME_AND_JOIN, [(0, PROMPT), (2, PROMPT), (3, LOBBY), (5, LOBBY), (8, meeting())]
    story: list[tuple[float, Observation]] = [
        (1, meeting()),
        *((10.0 + 10 * n + at, seen) for n in range(RETURNS + 1) for at, seen in episode),
    ]
    story = story[: -len(episode) + 2]
    assert [now for now, deed in deeds(story) if deed is fill] == [12, 22, 32]
    last = 10 + 10 * RETURNS
    assert ends_for([*story, (last + LIMITS.unknown_grace_s, PROMPT)]) is Reason.CONNECTION_LOST
    returning = story[:4]
    assert live(returning)[0].screen is Screen.WAITING_ROOM
    assert ends_for([*returning, (14, Seen(Screen.DENIED))]) is Reason.REQUEST_DENIED
    asked: Story = [(1, meeting()), (10, PROMPT), (12, PROMPT), (14, PASSCODE)]
    done = live(asked, options=SessionOptions(has_passcode=True))[1]
    assert clicks_of(done) == [fill, PageAction.ENTER_PASSCODE]
    stuck: Story = [(1, meeting()), (10, PROMPT), (12, PROMPT), (99, PROMPT)]
    assert ends_for(stuck) is None
    assert ends_for([*stuck, (10 + LIMITS.join_s, PROMPT)]) is Reason.CONNECTION_LOST


def test_a_prompt_that_shows_for_a_moment_or_over_the_call_is_nobodys() -> None:
    assert clicks_of(live([(1, meeting()), (10, PROMPT), (11.9, PROMPT), (12, meeting())])[1]) == []
    over = Seen(Screen.NAME_PROMPT, "prompt", behind="under")
    assert clicks_of(live([(1, meeting()), (10, over), (19, over)])[1]) == []


def test_a_page_is_never_loaded_again_once_the_bot_was_inside() -> None:
    assert loaded_at([(1, meeting()), (2, again(15)), (18, again(15)), (19, LEAVE), (24, again(15))]) == []


def test_an_end_screen_holds_while_its_page_is_loaded_again() -> None:
    wall = again(15, Screen.BLOCKED)
    story = [(1, wall), (16, wall), (17, LOADING), (18, wall), (40, wall)]
    assert live(story)[0].ending is None
    assert live([*story, (41, wall)])[0].ending is not None


@pytest.mark.parametrize(
    ("story", "times"),
    [
        ([(1, PASSCODE), (2, PASSCODE), (9, PASSCODE)], 1),
        ([(1, PASSCODE), (2, LOADING), (3, PASSCODE)], 1),
        ([(1, LOBBY), (2, PASSCODE)], 1),
        ([(1, meeting()), (2, PASSCODE), (9, PASSCODE)], 1),
        ([(1, meeting()), (7, PASSCODE), (9, PASSCODE)], 0),
        ([(1, LOBBY), (2, LEAVE), (3, PASSCODE)], 0),
        ([(1, PROMPT), (2, FOR_HOST)], 0),
    ],
)
def test_a_passcode_is_entered_once_and_on_the_way_in(story: Story, times: int) -> None:
    done: list[Action] = live(story, options=SessionOptions(has_passcode=True))[1]
    assert clicks_of(done).count(PageAction.ENTER_PASSCODE) == times
    assert PageAction.ENTER_PASSCODE not in clicks_of(live(story)[1])


def test_the_chat_is_opened_where_that_is_wished_and_not_for_ever() -> None:
    closed = Seen(Screen.IN_MEETING, "meeting", 2, chat_closed=True)
    story: Story = [(1 + n, closed) for n in range(200)]
    done = live(story, options=SessionOptions(reads_chat=True))[1]
    assert clicks_of(done).count(PageAction.OPEN_CHAT) == CHAT_TIMES
    assert clicks_of(live(story)[1]) == []
    assert clicks_of(live([(1, LOBBY), (2, meeting())], options=SessionOptions(reads_chat=True))[1]) == []


def test_a_lobby_without_a_way_out_is_left_by_emptying_its_page() -> None:
    walled = Seen(Screen.WAITING_ROOM, "lobby", no_exit=True)
    assert live([(1, walled), (2, LEAVE)])[0].phase is BotState.STOPPED
    assert clicks_of(live([(1, walled), (2, LEAVE)])[1]) == [], "nobody looks for a button that is not there"
    assert live([(1, LOBBY), (2, LEAVE), (3, LOBBY)])[0].phase is BotState.LEAVING
    assert live([(1, LOBBY), (2, LEAVE), (3, walled)])[0].phase is BotState.STOPPED


def test_a_device_that_is_on_in_the_call_is_switched_off_again_and_again_but_not_for_ever() -> None:
    on = Seen(Screen.IN_MEETING, "meeting", 2, sends=True)
    off = PageAction.SWITCH_OFF
    assert deeds([(1, on), (1.5, on), (1 + REPEAT_S, on)]) == [(1, off), (1 + REPEAT_S, off)]
    assert deeds([(1, on), (2, meeting()), (2.5, on), (3, on)]) == [(1, off), (3, off)]
    stays: Story = [(1 + n * REPEAT_S, on) for n in range(50)]
    assert len(deeds(stays)) == SWITCH_TIMES
    assert len(deeds([*stays, (200, meeting()), (201, on)])) == SWITCH_TIMES + 1
    assert deeds([(1, on), (2, LEAVE)]) == [(1, off), (2, CLICK_LEAVE)]
