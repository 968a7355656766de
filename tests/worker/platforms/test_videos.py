"""When a page draws its videos; what rules find of them is the same either way."""

import base64
import io
import zipfile
from typing import Final

import pytest
from playwright.async_api import Page

from common.config.settings import EvidenceSettings
from common.wire.messages import Join
from common.wire.vocabulary import Reason
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.visits import Site
from worker.meeting import evidence
from worker.meeting.evidence import EvidenceKeeper
from worker.meeting.onlookers import Looked, picture_of
from worker.platforms import HIDE_VIDEOS, SHOW_VIDEOS

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Two videos that are green all over, one of them in a frame.
VIDEOS: Final = """
  const play = (within) => {
    const canvas = within.createElement("canvas");
    const paint = canvas.getContext("2d");
    setInterval(() => { paint.fillStyle = "#00ff00"; paint.fillRect(0, 0, 300, 150); }, 40);
    const video = within.createElement("video");
    Object.assign(video, { muted: true, srcObject: canvas.captureStream() });
    Object.assign(video.style, { position: "fixed", left: 0, top: 0, width: "300px", height: "150px" });
    within.body.append(video);
    return video.play();
  };
  const frame = document.createElement("iframe");
  frame.style = "position: fixed; left: 0; top: 200px; border: 0; height: 150px";
  document.body.append(frame);
  globalThis.played = Promise.all([play(document), play(frame.contentDocument)]);
"""
FOUND: Final = """() => [document, document.querySelector("iframe").contentDocument].map((within) => {
  const video = within.querySelector("video");
  const { x, y, width, height } = video.getBoundingClientRect();
  const isShown = video.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  return [x, y, width, height, isShown, within.elementFromPoint(9, 9) === video, video.paused];
})"""
# Which of the two is green in a picture of the page.
GREEN: Final = """async (jpeg) => {
  const picture = new Image();
  picture.src = `data:image/jpeg;base64,${jpeg}`;
  await picture.decode();
  const paint = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
  paint.drawImage(picture, 0, 0);
  return [20, 220].map((y) => {
    const [red, green, blue] = paint.getImageData(20, y, 1, 1).data;
    return green > 200 && red < 100 && blue < 100;
  });
}"""


async def green(page: Page, jpeg: bytes = b"") -> list[bool]:
    jpeg = jpeg or await page.screenshot(type="jpeg", scale="css")
    return await page.evaluate(GREEN, base64.b64encode(jpeg).decode())


async def test_what_is_not_drawn_is_found_as_before_and_is_there_for_who_looks(
    own_page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = own_page
    monkeypatch.setattr(evidence, "PART_S", PATIENCE_S)
    await page.goto(site.page(VIDEOS))
    await page.evaluate("globalThis.played")

    async def are(*drawn: bool) -> bool:
        return await green(page) == [*drawn]

    await wait_until(lambda: are(True, True))
    found = await page.evaluate(FOUND)
    await page.evaluate(HIDE_VIDEOS)
    await wait_until(lambda: are(False, False))
    assert await page.evaluate(FOUND) == found

    picture = await picture_of(Looked("w1", page))
    assert await green(page, picture.jpeg) == [True, True]
    await page.evaluate(SHOW_VIDEOS, 300)  # nobody looks any more
    await wait_until(lambda: are(False, False))

    bundles: list[bytes] = []
    keeper = EvidenceKeeper(
        Join("w1", "b1", 1, "room", page.url, "Bot"), EvidenceSettings(), lambda _, bundle: not bundles.append(bundle)
    )
    assert await keeper.keep(page, Reason.UI_ELEMENT_NOT_FOUND)
    with zipfile.ZipFile(io.BytesIO(bundles[0])) as files:
        assert await green(page, files.read("screenshot.jpg")) == [True, True]
    await page.evaluate(SHOW_VIDEOS, 0)
    await wait_until(lambda: are(False, False))

    await page.evaluate("document.adoptedStyleSheets = [new CSSStyleSheet()]")
    await wait_until(lambda: are(True, False))
    await page.evaluate(HIDE_VIDEOS)
    await wait_until(lambda: are(False, False))
    assert await page.evaluate("document.adoptedStyleSheets.length") == 2  # the page's own stays


async def test_a_page_that_breaks_what_hides_them_is_looked_at_all_the_same(own_page: Page, site: Site) -> None:
    page = own_page
    await page.goto(site.page(VIDEOS))
    await page.evaluate("Object.defineProperty(document, 'adoptedStyleSheets', { get() { throw new Error(); } })")
    await page.evaluate(HIDE_VIDEOS)
    assert (await picture_of(Looked("w1", page))).jpeg
