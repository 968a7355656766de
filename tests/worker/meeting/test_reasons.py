"""Every reason there is: what a bot sees that ends with it, or who else says it."""

from typing import Final

import msgspec
import pytest

from common.wire.messages import BotNames, Participant
from common.wire.vocabulary import Reason
from tests.worker.decide.stories import (
    FOR_HOST,
    GONE,
    LEAVE,
    LIMITS,
    LOADING,
    LOBBY,
    PASSCODE,
    PROMPT,
    REFUSED,
    TIMED_OUT,
    UNKNOWN,
    ends_for,
    meeting,
)
from worker.decide.participants import Names
from worker.decide.state import SessionOptions
from worker.decide.words import BrowserGone, LeaveRequested, Observation, Screen, Seen

OTTER: Final = Seen(Screen.IN_MEETING, "", 2, people=(Participant("1", "Otter"),), people_key="1")
LIMITED: Final = msgspec.structs.replace(LIMITS, only_bots=BotNames(["otter"], activate_after=60, timeout=5))


def inside(media: str = "connected", packets: int = 0, speaker: str = "") -> Seen:
    seen = Seen(Screen.IN_MEETING, "", 2, packets, media=media, media_packets=packets, audio_energy=0.0, audio_s=0.0)
    return msgspec.structs.replace(seen, speaker=speaker)


def for_s(seconds: int, *seen: Seen) -> list[tuple[float, Observation]]:
    """In turn."""
    return [(float(now), seen[now % len(seen)]) for now in range(1, seconds + 1)]


def shown(screen: Screen) -> list[tuple[float, Observation]]:
    return [(1.0, PROMPT), (2.0, Seen(screen)), (32.0, Seen(screen))]


SEEN: Final[dict[Reason, list[tuple[float, Observation]]]] = {
    Reason.USER_REQUESTED: [(1, meeting()), (2, LEAVE)],
    Reason.MEETING_ENDED: [(1, meeting()), *shown(Screen.ENDED)[1:]],
    Reason.EVERYONE_LEFT: [(1, meeting(2)), (2, meeting(1)), (302, meeting(1))],
    Reason.NO_ONE_JOINED: [(1, meeting(1)), (501, meeting(1))],
    Reason.SILENCE: for_s(110, inside(packets=1)),
    Reason.NEVER_ADMITTED: shown(Screen.ENDED),
    Reason.MAX_DURATION: [(1, meeting(2)), (14401, meeting(2))],
    Reason.ONLY_BOTS_LEFT: [(1, OTTER), (66, OTTER)],
    Reason.REMOVED_BY_HOST: [(1, meeting()), *shown(Screen.REMOVED)[1:]],
    Reason.REQUEST_DENIED: shown(Screen.DENIED),
    Reason.WAITING_ROOM_TIMEOUT: [(1, LOBBY), (601, LOBBY)],
    Reason.HOST_NOT_STARTED: [(1, FOR_HOST), (601, FOR_HOST)],
    Reason.SIGN_IN_REQUIRED: shown(Screen.SIGN_IN),
    Reason.ORG_ONLY: shown(Screen.ORG_ONLY),
    Reason.REGISTRATION_REQUIRED: shown(Screen.REGISTRATION),
    Reason.PASSCODE_MISSING: [(1, PASSCODE), (3, PASSCODE)],
    Reason.PASSCODE_WRONG: shown(Screen.PASSCODE_WRONG),
    Reason.MEETING_NOT_FOUND: shown(Screen.NOT_FOUND),
    Reason.MEETING_FULL: shown(Screen.FULL),
    Reason.MEETING_LOCKED: shown(Screen.LOCKED),
    Reason.CAPTCHA: shown(Screen.CAPTCHA),
    Reason.PLATFORM_BLOCKED: shown(Screen.BLOCKED),
    Reason.RECORDING_PERMISSION_DENIED: [(1, REFUSED), (61, REFUSED)],
    Reason.PAGE_LOAD_FAILED: [(60, LOADING)],
    Reason.UI_ELEMENT_NOT_FOUND: [(60, UNKNOWN)],
    Reason.UNEXPECTED_REDIRECT: shown(Screen.REDIRECTED),
    Reason.CONNECTION_LOST: shown(Screen.CONNECTION_LOST),
    Reason.NO_MEDIA: for_s(610, inside(speaker="Ann"), inside(speaker="Bob")),
    Reason.ICE_FAILED: for_s(40, inside("connecting")),
    Reason.BROWSER_CRASHED: [(1, PROMPT), (2, GONE)],
    Reason.BROWSER_HUNG: [(1, PROMPT), (2, TIMED_OUT), (12, TIMED_OUT)],
}
TOLD: Final[dict[Reason, Observation]] = {  # what watches over a session says so
    Reason.MEMORY_LIMIT: BrowserGone("too much", Reason.MEMORY_LIMIT),
    Reason.CUT_OFF: LeaveRequested(Reason.CUT_OFF),
    Reason.SHUTDOWN: LeaveRequested(Reason.SHUTDOWN),
    Reason.SUPERSEDED: LeaveRequested(Reason.SUPERSEDED),
}
OF_THE_POOL: Final = {
    Reason.WORKER_LOST,
    Reason.HEARTBEAT_TIMEOUT,
    Reason.NO_CAPACITY,
    Reason.REQUIREMENT_UNMET,
    Reason.MISSED_START,
    Reason.UNSUPPORTED_PLATFORM,
}
OF_OTHERS: Final = {
    Reason.INVALID_REQUEST,  # intake: a job that is none
    Reason.INTERNAL_ERROR,  # the agent: a session that raised
    Reason.OVERDUE,  # the agent: a session that outlived its limits
    Reason.SESSION_LIMIT,  # tests/worker/decide/test_deadlines.py: the job's own limit comes before it
    Reason.CAPTURE_FAILED,  # nobody yet: nothing is recorded
}


@pytest.mark.parametrize(("reason", "story"), SEEN.items())
def test_what_a_bot_sees_ends_with_the_reason_that_tells_it(
    reason: Reason, story: list[tuple[float, Observation]]
) -> None:
    options = SessionOptions(Names("Notetaker", bots=("otter",)))
    assert ends_for(story, LIMITED, options) is reason


@pytest.mark.parametrize(("reason", "told"), TOLD.items())
@pytest.mark.parametrize("before", [PROMPT, LOBBY, meeting()])
def test_what_a_bot_is_told_ends_it_with_that_reason(reason: Reason, told: Observation, before: Seen) -> None:
    assert ends_for([(1, before), (2, told)]) is reason


def test_every_reason_comes_from_somewhere() -> None:
    assert {*SEEN, *TOLD} | OF_THE_POOL | OF_OTHERS == set(Reason)
