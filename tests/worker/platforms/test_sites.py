"""Real bots on the pages of `lab/platforms/`: their quick cases. `./dev sites try` tries all of them."""

from typing import Final

import pytest

from lab.platforms.cases import CASES, Case
from lab.platforms.hosts import PLATFORMS
from lab.platforms.site import serving
from lab.platforms.trial import browser_for, try_all
from worker.decide import lifecycle
from worker.meeting import session
from worker.platforms import page

QUICK: Final = [case for case in CASES if case.is_quick]
# One of every platform, and each another end. Nobody speaks: the page that plays voices takes a second of a processor.
SAMPLE: Final = ("google_meet-denied-0", "jitsi-removed-0", "teams-says-that-it-records", "zoom-everyone-left")


def test_the_sample_has_every_platform() -> None:
    sample = [case for case in QUICK if str(case) in SAMPLE]
    assert len(sample) == len(SAMPLE)
    assert {case.platform for case in sample} == set(PLATFORMS)


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param([case for case in QUICK if str(case) in SAMPLE], id="sample"),
        pytest.param([case for case in QUICK if str(case) not in SAMPLE], id="others", marks=pytest.mark.long),
    ],
)
async def test_bots_tell_the_truth_about_how_it_ended_on_every_platform(
    monkeypatch: pytest.MonkeyPatch, cases: list[Case]
) -> None:
    # On a busy machine a click or a look takes seconds. A bot that gave up would say nothing, or leave by closing the
    # page; one that did not look could not know that it was never let in.
    monkeypatch.setattr(lifecycle, "WATCHED_S", 20.0)
    monkeypatch.setattr(session, "REPEAT_S", 12.0)
    monkeypatch.setattr(page, "CHAT_BUTTON_S", 3.0)
    monkeypatch.setattr(page, "CHAT_OPEN_S", 3.0)
    has_voices = any(case.scenario.voices for case in cases)
    async with serving() as site, browser_for(site, has_voices=has_voices) as browser:
        outcomes = await try_all(browser, site, cases)
    assert len(outcomes) == len(cases)
    assert {
        str(outcome.case): (outcome.faults, outcome.seen, outcome.noted) for outcome in outcomes if outcome.faults
    } == {}
