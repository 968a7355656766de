"""Stories: what a bot sees in the course of one meeting, written or made up; and what comes of them."""

from collections.abc import Iterable
from typing import Final

from hypothesis import strategies as st

from common.wire.messages import Participant
from common.wire.vocabulary import BotState, Reason
from worker.decide.lifecycle import begin, step
from worker.decide.participants import SeenLine
from worker.decide.state import Limits, SessionOptions, State
from worker.decide.words import (
    Action,
    BrowserGone,
    CallTimedOut,
    Dismiss,
    Finish,
    LeaveRequested,
    LoadFailed,
    Move,
    Observation,
    PageAction,
    PageRequested,
    Screen,
    Seen,
)

LIMITS: Final = Limits(
    load_s=60,
    join_s=90,
    waiting_room_s=600,
    noone_joined_s=500,
    everyone_left_s=300,
    max_duration_s=14400,
    leave_s=6,
    hung_s=10,
    unknown_grace_s=30,
    away_s=30,
    silence_s=100,
    recording_denied_s=60,
    session_s=20000,
)
REQUESTED: Final = PageRequested()
LOADING: Final = Seen(Screen.LOADING)
PROMPT: Final = Seen(Screen.NAME_PROMPT, "prompt")
LAUNCHER: Final = Seen(Screen.LAUNCHER, "launcher")
PASSCODE: Final = Seen(Screen.PASSCODE_PROMPT, "passcode")
FOR_HOST: Final = Seen(Screen.WAITING_FOR_HOST, "no-host")
REFUSED: Final = Seen(Screen.RECORDING_DENIED, "no-recording")
LOBBY: Final = Seen(Screen.WAITING_ROOM, "lobby")
UNKNOWN: Final = Seen(Screen.UNKNOWN)
LEFT: Final = Seen(Screen.LEFT)
TIMED_OUT: Final = CallTimedOut()
MEMORY_GREW: Final = CallTimedOut("it grew")
LEAVE: Final = LeaveRequested(Reason.USER_REQUESTED)
GONE: Final = BrowserGone("exited")

FILL: Final = PageAction.FILL_NAME_AND_JOIN
CANCEL: Final = PageAction.CANCEL_REQUEST
CLICK_LEAVE: Final = PageAction.LEAVE_MEETING

Story = Iterable[tuple[float, Observation]]


def meeting(participants: int | None = 2, audio_packets: int = 0) -> Seen:
    return Seen(Screen.IN_MEETING, "meeting", participants, audio_packets)


def live(story: Story, limits: Limits = LIMITS, options: SessionOptions | None = None) -> tuple[State, list[Action]]:
    """What has happened after all of the story, which begins at time 0."""
    state, done = begin(limits, 0, options), list[Action]()
    for now, observation in story:
        state, actions = step(state, observation, now)
        done += actions
    return state, done


def finish_of(story: Story, limits: Limits = LIMITS, options: SessionOptions | None = None) -> Finish | None:
    _, done = live(story, limits, options)
    return next((action for action in done if isinstance(action, Finish)), None)


def reason_of(story: Story, limits: Limits = LIMITS, options: SessionOptions | None = None) -> Reason | None:
    finish = finish_of(story, limits, options)
    return finish.reason if finish else None


def ends_for(story: Story, limits: Limits = LIMITS, options: SessionOptions | None = None) -> Reason | None:
    """Why it ends, or is about to: the reason is settled when it begins to leave."""
    ending = live(story, limits, options)[0].ending
    return ending.reason if ending else None


def states_of(done: Iterable[Action]) -> list[BotState]:
    return [action.state for action in done if isinstance(action, Move)]


def clicks_of(done: Iterable[Action]) -> list[PageAction]:
    return [action for action in done if isinstance(action, PageAction)]


def put_away(done: Iterable[Action]) -> list[str]:
    return [action.popup for action in done if isinstance(action, Dismiss)]


extras = {
    "participants": st.none() | st.integers(0, 3),
    "audio_packets": st.integers(0, 1000),
    "holds_s": st.sampled_from([0.0, 0.0, 1.0, 30.0]),
    "again_s": st.sampled_from([0.0, 0.1, 15.0]),
    "popup": st.sampled_from(["", "", "cookies", "notice"]),
    "media_packets": st.integers(0, 3),
    "audio_energy": st.none() | st.floats(0, 3),
    "audio_s": st.floats(0, 3),
    "media": st.sampled_from(["", "connecting", "connected", "failed"]),
    "speaker": st.sampled_from(["", "Ann", "Bob"]),
    "behind": st.sampled_from(["", "", "free", "under"]),
    "over": st.booleans(),
    "sends": st.booleans(),
    "asks": st.booleans(),
    "no_exit": st.sampled_from([False, False, False, True]),
    "chat_closed": st.booleans(),
}
screens = st.builds(Seen, screen=st.sampled_from(Screen), rule=st.sampled_from(["", "a-rule"]), **extras)
# Endings are rare, or no story would get anywhere.
calm_screens = st.builds(
    Seen,
    screen=st.sampled_from(
        [
            *(Screen.LOADING, Screen.UNKNOWN, Screen.LAUNCHER, Screen.NAME_PROMPT, Screen.PASSCODE_PROMPT),
            *(Screen.WAITING_ROOM, Screen.WAITING_FOR_HOST, Screen.IN_MEETING, Screen.IN_MEETING),
            Screen.RECORDING_DENIED,
        ]
    ),
    **extras,
    people=st.none() | st.lists(st.builds(Participant, st.sampled_from("abcd")), max_size=4).map(tuple),
    lines=st.lists(st.builds(SeenLine, st.sampled_from("abcd")), max_size=4).map(tuple),
)
faults = st.sampled_from(
    [TIMED_OUT, MEMORY_GREW, REQUESTED, LoadFailed("HTTP 500"), GONE, LEAVE, LeaveRequested(Reason.SHUTDOWN)]
)
observations = calm_screens | calm_screens | st.just(TIMED_OUT) | screens | faults
delays = st.floats(0, 3) | st.floats(0, 400)


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[float, Observation]]:
    now, story = 0.0, list[tuple[float, Observation]]()
    for delay, observation in draw(st.lists(st.tuples(delays, observations), max_size=40)):
        now += delay
        story.append((now, observation))
    return story
