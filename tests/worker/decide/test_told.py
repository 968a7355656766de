"""What a bot tells of its meeting, and says in it: vitals, greeting, that it is recorded, and whether it may be."""

from msgspec.structs import replace

from tests.worker.decide.stories import (
    LEAVE,
    LIMITS,
    LOBBY,
    PROMPT,
    REFUSED,
    TIMED_OUT,
    UNKNOWN,
    Story,
    live,
    meeting,
)
from worker.decide.lifecycle import (
    VITALS_S,
    begin,
    carry_on,
    step,
    worth_keeping,
)
from worker.decide.state import State
from worker.decide.words import (
    Announce,
    Greet,
    Move,
    Observation,
    RecordingBegan,
    ReportPermission,
    ReportVitals,
    Screen,
    Seen,
)


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


def test_vitals_tell_who_speaks_at_most_once_a_second_and_how_loud_it_was_since_the_last() -> None:
    def loud(speaker: str, energy: float | None, audio_s: float) -> Seen:
        return Seen(Screen.IN_MEETING, "", 2, 9, speaker=speaker, audio_energy=energy, audio_s=audio_s)

    story = [
        (1, loud("", 0.0, 0)),
        (1.5, loud("Ann", 0.5, 1)),  # too soon
        (2, loud("Ann", 0.5, 2)),
        (2.5, loud("Bob", 0.5, 2)),
        (3, loud("", 0.5, 2)),  # a pause is no news
        (2 + VITALS_S, loud("", 0.5, 2)),
        (2 + 2 * VITALS_S, loud("Bob", 90.5, 12)),
        (2 + 3 * VITALS_S, loud("Bob", None, 12)),
        (2 + 4 * VITALS_S, loud("Bob", 1.0, 1)),  # counted anew
        (2 + 5 * VITALS_S, loud("Bob", 0.5, 1)),
    ]
    told = [(each.speaker, each.audio_level) for each in live(story)[1] if isinstance(each, ReportVitals)]
    assert told == [("", None), ("Ann", 0.5), ("", 0.0), ("Bob", 1.0), ("Bob", None), ("Bob", None), ("Bob", None)]


def test_a_bot_greets_once_when_it_is_in_and_not_before() -> None:
    state, greeted_at = begin(LIMITS, 0, greets=True), list[float]()
    for now, observation in enumerate([PROMPT, LOBBY, meeting(), UNKNOWN, meeting()]):
        state, actions = step(state, observation, now)
        greeted_at += [now for action in actions if isinstance(action, Greet)]
    assert greeted_at == [2]
    assert not worth_keeping(state).greets


def announced(state: State, *observations: Observation) -> tuple[State, list[int]]:
    """After which of these observations the bot says that it is recorded."""
    at: list[int] = []
    for number, observation in enumerate(observations, start=1):
        state, actions = step(state, observation, float(number))
        at += [number for action in actions if isinstance(action, Announce)]
    return state, at


def test_it_says_once_that_it_is_recorded_as_soon_as_the_page_shows_the_meeting() -> None:
    told = RecordingBegan()
    state, at = announced(begin(LIMITS, 0), PROMPT, told, LOBBY, told, meeting(), told, UNKNOWN, told, meeting())
    assert at == [5]
    assert announced(begin(LIMITS, 0), PROMPT, meeting(), meeting())[1] == []
    assert announced(carry_on(worth_keeping(state)), told, meeting(), told, meeting())[1] == [], "of an earlier agent"


def test_what_an_earlier_agent_was_to_say_is_said_when_it_is_told_again() -> None:
    state, at = announced(begin(LIMITS, 0), PROMPT, meeting(), UNKNOWN, RecordingBegan())
    assert (state.announces, worth_keeping(state).announces, at) == (True, False, [])
    assert announced(carry_on(state), meeting(), meeting())[1] == []
    assert announced(carry_on(state), meeting(), RecordingBegan(), meeting())[1] == [2]


def permissions(state: State, story: Story) -> tuple[State, list[tuple[float, bool, int]]]:
    """When it is reported whether the meeting permits recording: the time, whether, and the number of the report."""
    reported: list[tuple[float, bool, int]] = []
    for now, observation in story:
        state, actions = step(state, observation, now)
        reported += [(now, told.allowed, told.number) for told in actions if isinstance(told, ReportPermission)]
    return state, reported


def test_that_the_meeting_permits_no_recording_is_reported_once_and_so_is_that_it_permits_it_again() -> None:
    fresh = begin(LIMITS, 0)
    story = [(1, REFUSED), (2, REFUSED), (3, UNKNOWN), (4, TIMED_OUT), (5, meeting()), (6, meeting()), (9, REFUSED)]
    state, reported = permissions(fresh, story)
    assert reported == [(1, False, 1), (5, True, 2), (9, False, 3)]
    kept = carry_on(worth_keeping(state))
    assert permissions(kept, [(10, REFUSED), (14, meeting())])[1] == [(14, True, 4)], "of an earlier agent"
    assert permissions(fresh, [(1, PROMPT), (2, LOBBY), (3, meeting()), (4, LEAVE), (5, REFUSED)])[1] == []
    _, actions = step(fresh, REFUSED, 1)
    assert [type(each) for each in actions[:1]] == [Move]
    assert ReportPermission(allowed=False, number=1) in actions


def test_a_page_that_flips_all_day_is_reported_sixteen_times_and_its_last_word_in_the_end() -> None:
    patient = replace(LIMITS, recording_denied_s=1e6, max_duration_s=10**6, session_s=1e6)
    flips = [(float(at), REFUSED if at % 2 else meeting()) for at in range(1, 18 * 3600, 61)]
    state, reported = permissions(begin(patient, 0), flips)
    assert [(allowed, number) for _, allowed, number in reported] == [(n % 2 == 0, n) for n in range(1, 17)]
    assert reported[0][0] == 1
    late = 18 * 3600.0 + 2**17
    assert permissions(state, [(late, meeting())])[1] == []
    assert permissions(state, [(late, REFUSED)])[1] == [(late, False, 17)]
