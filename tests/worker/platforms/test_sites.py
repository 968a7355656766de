"""Real bots on the pages of `lab/platforms/`: their quick cases. `./dev sites try` tries all of them."""

from lab.platforms.cases import CASES
from lab.platforms.hosts import PLATFORMS
from lab.platforms.site import serving
from lab.platforms.trial import browser_for, try_all


async def test_bots_tell_the_truth_about_how_it_ended_on_every_platform() -> None:
    quick = [case for case in CASES if case.is_quick]
    assert {case.platform for case in quick} == set(PLATFORMS)
    async with serving() as site, browser_for(site) as browser:
        outcomes = await try_all(browser, site, quick)
    assert len(outcomes) == len(quick)
    assert {
        str(outcome.case): (outcome.faults, outcome.seen, outcome.noted) for outcome in outcomes if outcome.faults
    } == {}
