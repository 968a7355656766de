"""Who is in a meeting of the pages, and what its people do, without a page."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from common.links.links import recognise
from common.wire.vocabulary import Reason
from lab.meeting.messages import End, Said, Waiting
from lab.meeting.messages import Meeting as Snapshot
from lab.platforms.cases import CASES
from lab.platforms.hosts import PLATFORMS, code_in, link_to, platform_of
from lab.platforms.meeting import HostCame, Meeting, Message, Voice
from lab.platforms.scenario import Act, Scenario
from lab.platforms.screens import SCREENS


class Arranged(NamedTuple):
    """A meeting, the mail of the one who comes to it, and what is to happen later, as (seconds, what)."""

    meeting: Meeting
    mail: list[Message]
    later: list[tuple[float, Callable[[], None]]]
    voices: list[Voice]

    def knock(self, name: str = "Bot") -> str:
        return self.meeting.enter(name, mailbox=self.mail.append)


def arranged(scenario: Scenario) -> Arranged:
    later: list[tuple[float, Callable[[], None]]] = []
    voices: list[Voice] = []
    meeting = Meeting("zoom", "123456789", scenario, lambda s, what: later.append((s, what)), voices.append)
    return Arranged(meeting, [], later, voices)


def test_with_an_open_door_one_is_in_at_once_and_the_doorman_is_nobody() -> None:
    at = arranged(Scenario(people=("Ann",)))
    person = at.knock()
    [snapshot] = at.mail
    assert isinstance(snapshot, Snapshot)
    assert [participant.name for participant in snapshot.participants] == ["Ann", "Bot"]
    assert snapshot.you == person


def test_in_a_lobby_one_waits_until_admitted() -> None:
    at = arranged(Scenario(entry="lobby"))
    at.knock()
    assert at.mail == [Waiting()]
    assert (at.meeting.present, at.meeting.waiting) == (["Ann"], ["Bot"])
    at.meeting.admit("Bot")
    assert at.meeting.present == ["Ann", "Bot"]


def test_without_a_host_an_open_door_opens_when_the_host_comes() -> None:
    at = arranged(Scenario(host=False))
    at.knock()
    assert at.mail == [Waiting()]
    at.meeting.host_comes()
    assert HostCame() in at.mail
    assert at.meeting.present == ["Ann", "Bot"]


@pytest.mark.parametrize("end", ["denied", "removed", "ended"])
def test_one_is_told_how_it_ended(end: str) -> None:
    at = arranged(Scenario(entry="lobby" if end == "denied" else "open"))
    at.knock()
    {"denied": at.meeting.deny, "removed": lambda: at.meeting.remove("Bot"), "ended": at.meeting.end}[end]()
    assert at.mail[-1] == End(end)  # pyright: ignore[reportArgumentType]
    assert "Bot" not in (*at.meeting.present, *at.meeting.waiting)


def test_a_meeting_goes_on_after_its_end_for_whoever_comes_next() -> None:
    at = arranged(Scenario(entry="lobby"))
    at.meeting.end()
    at.knock()
    assert at.mail == [Waiting()]


def test_what_people_say_is_told_and_kept() -> None:
    at = arranged(Scenario())
    at.knock()
    at.meeting.say("Good morning", by="Ann")
    assert isinstance(at.mail[-1], Said)
    assert at.meeting.said == [("Ann", "Good morning")]


def test_acts_are_about_guests_and_about_where_they_are() -> None:
    acts = (Act("lobby", "admit", 300), Act("meeting", "come:Bea", 100), Act("lobby", "deny", 500))
    at = arranged(Scenario(entry="lobby", acts=acts))
    assert at.later == []
    at.knock()
    assert [after_s for after_s, _ in at.later] == [0.3, 0.5]
    for _, act in at.later[:]:
        act()
    assert at.meeting.present == ["Ann", "Bot"]  # the second act is of the lobby, which the bot has left
    at.later[-1][1]()
    assert at.meeting.present == ["Ann", "Bot", "Bea"]
    assert len(at.later) == 3


def test_voices_are_played_by_their_page() -> None:
    at = arranged(Scenario(voices=("Vera",)))
    at.meeting.tone("Vera", loud=False)
    assert [voice.loud for voice in at.voices] == [True, False]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_link_leads_to_its_meeting(platform: str) -> None:
    for case in CASES:
        if case.platform == platform:
            link = recognise(case.link)
            assert link.platform == platform
            host, _, path = case.link.removeprefix("https://").partition("/")
            assert platform_of(host) == platform
            assert code_in(platform, "/" + path.partition("?")[0].replace("%3a", ":").replace("%40", "@")) == case.code


def test_every_case_is_a_meeting_of_its_own() -> None:
    assert len({(case.platform, case.code) for case in CASES}) == len(CASES) == len({str(case) for case in CASES})
    assert link_to("zoom", "123456789", "s3cret.1") == "https://us02web.zoom.us/j/123456789?pwd=s3cret.1"


def test_every_end_that_a_page_can_bring_about_has_a_case() -> None:
    not_a_page = {
        *(Reason.WORKER_LOST, Reason.HEARTBEAT_TIMEOUT, Reason.CUT_OFF, Reason.NO_CAPACITY, Reason.INTERNAL_ERROR),
        Reason.REQUIREMENT_UNMET,
        *(Reason.UNSUPPORTED_PLATFORM, Reason.SHUTDOWN, Reason.SUPERSEDED, Reason.INVALID_REQUEST),
        *(Reason.CAPTURE_FAILED, Reason.MEMORY_LIMIT, Reason.OVERDUE, Reason.MISSED_START, Reason.SESSION_LIMIT),
        Reason.CONNECTION_LOST,  # only the room says so by itself
    }
    assert set(Reason) - {case.reason for case in CASES} == not_a_page
    assert {(shown.platform, shown.reason) for shown in SCREENS if shown.reason} <= {
        (case.platform, case.reason) for case in CASES
    }
