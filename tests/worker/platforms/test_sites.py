"""Real bots on the pages of `lab/platforms/`: their quick cases. `./dev sites try` tries all of them."""

import pytest

from lab.platforms.cases import CASES
from lab.platforms.hosts import PLATFORMS
from lab.platforms.site import serving
from lab.platforms.trial import browser_for, try_all
from worker.decide import lifecycle
from worker.meeting import session
from worker.platforms import page


async def test_bots_tell_the_truth_about_how_it_ended_on_every_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine a click or a look takes seconds. A bot that gave up would say nothing, or leave by closing the
    # page; one that did not look could not know that it was never let in.
    monkeypatch.setattr(lifecycle, "WATCHED_S", 20.0)
    monkeypatch.setattr(session, "REPEAT_S", 12.0)
    monkeypatch.setattr(page, "CHAT_BUTTON_S", 3.0)
    monkeypatch.setattr(page, "CHAT_OPEN_S", 3.0)
    quick = [case for case in CASES if case.is_quick]
    assert {case.platform for case in quick} == set(PLATFORMS)
    async with serving() as site, browser_for(site) as browser:
        outcomes = await try_all(browser, site, quick)
    assert len(outcomes) == len(quick)
    assert {
        str(outcome.case): (outcome.faults, outcome.seen, outcome.noted) for outcome in outcomes if outcome.faults
    } == {}
