"""From when "Join" can be pressed to the click: the worker's own session on the local pages of each platform."""

import logging
import statistics
from functools import partial
from typing import Final

import structlog
from playwright.async_api import Browser

from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.sample import Contender, Series, ratio, take_turns
from lab.platforms.cases import BOT_NAME, CASES, Case
from lab.platforms.site import Site, serving
from lab.platforms.trial import attempt, browser_for
from worker.platforms import addresses

_MOST_MS: Final = 100.0
_DEADLINE_MS: Final = 20_000.0
_ADDRESSES: Final = {
    "google_meet": addresses.google_meet,
    "zoom": addresses.zoom,
    "teams": addresses.teams,
    "jitsi": addresses.jitsi,
}
_NOTE: Final = "could be pressed for "  # as in lab/platforms/page/stage.js


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    """One bot at a time, each in a new context of a warm browser."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # the session's own log
    rounds = 3 if quick else 15
    cases = [case for case in CASES if case.name == "no-lobby"]
    measured: list[Measurement] = []
    async with serving() as site, browser_for(site) as browser:
        for case in cases:
            ours, bare = Series(f"a bot on {case.platform}", "ms"), Series("Playwright with the page's own names", "ms")
            contenders = [
                Contender((ours,), partial(_bot, browser, site, case)),
                Contender((bare,), partial(_bare, browser, site, case)),
            ]
            await take_turns(rounds, contenders, progress.say)
            measured.append(_measurement(case.platform, ours, bare, rounds))
    return measured


def _measurement(platform: str, ours: Series, bare: Series, rounds: int) -> Measurement:
    pressed = ours.summary()
    return Measurement(
        "click",
        f'{platform}: from when "Join" can be pressed to the click',
        pressed,
        [bare.summary()],
        ratio(ours, bare),
        [Budget("p50", "ms", pressed.p50, _MOST_MS)],
        conditions=f"{rounds} bots, one at a time, on the local pages (docs/sites.md), which say how long the button"
        " had been there; the bot first fills in its name where the page asks for one, and looks to its devices."
        " Playwright alone fills in the name and clicks, by the names that the page gave its parts.",
        limited_by="a look, the name, the devices and the click, each some round trips to the browser.",
    )


async def _bot(browser: Browser, site: Site, case: Case) -> list[tuple[float]]:
    outcome = await attempt(browser, site, case)
    return [(_pressed_ms(outcome.noted),)]


async def _bare(browser: Browser, site: Site, case: Case) -> list[tuple[float]]:
    meeting = site.arrange(case.platform, case.code, case.scenario)
    context = await browser.new_context(locale="en-US")
    context.set_default_timeout(_DEADLINE_MS)
    try:
        page = await context.new_page()
        await page.goto(_ADDRESSES[case.platform](case.link, BOT_NAME), wait_until="commit")
        join, launcher = page.locator("[data-do=join]"), page.locator("[data-do^='go:']")
        await join.or_(launcher).first.wait_for()
        if await launcher.count():
            await launcher.click()
            await join.wait_for()
        if await (name := page.locator("[data-field=name]")).count():
            await name.fill(BOT_NAME)
        await join.click()
        await page.wait_for_function("() => !document.querySelector('[data-do=join]')")
    finally:
        await context.close()
    return [(_pressed_ms(meeting.noted),)]


def _pressed_ms(noted: list[str]) -> float:
    times = [float(note.removeprefix(_NOTE).partition(" ")[0]) for note in noted if note.startswith(_NOTE)]
    return statistics.median(times)
