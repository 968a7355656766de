"""What a probe tells of its platform's page."""

from typing import Any

import msgspec
import pytest

from common.jobs.record import Record
from common.wire.vocabulary import Attribution, Reason
from poolmgr.store.leader.probes import ProbeRun
from poolmgr.store.story import Entry, What
from poolmgr.telling.probes import concluded, outcome_of

IN = ("2027-01-15T08:00:00Z", "2027-01-15T08:00:12.5Z")
WAY = ("loading (blank)", "name_prompt (name-field)")


def record(**fields: Any) -> Record:
    known = {"meeting_url": "", "platform": "zoom", "bot_name": "n", "payload": "", "state": "stopped", "bot_id": "p"}
    return msgspec.convert({**known, "status": "", "created_at": "", "stopped_at": "then", **fields}, Record)


def joined(**fields: Any) -> Record:
    return record(assigned_at=IN[0], inmeeting_at=IN[1], status_reason=Reason.USER_REQUESTED, **fields)


def story(*steps: str) -> list[Entry]:
    seen = [(step.partition(" (")[0], step.partition(" (")[2].rstrip(")")) for step in steps]
    return [
        Entry("", What.ACCEPTED),
        *(Entry("", What.SAW, screen=screen, rule=rule) for screen, rule in seen),
        Entry("", What.SAW, screen="name_prompt", rule="name-field", did="fill"),
        Entry("", What.MOVED, state="in_meeting"),
        Entry("", What.SAW, screen="in_meeting", rule="after-it-was-in"),
    ]


def earlier(number: int = 3, way: tuple[str, ...] = WAY, outcome: str = "joined") -> list[ProbeRun]:
    return [ProbeRun(f"p{place}", "", "zoom", outcome, way=list(way)) for place in range(number)]


def test_a_probe_that_got_in_tells_its_way_until_then() -> None:
    run = concluded(joined(), story(*WAY, WAY[0]), earlier())
    assert (run.outcome, run.way, run.join_s, run.changed, run.at) == ("joined", [*WAY], 12.5, False, "then")
    assert run.new_steps == []


def test_a_rule_that_no_earlier_probe_met_is_another_page() -> None:
    run = concluded(joined(), story("name_prompt (name-by-label)"), earlier())
    assert (run.new_steps, run.changed) == (["name_prompt (name-by-label)"], True)


@pytest.mark.parametrize("before", [[], earlier(2), earlier(9, outcome="failed")], ids=["none", "two", "none got in"])
def test_before_enough_got_in_nothing_is_news(before: list[ProbeRun]) -> None:
    assert not concluded(joined(), story("name_prompt (name-by-label)"), before).changed


def test_what_one_that_failed_met_is_known_too() -> None:
    before = [*earlier(), *earlier(1, ("lobby (lobby)",), "refused")]
    assert not concluded(joined(), story("lobby (lobby)"), before).changed


def test_a_page_on_which_nothing_was_recognised_is_another_page() -> None:
    ended = record(status_reason=Reason.UI_ELEMENT_NOT_FOUND, attribution=Attribution.US, reason_detail="90 s passed")
    run = concluded(ended, [], [])
    assert (run.outcome, run.changed, run.join_s, run.detail) == ("failed", True, None, "90 s passed")


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"inmeeting_at": "x", "status_reason": Reason.REMOVED_BY_HOST}, "joined"),
        ({"status_reason": Reason.REQUEST_DENIED, "attribution": Attribution.HOST}, "refused"),
        ({"status_reason": Reason.PASSCODE_WRONG, "attribution": Attribution.USER}, "refused"),
        ({"status_reason": Reason.USER_REQUESTED, "attribution": Attribution.USER}, "failed"),
        ({"status_reason": Reason.CAPTCHA, "attribution": Attribution.PLATFORM}, "failed"),
    ],
)
def test_an_outcome_is_by_whose_doing_it_was(fields: dict[str, str], outcome: str) -> None:
    assert outcome_of(record(**fields)) == outcome
