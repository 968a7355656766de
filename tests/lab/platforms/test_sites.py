"""The pages in a real Chromium, walked by hand-written clicks: no adapter, no lifecycle. All of these tests are long:
bots walk the same pages in tests/worker/platforms/test_sites.py.
"""

from collections.abc import AsyncGenerator
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page
from playwright.async_api import Error as PlaywrightError

from common.links.links import recognise
from lab.platforms.cases import BOT_NAME
from lab.platforms.hosts import HOSTS, PLATFORMS, link_to, platform_of
from lab.platforms.meeting import Meeting
from lab.platforms.scenario import Act, Scenario, Turn
from lab.platforms.screens import SCREENS, Shown
from lab.platforms.site import Site, serving
from lab.platforms.trial import browser_for
from tests.waiting import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

PATIENCE_MS: Final = 60_000
CODES: Final = {
    "google_meet": "abc-defg-hij",
    "zoom": "1234567890",
    "teams": "4012345678901",
    "jitsi": "Some Room",
}

# Packets received on every connection that a page makes.
COUNT: Final = """
  const connections = [];
  const Original = RTCPeerConnection;
  RTCPeerConnection = class extends Original {
    constructor(...given) { super(...given); connections.push(this); }
  };
  globalThis.packets = async () => {
    let sum = 0;
    for (const each of connections)
      for (const report of (await each.getStats()).values())
        if (report.type === "inbound-rtp") sum += report.packetsReceived;
    return sum;
  };
"""

# Whether a click in its middle would be its own.
IS_HIT: Final = """(element) => {
  const { x, y, width, height } = element.getBoundingClientRect();
  return document.elementFromPoint(x + width / 2, y + height / 2) === element;
}"""

TRANSFERRED: Final = """performance.getEntriesByType("resource")
  .filter(({ name }) => name.includes("heavy.js")).reduce((sum, { transferSize }) => sum + transferSize, 0)"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncGenerator[Site]:
    async with serving() as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(site: Site) -> AsyncGenerator[Browser]:
    async with browser_for(site) as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def context(browser: Browser) -> AsyncGenerator[BrowserContext]:
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    await context.add_init_script(COUNT)
    await context.new_page()
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(context: BrowserContext) -> Page:
    """The same for all: each test goes to a meeting of its own, and none leaves anything in a page."""
    return context.pages[0]


async def test_a_browser_takes_the_pages_for_the_platforms_own(page: Page, site: Site) -> None:
    for platform in PLATFORMS:
        await page.goto(link_to(platform, CODES[platform]))
        assert await page.evaluate("[isSecureContext, location.protocol]") == [True, "https:"]
        host = await page.evaluate("location.hostname")
        assert platform_of(host) == platform
        assert recognise(page.url).platform == platform


async def test_every_host_name_answers(page: Page) -> None:
    addresses = [f"https://{host.replace('*', 'us05web')}/" for host in HOSTS]
    answers: list[tuple[str, bool]] = []
    page.on("response", note := lambda response: answers.append((response.url, response.ok)))
    await page.goto(addresses[0])
    await page.evaluate("(all) => Promise.all(all.map((one) => fetch(one, { mode: 'no-cors' })))", addresses)
    await wait_until(lambda: {(address, True) for address in addresses} <= set(answers))
    page.remove_listener("response", note)


async def test_another_certificate_is_not_trusted(context: BrowserContext) -> None:
    page = await context.new_page()
    async with serving() as other:
        with pytest.raises(PlaywrightError, match="ERR_CERT_AUTHORITY_INVALID"):
            await page.goto(f"https://127.0.0.1:{other.port}/-/")
    await page.close()


# How a person gets from the link to the click that joins; the frame, where the client is in one.
WAY_IN: Final = {
    "google_meet": [],
    "zoom": ["text=Join from your browser"],
    "teams": ["[data-tid=joinOnWeb]"],
    "jitsi": [],
}
NAME_FIELD: Final = {
    "google_meet": "input[aria-label='Your name']",
    "zoom": "#input-for-name",
    "teams": "[data-tid=prejoin-display-name-input]",
    "jitsi": "#premeeting-name-input",
}
JOIN: Final = {
    "google_meet": "button[jsname=Qx7uuf]",
    "zoom": "button.preview-join-button",
    "teams": "[data-tid=prejoin-join-button]",
    "jitsi": "[data-testid='prejoin.joinMeeting']",
}
LEAVE: Final = {
    "google_meet": ["button[aria-label='Leave call']"],
    "zoom": ["[footer-section=right] button[aria-label=Leave]", "button.leave-meeting-options__btn--danger"],
    "teams": ["#hangup-button"],
    "jitsi": ["[aria-label='Leave the meeting']"],
}


async def ask_to_join(page: Page, meeting: Meeting) -> None:
    platform = meeting.platform
    await page.goto(meeting.link)
    for step in WAY_IN[platform]:
        await page.click(step)
    await page.locator(NAME_FIELD[platform]).press_sequentially(BOT_NAME)
    await page.click(JOIN[platform])


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_one_gets_in_hears_others_and_out_again(page: Page, site: Site, platform: str) -> None:
    meeting = site.arrange(platform, CODES[platform], Scenario(entry="lobby", voices=("Vera",)))
    await ask_to_join(page, meeting)
    await wait_until(lambda: meeting.waiting == [BOT_NAME])
    assert BOT_NAME not in meeting.present

    meeting.admit(BOT_NAME)
    await page.wait_for_selector(LEAVE[platform][0])
    await wait_until(lambda: page.evaluate("packets()"))
    assert set(meeting.present) == {"Ann", "Vera", BOT_NAME}

    for step in LEAVE[platform]:
        await page.click(step)
    await wait_until(lambda: set(meeting.present) == {"Ann", "Vera"})


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("wordings", [slice(1), slice(1, None)], ids=["first", "further"])
async def test_every_screen_shows_what_it_is_known_by(page: Page, site: Site, platform: str, wordings: slice) -> None:
    meeting = site.arrange(platform, CODES[platform], Scenario(turns=(Turn("load", "prejoin"),)))
    await ask_to_join(page, meeting)
    await wait_until(lambda: BOT_NAME in meeting.present)
    for shown in SCREENS:
        if shown.platform == platform:
            for wording in range(len(shown.evidence))[wordings]:
                await see(page, meeting, shown, wording)


async def see(page: Page, meeting: Meeting, shown: Shown, wording: int) -> None:
    meeting.turn(f"{shown.screen}#{wording}")
    evidence = shown.evidence[wording]
    selector = evidence.removeprefix("css:") if evidence.startswith("css:") else f"text={evidence}"
    await page.locator(selector).first.wait_for(timeout=PATIENCE_MS)


async def test_what_is_said_is_seen_where_the_chat_is_open(page: Page, site: Site) -> None:
    meeting = site.arrange("google_meet", CODES["google_meet"])
    await ask_to_join(page, meeting)
    await wait_until(lambda: meeting.waiting)
    meeting.admit()
    await page.click("button[aria-label='Chat with everyone']")
    meeting.say("Good morning", by="Ann")
    await page.wait_for_selector("text=Good morning")
    await page.fill("textarea[aria-label='Send a message']", "Hello")
    await page.press("textarea[aria-label='Send a message']", "Enter")
    await wait_until(lambda: meeting.said == [("Ann", "Good morning"), (BOT_NAME, "Hello")])


async def test_a_heavy_page_is_heavy_once(page: Page, site: Site) -> None:
    meeting = site.arrange("zoom", CODES["zoom"], Scenario(weight_mb=1))
    transferred: list[int] = []
    for _ in range(2):
        await page.goto(f"https://app.zoom.us/wc/{meeting.code}/join")
        await page.wait_for_selector(NAME_FIELD["zoom"])
        assert await page.evaluate("heavy_loaded")
        transferred.append(await page.evaluate(TRANSFERRED))
    assert transferred[0] > 1024 * 1024
    assert transferred[1] == 0


async def test_a_scenario_acts_by_itself(page: Page, site: Site) -> None:
    acts = (Act("lobby", "admit", 50), Act("meeting", "come:Bea", 50), Act("meeting", "remove", 200))
    meeting = site.arrange("teams", CODES["teams"], Scenario(entry="lobby", acts=acts))
    await ask_to_join(page, meeting)
    await page.wait_for_selector("text=You've been removed from this meeting")
    assert meeting.present == ["Ann", "Bea"]


async def test_a_page_that_was_just_drawn_loses_clicks(page: Page, site: Site) -> None:
    meeting = site.arrange("zoom", CODES["zoom"], Scenario(deaf_ms=PATIENCE_MS))
    await page.goto(f"https://app.zoom.us/wc/{meeting.code}/join")
    await page.click("#preview-audio-control-button")
    await wait_until(lambda: meeting.noted == ["lost a click on microphone"])


async def test_a_client_in_a_frame_may_have_its_button_covered(page: Page, site: Site) -> None:
    meeting = site.arrange("zoom", CODES["zoom"], Scenario(layout=("frame",), covered=True))
    await page.goto(f"https://app.zoom.us/wc/{meeting.code}/join")
    client = page.frame_locator("iframe#webclient")
    await client.locator("#input-for-name").press_sequentially(BOT_NAME)
    join = client.locator("button.preview-join-button")
    assert not await join.evaluate(IS_HIT)
    await join.dispatch_event("click")
    await wait_until(lambda: BOT_NAME in meeting.present)
