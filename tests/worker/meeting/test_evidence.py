"""Evidence of real pages: all of it, without what lets one into the meeting, and in time whatever the page does."""

import base64
import io
import json
import re
import threading
import time
import zipfile
from typing import Any, Final

import pytest
from msgspec.structs import replace
from playwright.async_api import Page

from common.config.settings import EvidenceSettings
from common.wire.messages import Join
from common.wire.vocabulary import Reason
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.visits import HANGING, Site
from worker.meeting import evidence
from worker.meeting.evidence import CHATTER, MOST_CHARS, EvidenceKeeper, Put, digest, keepers_for, packed
from worker.meeting.redaction import Secrets
from worker.platforms import adapter_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

LINK: Final = "https://meet.google.com/abc-defg-hij?authuser=0&pwd=S3cretPwd#tok=fragtok99"
JOIN: Final = Join("w1", "b1", 2, "google_meet", LINK, "Bot", message="Hello everybody here", passcode="4711")
SECRETS: Final = (
    "abc-defg", "S3cretPwd", "fragtok99", r"\b4711\b", "typed-secret", "Hello everybody", "ada@example.com", "hunter2",
    "y=z",
)  # fmt: skip

LEAKY: Final = """<!doctype html><title>abc-defg-hij</title>
<meta http-equiv="Content-Security-Policy" content="style-src 'none'">
<h1>Meeting <span id="code">abc-defg-hij</span></h1>
<p>Join at <b>meet.google.com/abc</b>-defg-hij or https://foo.example/x?y=z</p>
<p>Passcode: 4711 and room 47110 stays; mail ada@example.com; password: hunter2</p>
<p title="abc-defg-hij">Bot: Hello everybody here</p>
<input type="password" aria-label="secret" value="typed-secret"><input id="copy" value="https://meet.google.com/abc-defg-hij">
<p>typed-secret is what you typed</p>
<div id="host"></div><iframe srcdoc="<p>frame abc-defg-hij</p>"></iframe>
<p id="plain">nothing hidden here</p>
<script>
  document.querySelector("#host").attachShadow({ mode: "open" }).innerHTML = "<p>shadow abc-defg-hij is seen</p>";
  console.log("see https://meet.google.com/abc-defg-hij?pwd=S3cretPwd", "4711");
  setTimeout(() => { throw new Error("no way into abc-defg-hij"); });
</script>"""

# The colours inside an element of the page, as the picture shows them.
COLOURS: Final = """async ([data, box]) => {
  const image = new Image();
  image.src = `data:image/jpeg;base64,${data}`;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(box.x + 2, box.y + box.height / 3, box.width - 4, box.height / 3).data;
  const lightness = [...pixels].filter((_, i) => i % 4 !== 3);
  return [Math.min(...lightness), Math.max(...lightness)];
}"""


class Outbox:
    """Takes bundles."""

    def __init__(self) -> None:
        self.bundles: dict[str, bytes] = {}
        self.is_full = False

    def put(self, name: str, data: bytes) -> bool:
        if not self.is_full:
            self.bundles[name] = data
        return not self.is_full

    def files(self, name: str = "b1-2") -> dict[str, bytes]:
        with zipfile.ZipFile(io.BytesIO(self.bundles[name])) as bundle:
            return {member: bundle.read(member) for member in bundle.namelist()}


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes seconds for a picture."""
    monkeypatch.setattr(evidence, "PART_S", PATIENCE_S)
    monkeypatch.setattr(evidence, "PICTURE_S", PATIENCE_S)


def keeper(outbox: Outbox, join: Join = JOIN, **settings: Any) -> EvidenceKeeper:
    return EvidenceKeeper(join, EvidenceSettings(**settings), outbox.put, vm_id="vm1", rules=lambda: [{"rule": "r"}])


@pytest.mark.usefixtures("patient")
async def test_a_bundle_holds_all_that_was_seen_and_nothing_that_lets_one_in(own_page: Page, outbox: Outbox) -> None:
    seen = keeper(outbox)
    seen.watch(own_page)
    said: list[object] = []
    own_page.on("pageerror", lambda error: said.append(error))
    await own_page.set_content(LEAKY)
    await wait_until(lambda: said)
    seen.saw("name_prompt", "a-rule", "fill_name_and_join")
    assert await seen.keep(own_page, Reason.UI_ELEMENT_NOT_FOUND, f"nothing at {LINK}") == "b1-2"
    files = outbox.files()
    assert set(files) == {
        *("about.json", "screenshot.jpg", "page.txt", "accessibility.txt", "console.txt", "history.json")
    }
    texts = {name: data.decode() for name, data in files.items() if not name.endswith(".jpg")}
    assert [(name, secret) for name, text in texts.items() for secret in SECRETS if re.search(secret, text)] == []
    assert "nothing hidden here" in texts["page.txt"]
    assert "is seen" in texts["page.txt"]
    assert "room 47110 stays" in texts["page.txt"]
    assert "Meeting" in texts["accessibility.txt"]
    assert "page error: no way into [hidden]" in texts["console.txt"]
    history = json.loads(texts["history.json"])
    step = next(entry for entry in history if "did" in entry)
    assert (step["screen"], step["rule"], step["did"]) == ("name_prompt", "a-rule", "fill_name_and_join")
    about = json.loads(texts["about.json"])
    assert (about["reason"], about["vm_id"], about["missing"]) == ("ui_element_not_found", "vm1", {})
    assert own_page.context.browser
    assert about["versions"]["chromium"] == own_page.context.browser.version
    assert about["versions"]["rules"] == digest([{"rule": "r"}])
    assert about["host"]["memory_mb"] > 0


@pytest.mark.usefixtures("patient")
async def test_a_picture_shows_the_page_but_for_its_secrets_and_leaves_it_as_it_was(page: Page, outbox: Outbox) -> None:
    await page.set_content(LEAKY)
    before = await page.content()
    await keeper(outbox).keep(page, Reason.CAPTCHA)
    assert await page.content() == before
    assert await page.evaluate("CSS.highlights.size + document.adoptedStyleSheets.length") == 0
    data = base64.b64encode(outbox.files()["screenshot.jpg"]).decode()
    boxes = {name: await page.locator(name).bounding_box() for name in ("#code", "#copy", "#plain")}
    seen = {name: await page.evaluate(COLOURS, [data, box]) for name, box in boxes.items()}
    assert seen["#code"][1] < 90, "all of it is dark"
    assert seen["#copy"][1] < 90
    assert seen["#plain"][0] < 90 < 200 < seen["#plain"][1], "black on white"


@pytest.mark.long
async def test_a_page_that_answers_nothing_costs_little_time(own_page: Page, site: Site, outbox: Outbox) -> None:
    await own_page.goto(site.page(HANGING))
    await own_page.evaluate("hang()")
    await site.until_said("hanging")
    began = time.monotonic()
    seen = keeper(outbox)
    seen.saw("in_meeting", "a-rule")
    assert await seen.keep(own_page, Reason.CONNECTION_LOST) == "b1-2"
    assert time.monotonic() - began < 25  # a call of Playwright's waits for 30 s
    files = outbox.files()
    assert set(json.loads(files["about.json"])["missing"]) == {"screenshot.jpg", "page.txt", "accessibility.txt"}
    assert b"in_meeting" in files["history.json"]


@pytest.mark.usefixtures("patient")
async def test_the_text_of_all_frames_has_one_limit_and_is_searched_apart(
    page: Page, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames cost nothing, and a search for secrets takes half a second a frame. Other bots go on meanwhile."""
    hide, searched = Secrets.hide, list[tuple[int, bool]]()

    def hide_noted(self: Secrets, text: str) -> str:
        searched.append((len(text), threading.current_thread() is threading.main_thread()))
        return hide(self, text)

    monkeypatch.setattr(Secrets, "hide", hide_noted)
    frame = "<iframe srcdoc=\"<p id=p></p><script>p.textContent = 'word '.repeat(30000)</script>\"></iframe>"
    await page.set_content(f"<p>the page</p>{frame * 5}")
    assert await keeper(outbox).keep(page, Reason.CAPTCHA) == "b1-2"
    text = outbox.files()["page.txt"].decode()
    assert text.startswith("--- page")
    assert "the page" in text
    assert (text.count("--- frame"), len(text) - MOST_CHARS < 500) == (2, True)
    assert [length for length, is_on_the_loop in searched if is_on_the_loop and length > 1000] == []
    assert sum(length for length, _ in searched) < 3 * MOST_CHARS


@pytest.mark.usefixtures("patient")
async def test_where_secrets_cannot_be_painted_over_there_is_no_picture(page: Page, outbox: Outbox) -> None:
    await page.set_content("<p>abc-defg-hij</p><p>the rest</p><script>window.Highlight = undefined</script>")
    assert await keeper(outbox).keep(page, Reason.CAPTCHA) == "b1-2"
    files = outbox.files()
    assert "screenshot.jpg" not in files
    assert list(json.loads(files["about.json"])["missing"]) == ["screenshot.jpg"]
    assert b"the rest" in files["page.txt"]


@pytest.mark.usefixtures("patient")
async def test_a_page_that_is_gone_costs_the_bundle_only_what_it_showed(own_page: Page, outbox: Outbox) -> None:
    seen = keeper(outbox)
    seen.watch(own_page)
    await own_page.close()
    assert await seen.keep(own_page, Reason.BROWSER_CRASHED) == "b1-2"
    assert "refused" in json.loads(outbox.files()["about.json"])["missing"]["screenshot.jpg"]
    assert await seen.keep(None, Reason.BROWSER_HUNG, "it hung", error=f"Traceback: {LINK}") == "b1-2"
    assert json.loads(outbox.files()["about.json"])["missing"] == {"page": "it hung"}
    assert outbox.files()["traceback.txt"] == b"Traceback: https://meet.google.com/[hidden]"
    seen.unwatch()
    seen.unwatch()


@pytest.mark.usefixtures("patient")
async def test_nothing_is_kept_of_what_was_wished_for_unless_it_is_a_probe(page: Page, outbox: Outbox) -> None:
    assert await keeper(outbox).keep(page, Reason.EVERYONE_LEFT) == ""
    assert await keeper(outbox, enabled=False).keep(page, Reason.CAPTCHA) == ""
    outbox.is_full = True
    assert await keeper(outbox).keep(page, Reason.CAPTCHA) == ""
    outbox.is_full = False
    assert outbox.bundles == {}
    probe = keeper(outbox, replace(JOIN, is_probe=True))
    await page.set_content("<h1>one</h1>")
    for screen in ("loading", "loading", "in_meeting"):
        await probe.picture(page, screen)
    assert await probe.keep(page, Reason.USER_REQUESTED) == "b1-2"
    screens = [name for name in outbox.files() if name.startswith("screens/")]
    assert screens == ["screens/01-loading.jpg", "screens/02-in_meeting.jpg"]
    plain = keeper(outbox)
    await plain.picture(page, "loading")
    await plain.keep(page, Reason.CAPTCHA)
    assert [name for name in outbox.files() if name.startswith("screens/")] == []


@pytest.mark.parametrize(
    ("talk", "times"),
    [
        ("console.log(`line ${i}`)", CHATTER),
        pytest.param("setTimeout(() => { throw new Error(`line ${i}`); })", CHATTER, marks=pytest.mark.long),
        # Chromium complains of each in the console, too.
        pytest.param("fetch(`http://127.0.0.1:1/${i}`).catch(() => {})", CHATTER // 2, marks=pytest.mark.long),
    ],
)
async def test_a_page_that_talks_without_end_is_listened_to_until_it_is_too_much(
    own_page: Page, outbox: Outbox, talk: str, times: int
) -> None:
    seen = keeper(outbox)
    seen.watch(own_page)
    await own_page.set_content(f"<script>for (let i = 0; i < {times + 10}; i++) {talk}</script>")
    await wait_until(lambda: not seen._listens)  # pyright: ignore[reportPrivateUsage]
    lines: list[str] = []
    own_page.on("console", lambda message: lines.append(message.text))
    await own_page.evaluate("console.log('the last one')")
    await wait_until(lambda: "the last one" in lines)
    seen.saw("in_meeting")
    await own_page.evaluate("console.log('after the next screen')")
    await wait_until(lambda: "after the next screen" in lines)
    await seen.keep(own_page, Reason.CAPTCHA)
    console = outbox.files()["console.txt"].decode()
    assert "says too much" in console
    assert "the last one" not in console
    assert "after the next screen" in console
    assert len(console.splitlines()) <= 200


def jpg(name: str, size: int) -> Put:
    return Put(name, b"x" * size, "2027-01-01T00:00:00.000Z")


async def test_what_does_not_fit_falls_away_pictures_of_screens_first() -> None:
    files = [jpg("screenshot.jpg", 20_000), Put("page.txt", b"text")]
    screens = [jpg("screens/01-a.jpg", 20_000), jpg("screens/02-b.jpg", 20_000)]
    for most, left in (
        (70_000, ["screenshot.jpg", "page.txt", "screens/01-a.jpg", "screens/02-b.jpg"]),
        (50_000, ["screenshot.jpg", "page.txt", "screens/02-b.jpg"]),
        (30_000, ["screenshot.jpg", "page.txt"]),
        (10_000, ["page.txt"]),
        (300, []),
    ):
        missing: dict[str, str] = {}
        data = packed({"bot_id": "b1"}, missing, files, screens, most)
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            assert bundle.namelist() == ["about.json", *left]
            assert set(json.loads(bundle.read("about.json"))["missing"]) == set(missing)
            assert len(left) + len(missing) == 4


async def test_the_agent_makes_a_keeper_of_each_session_unless_it_is_told_not_to() -> None:
    adapter = adapter_for("room")
    assert adapter
    join = replace(JOIN, platform="room")
    assert keepers_for(EvidenceSettings(enabled=False), "vm1", Outbox().put)(join, adapter, False) is None
    assert keepers_for(EvidenceSettings(), "vm1", Outbox().put)(join, adapter, True) is not None
    assert digest(adapter.rules) == digest(adapter.rules) != digest(None) == ""
