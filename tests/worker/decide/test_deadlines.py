"""Every deadline of a bot: what runs out when, with which reason, and what does not let it."""

from typing import Final

import msgspec
import pytest

from common.config.settings import WorkerSettings
from common.wire.messages import AutomaticLeave, BotNames, Join
from common.wire.vocabulary import BotState, Reason
from tests.worker.decide.stories import (
    FOR_HOST,
    GONE,
    LAUNCHER,
    LEAVE,
    LEFT,
    LIMITS,
    LOADING,
    LOBBY,
    MEMORY_GREW,
    PASSCODE,
    PROMPT,
    REFUSED,
    REQUESTED,
    TIMED_OUT,
    UNKNOWN,
    Story,
    ends_for,
    finish_of,
    live,
    meeting,
    reason_of,
)
from worker.decide.deadlines import COUNT_GRACE_S, next_deadline
from worker.decide.lifecycle import begin
from worker.decide.participants import Names
from worker.decide.state import Limits, SessionOptions, SessionSettings
from worker.decide.words import CallTimedOut, Finish, LoadFailed, Observation, Screen, Seen

BREAKOUT = Seen(Screen.BREAKOUT)
CUT_OFF = Seen(Screen.CONNECTION_LOST, "reconnecting", holds_s=60)


@pytest.mark.parametrize(
    ("story", "reason"),
    [
        ([(60, LOADING)], Reason.PAGE_LOAD_FAILED),
        ([(1, REQUESTED), (61, LOADING)], Reason.PAGE_LOAD_FAILED),
        ([(60, UNKNOWN)], Reason.UI_ELEMENT_NOT_FOUND),
        ([(60, Seen(Screen.BLANK))], Reason.PAGE_LOAD_FAILED),
        ([(50, PROMPT), (140, PROMPT)], Reason.UI_ELEMENT_NOT_FOUND),
        ([(50, PROMPT), (60, UNKNOWN), (140, UNKNOWN)], Reason.UI_ELEMENT_NOT_FOUND),
        ([(50, LAUNCHER), (60, PROMPT), (140, PROMPT)], Reason.UI_ELEMENT_NOT_FOUND),
        ([(50, LAUNCHER), (60, LOADING), (140, LOADING)], Reason.PAGE_LOAD_FAILED),
        ([(1, PASSCODE), (3, PASSCODE)], Reason.PASSCODE_MISSING),
        ([(1, LOBBY), (2, PASSCODE), (4, PASSCODE), (4.1, PASSCODE)], Reason.PASSCODE_MISSING),
        ([(1, LOBBY), (601, LOBBY), (607, LOBBY)], Reason.WAITING_ROOM_TIMEOUT),
        ([(1, LOBBY), (601, UNKNOWN), (602, LEFT)], Reason.WAITING_ROOM_TIMEOUT),
        ([(1, FOR_HOST), (601, FOR_HOST), (607, FOR_HOST)], Reason.HOST_NOT_STARTED),
        ([(1, FOR_HOST), (601, UNKNOWN), (607, FOR_HOST)], Reason.HOST_NOT_STARTED),
        ([(1, FOR_HOST), (2, LOBBY), (3, FOR_HOST), (601, FOR_HOST), (607, LEFT)], Reason.WAITING_ROOM_TIMEOUT),
        ([(1, meeting(1)), (501, meeting(1)), (502, LEFT)], Reason.NO_ONE_JOINED),
        ([(1, meeting(2)), (2, meeting(1)), (302, meeting(1)), (303, LEFT)], Reason.EVERYONE_LEFT),
        ([(1, meeting(2)), (14401, meeting(2)), (14402, LEFT)], Reason.MAX_DURATION),
        ([(1, meeting(2)), (2, UNKNOWN), (32, UNKNOWN), (38, UNKNOWN)], Reason.UI_ELEMENT_NOT_FOUND),
        ([(1, meeting(2)), (2, Seen(Screen.BLANK)), (32, Seen(Screen.BLANK)), (38, UNKNOWN)], Reason.CONNECTION_LOST),
        ([(1, meeting(2)), (2, BREAKOUT), (99, BREAKOUT), (182, BREAKOUT), (188, UNKNOWN)], Reason.CONNECTION_LOST),
        ([(1, meeting(2)), (2, PASSCODE), (32, PASSCODE), (38, UNKNOWN)], Reason.CONNECTION_LOST),
        ([(1, meeting(2)), (2, PROMPT), (92, PROMPT), (98, UNKNOWN)], Reason.CONNECTION_LOST),
        (
            [(1, meeting(2)), (2, Seen(Screen.LOADING, "connecting", holds_s=60)), (32, LOADING), (38, LEFT)],
            Reason.UI_ELEMENT_NOT_FOUND,
        ),
        ([(1, meeting(2)), (2, CUT_OFF), (42, CUT_OFF), (62, CUT_OFF)], Reason.CONNECTION_LOST),
        (
            [(1, meeting(2)), (2, CUT_OFF), (42, CUT_OFF), (43, meeting(2)), (14401, meeting(2)), (14408, LEFT)],
            Reason.MAX_DURATION,
        ),
        ([(1, meeting(2)), (6, LOBBY), (606, LOBBY), (612, LOBBY)], Reason.WAITING_ROOM_TIMEOUT),
        ([(1, meeting(2)), (6, FOR_HOST), (606, FOR_HOST), (612, LOBBY)], Reason.WAITING_ROOM_TIMEOUT),
        ([(1, meeting(2)), (5.9, LOBBY), (605.9, LOBBY), (612, LOBBY)], Reason.WAITING_ROOM_TIMEOUT),
        (
            [(1, meeting(2)), (2, LOBBY), (500, meeting(2)), (600, LOBBY), (1200, LOBBY), (1206, LOBBY)],
            Reason.WAITING_ROOM_TIMEOUT,
        ),
        ([(1, REFUSED), (61, REFUSED), (67, REFUSED)], Reason.RECORDING_PERMISSION_DENIED),
        ([(1, meeting()), (5, REFUSED), (9, UNKNOWN), (65, REFUSED), (71, LEFT)], Reason.RECORDING_PERMISSION_DENIED),
        ([(1, PROMPT), (2, TIMED_OUT), (12, TIMED_OUT)], Reason.BROWSER_HUNG),
        ([(1, meeting(2)), (2, TIMED_OUT), (12, TIMED_OUT)], Reason.BROWSER_HUNG),
        ([(1, meeting(2)), (2, MEMORY_GREW), (12, TIMED_OUT)], Reason.BROWSER_HUNG),
        ([(1, meeting(2)), (2, TIMED_OUT), (12, MEMORY_GREW)], Reason.MEMORY_LIMIT),
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
    if isinstance(observation, Seen | CallTimedOut) and observation is not LEFT and not _leaves(earlier):
        assert reason_of([*earlier, (last - 0.01, observation)]) is None


def _leaves(story: Story) -> bool:
    return live(story)[0].phase is BotState.LEAVING


HAS_PASSCODE: Final = SessionOptions(has_passcode=True)


@pytest.mark.parametrize(
    ("story", "reason"),
    [
        ([(1, PASSCODE), (10.9, PASSCODE)], None),
        ([(1, PASSCODE), (11, PASSCODE)], Reason.PASSCODE_WRONG),
        ([(1, PASSCODE), (2, LOADING), (11, LOADING)], None),
        ([(1, PASSCODE), (2, LOADING), (30, PASSCODE), (31.9, PASSCODE)], None),  # a flicker is no refusal
        ([(1, PASSCODE), (2, LOADING), (30, PASSCODE), (32, PASSCODE)], Reason.PASSCODE_WRONG),
        ([(1, PASSCODE), (2, Seen(Screen.PASSCODE_WRONG))], Reason.PASSCODE_WRONG),
        ([(1, PASSCODE), (2, LOBBY), (300, LOBBY)], None),
        ([(1, LOBBY), (2, PASSCODE), (12, PASSCODE), (12.1, UNKNOWN), (18, UNKNOWN)], Reason.PASSCODE_WRONG),
    ],
)
def test_a_passcode_that_changed_nothing_was_wrong(
    story: list[tuple[float, Observation]], reason: Reason | None
) -> None:
    assert reason_of(story, options=HAS_PASSCODE) is reason


@pytest.mark.parametrize(
    "story",
    [
        [(1, PASSCODE), (2.9, PASSCODE), (3.1, PROMPT)],
        [(1, PASSCODE), (2, PROMPT), (3, PASSCODE), (4.9, PASSCODE)],
        [(1, REFUSED), (60, meeting()), (62, REFUSED), (121, REFUSED)],  # allowed meanwhile
        [(1, FOR_HOST), (300, LOBBY), (599, LOBBY)],
    ],
)
def test_what_is_over_before_its_time_ends_nothing(story: list[tuple[float, Observation]]) -> None:
    assert ends_for(story) is None


def test_a_timeout_says_how_long_and_what_the_page_showed() -> None:
    assert finish_of([(1, PROMPT), (91, PROMPT)]) == Finish(
        Reason.UI_ELEMENT_NOT_FOUND, "90 s passed, the page showed name_prompt prompt"
    )


# Other participants


@pytest.mark.parametrize("gap", [meeting(None), meeting(0), UNKNOWN, TIMED_OUT])
def test_a_missing_count_never_ends_a_call(gap: Observation) -> None:
    left = [(1.0, meeting(2)), (2.0, meeting(1)), (301.0, gap), (303.0, gap)]
    assert ends_for(left) is None
    assert ends_for([*left, (304, meeting(2))]) is None
    assert ends_for([*left, (304, meeting(1))]) is Reason.EVERYONE_LEFT


def test_of_a_time_without_a_count_nobody_knows_who_was_there() -> None:
    alone, uncounted = [(1.0, meeting(2)), (2.0, meeting(1))], [(float(now), meeting(None)) for now in range(3, 500)]
    assert ends_for([*alone, *uncounted, (500, meeting(1)), (799.9, meeting(1))]) is None
    assert ends_for([*alone, *uncounted, (500, meeting(1)), (800, meeting(1))]) is Reason.EVERYONE_LEFT


def test_others_who_come_back_stop_the_clock_of_being_alone() -> None:
    assert ends_for([(1, meeting(2)), (2, meeting(1)), (200, meeting(3)), (201, meeting(1)), (500, meeting(1))]) is None


@pytest.mark.parametrize(("first", "reason"), [(5, Reason.EVERYONE_LEFT), (None, Reason.NO_ONE_JOINED)])
def test_a_count_that_drops_for_a_moment_is_nobody_leaving_however_short_the_timeout(
    first: int | None, reason: Reason
) -> None:
    limits = msgspec.structs.replace(LIMITS, everyone_left_s=1, noone_joined_s=1)
    dropped = [(1.0, meeting(first)), (9.0, meeting(1)), (9.0 + COUNT_GRACE_S - 0.1, meeting(1))]
    assert ends_for([*dropped, (11.0, meeting(5))], limits) is None
    assert ends_for([*dropped, (11.0, meeting(1))], limits) is reason


def test_alone_from_the_start_counts_from_admission_even_if_the_count_came_late() -> None:
    assert ends_for([(1, meeting(None)), (400, meeting(1)), (501, meeting(1))]) is Reason.NO_ONE_JOINED


# Above all of them


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (LOADING, Reason.UI_ELEMENT_NOT_FOUND),
        (PROMPT, Reason.UI_ELEMENT_NOT_FOUND),
        (FOR_HOST, Reason.HOST_NOT_STARTED),
        (Seen(Screen.WAITING_FOR_HOST, "3001", again_s=15, popup="cookies"), Reason.HOST_NOT_STARTED),
        (LOBBY, Reason.WAITING_ROOM_TIMEOUT),
        (meeting(2), Reason.SESSION_LIMIT),
        (REFUSED, Reason.SESSION_LIMIT),
        (Seen(Screen.ENDED, "over", holds_s=1e9), Reason.NEVER_ADMITTED),
    ],
)
def test_the_cap_ends_whatever_else_would_wait(shown: Seen, reason: Reason) -> None:
    patient = Limits(*[1e6] * 6, leave_s=6, hung_s=1e6, unknown_grace_s=1e6, recording_denied_s=1e6, session_s=500)
    assert ends_for([(turn, shown) for turn in range(1, 500)], patient) is None
    assert ends_for([(turn, shown) for turn in range(1, 501)], patient) is reason


def test_a_probe_leaves_soon_after_it_has_come_in() -> None:
    probe = SessionOptions(is_probe=True)
    assert ends_for([(1, LOBBY), (500, meeting()), (504.9, meeting())], options=probe) is None
    story = [(1, LOBBY), (500, meeting()), (505, meeting()), (506, LEFT)]
    assert finish_of(story, options=probe) == Finish(Reason.USER_REQUESTED, "probe")
    assert finish_of(story) == Finish(Reason.MEETING_ENDED, "the page showed left")


def test_the_next_deadline_is_that_of_the_first_timer_to_run_out() -> None:
    assert next_deadline(begin(LIMITS, 5)) == 65
    assert next_deadline(live([(1, LOBBY), (2, TIMED_OUT)])[0]) == 12
    assert next_deadline(live([(1, LOBBY), (2, LEAVE)])[0]) == 8
    assert next_deadline(live([(1, LOBBY)], msgspec.structs.replace(LIMITS, session_s=30))[0]) == 30


# Where they come from


def test_limits_come_from_the_job_and_from_the_settings() -> None:
    bots = BotNames(["bot"])
    automatic = AutomaticLeave(
        waiting_room_timeout=1,
        everyone_left_timeout=2,
        noone_joined_timeout=3,
        in_call_recording_timeout=4,
        voice_inactivity_timeout=5,
        recording_permission_denied_timeout=6,
        bot_names=bots,
    )
    settings = WorkerSettings(
        load_timeout_s=15, join_timeout_s=16, leave_timeout_s=8, page_timeout_s=10, session_limit_s=17
    )
    assert Limits.of(automatic, SessionSettings.of(settings)) == Limits(
        load_s=15,
        join_s=16,
        waiting_room_s=1,
        noone_joined_s=3,
        everyone_left_s=2,
        max_duration_s=4,
        leave_s=6,
        hung_s=20,
        silence_s=5,
        recording_denied_s=6,
        session_s=17,
        only_bots=bots,
    )


def test_the_cap_is_above_every_timeout_that_the_api_takes() -> None:
    longest_in_lobby_s, longest_in_meeting_s = 1800, 18000
    settings = WorkerSettings()
    on_the_way_s = settings.load_timeout_s + settings.join_timeout_s
    assert settings.session_limit_s > on_the_way_s + longest_in_lobby_s + longest_in_meeting_s


def test_the_errand_is_what_the_order_says() -> None:
    order = Join("w", "b", 3, "zoom", "https://zoom.example/j/1", "Notetaker")
    assert SessionOptions.of(order) == SessionOptions(Names("Notetaker", 2))
    automatic = AutomaticLeave(bot_names=BotNames(["Bot", "AI"]))
    order = msgspec.structs.replace(order, automatic_leave=automatic, passcode="1234", is_probe=True)
    assert SessionOptions.of(order) == SessionOptions(
        Names("Notetaker", 2, ("Bot", "AI")), has_passcode=True, is_probe=True
    )
    anywhere = msgspec.structs.replace(
        order, automatic_leave=AutomaticLeave(bot_names=BotNames(["Bot"], whole_words=False))
    )
    assert SessionOptions.of(anywhere).names == Names("Notetaker", 2, ("Bot",), whole_words=False)


def test_a_silence_of_ten_minutes_ends_a_call_by_default() -> None:
    assert (
        Limits.of(AutomaticLeave(), SessionSettings.of(WorkerSettings())).silence_s
        == Limits(1, 1, 1, 1, 1, 1, 1, 1).silence_s
        == 600
    )
