"""The page in a real Chromium: two people meet, one hears the other, and is then shown the door."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from lab.parts.browser import launch
from tests.lab.meeting.conftest import OpenRoom, opening

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEADLINE_MS = 60_000

KEEP_CONNECTIONS = """
window.connections = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...given) { super(...given); window.connections.push(this); }
};
window.devicesAsked = 0;
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = (wish) => { window.devicesAsked += 1; return ask(wish); };
"""
# These wait inside the page: its Content-Security-Policy forbids the eval that `wait_for_function` polls with.
HEAR_SOUND = """async () => {
  const packets = async () => {
    const reports = await Promise.all(window.connections.map((connection) => connection.getStats()));
    return reports.flatMap((report) => [...report.values()])
      .filter(({ type, kind }) => type === "inbound-rtp" && kind === "audio")
      .reduce((sum, { packetsReceived }) => sum + packetsReceived, 0);
  };
  while (await packets() < 10) await new Promise((resolve) => setTimeout(resolve, 50));
}"""
PLAY_SOUND = """async () => {
  const plays = (video) => !video.muted && video.currentTime > 0 && video.srcObject.getAudioTracks().length === 1;
  while (![...document.querySelectorAll("video")].some(plays)) await new Promise(requestAnimationFrame);
}"""


@pytest_asyncio.fixture(loop_scope="module")
async def open_room() -> AsyncIterator[OpenRoom]:
    async with opening() as open_room:
        yield open_room


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await launch(playwright, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
        yield browser
        await browser.close()


@pytest.mark.long
async def test_a_guest_is_admitted_hears_the_host_and_is_removed(
    open_room: OpenRoom, host_key: str, browser: Browser
) -> None:
    room = await open_room()
    host, guest = [await (await browser.new_context()).new_page() for _ in range(2)]
    for page in (host, guest):
        page.set_default_timeout(DEADLINE_MS)
        await page.add_init_script(KEEP_CONNECTIONS)

    await host.goto(f"{room}?host={host_key}&name=Ann&join=1&auto-admit=1")
    await expect(host.locator("#participants li")).to_have_count(1, timeout=DEADLINE_MS)

    await guest.goto(room)
    await expect(guest.locator("#join")).to_be_disabled()
    await guest.get_by_label("Your name").fill("Bob")
    await guest.locator("#microphone").uncheck()
    await guest.locator("#camera").uncheck()
    await guest.get_by_role("button", name="Ask to join").click()

    for page in (host, guest):
        await expect(page.locator("#participants li")).to_have_count(2, timeout=DEADLINE_MS)
        await expect(page.locator("main > section:visible")).to_have_id("in-meeting")
    await expect(guest.locator("#participants li[data-self]")).to_contain_text("Bob")
    async with asyncio.timeout(DEADLINE_MS / 1000):
        await guest.evaluate(HEAR_SOUND)
        await guest.evaluate(PLAY_SOUND)
    assert await guest.evaluate("window.devicesAsked") == 0

    hostile = '<img src=x onerror="end(1)"> & <b>'
    await guest.get_by_label("Message to everyone").fill(f"{hostile}\nsecond line")
    await guest.get_by_label("Message to everyone").press("Enter")
    await host.get_by_label("Message to everyone").fill("Welcome")
    await host.get_by_role("button", name="Send").click()
    for page, own in ((host, "Ann"), (guest, "Bob")):
        await expect(page.locator("#chat li")).to_have_count(2, timeout=DEADLINE_MS)
        await expect(page.locator("#chat li .text").first).to_have_text(f"{hostile} second line")
        await expect(page.locator("#chat img")).to_have_count(0)
        await expect(page.locator("#chat li[data-self] .name")).to_have_text(own)
        await expect(page.locator("#chat-text")).to_have_value("")

    await host.get_by_role("button", name="Remove Bob").click()
    await expect(guest.locator("#end-screen")).to_have_attribute("data-end", "removed", timeout=DEADLINE_MS)
    await expect(guest.locator("main > section:visible h1")).to_have_text("You were removed from the meeting")
    await expect(host.locator("#participants li")).to_have_count(1, timeout=DEADLINE_MS)


@pytest.mark.long
async def test_the_keyboard_is_enough(open_room: OpenRoom, host_key: str, browser: Browser) -> None:
    room = await open_room()
    host, guest = [await (await browser.new_context()).new_page() for _ in range(2)]
    await host.goto(f"{room}?host={host_key}&name=Ann&join=1")
    await expect(host.locator("#in-meeting")).to_be_focused(timeout=DEADLINE_MS)

    await guest.goto(room)
    await expect(guest.locator("#name")).to_be_focused()
    await guest.keyboard.type("Bob")
    await guest.keyboard.press("Enter")
    await expect(guest.locator("#waiting-room")).to_be_focused(timeout=DEADLINE_MS)

    await host.get_by_role("button", name="Admit Bob").press("Enter")
    await expect(guest.locator("#in-meeting")).to_be_focused(timeout=DEADLINE_MS)
    await expect(host.locator("#lobby")).to_be_focused(timeout=DEADLINE_MS)
    await guest.keyboard.press("Tab")
    await expect(guest.locator("#leave")).to_be_focused()
    await guest.keyboard.press("Enter")
    await expect(guest.locator("#end-screen")).to_be_focused()
