"""The page in a real Chromium: fleets of 0, 3 and 1,000 VMs, hostile names, a cut line, a narrow screen."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import msgspec
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe  # pyright: ignore[reportMissingTypeStubs]
from playwright.async_api import ConsoleMessage, Error, Page, Request, Response, ViewportSize, async_playwright, expect
from yarl import URL

from common.config.settings import CaptureSettings, ProbeSettings, ProbesSettings
from common.wire import manifest
from common.wire.manifest import (
    AUDIO,
    FINAL,
    THUMBNAILS,
    VIDEO,
    WAVEFORM,
    Audio,
    Manifest,
    Peaks,
    Thumbnails,
    Video,
    Waveform,
)
from common.wire.vocabulary import Reason
from lab.parts.browser import launch
from lab.parts.ports import free_ports, listens
from poolmgr.app import Manager
from poolmgr.core.requests import DrainRequested
from poolmgr.store.actions import By, Way
from poolmgr.store.leader.probes import ProbeRun, Probes
from tests.api.conftest import LINK, TOKEN, Caller, World
from tests.page.conftest import HOSTILE, LOOKER, READER, Fleet, fleet_of
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.capture.making.test_picture import film
from tests.worker.capture.making.test_stills import strip_of
from worker.capture.making.work import Stream
from worker.link.looks import Looks
from worker.meeting import onlookers
from worker.meeting.onlookers import Looked, Onlookers

FIRST_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
ROWS_AT = "() => document.querySelectorAll('#vms tbody tr').length && performance.now()"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def screen() -> AsyncGenerator[Page]:
    """One for all: a new one takes a second of a processor. Each test has an origin of its own on it."""
    expect.set_options(timeout=PATIENCE_S * 1000)  # of a busy machine
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        context = await browser.new_context()
        yield await context.new_page()
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def fleet(redis_server: str, prefix: str) -> AsyncGenerator[Fleet]:
    world = World(redis_server, prefix)
    yield await fleet_of(world)
    await world.redis.aclose()


WIDE: Final[ViewportSize] = {"width": 1280, "height": 800}
NARROW: Final[ViewportSize] = {"width": 360, "height": 640}


@asynccontextmanager
async def at_the_door(page: Page, call: Caller, size: ViewportSize = WIDE) -> AsyncGenerator[Page]:
    """The page before anybody typed a token. Nothing that it logs is an error when it is done."""
    faults: list[str] = []

    def fail(error: Error) -> None:
        faults.append(str(error))

    def hear(said: ConsoleMessage) -> None:
        faults.extend([said.text] if "Content Security" in said.text else [])

    page.on("pageerror", fail)
    page.on("console", hear)
    await page.set_viewport_size(size)
    await page.emulate_media(color_scheme="light")
    await page.goto(call.base)
    try:
        yield page
    finally:
        page.remove_listener("pageerror", fail)
        page.remove_listener("console", hear)
        await page.context.set_offline(False)
        await page.evaluate("() => sessionStorage.clear()")
        await page.goto("about:blank")
    assert faults == []


@asynccontextmanager
async def looking(page: Page, call: Caller, token: str = TOKEN, size: ViewportSize = WIDE) -> AsyncGenerator[Page]:
    """The page once somebody typed the token."""
    async with at_the_door(page, call, size):
        await enter(page, token)
        yield page
        assert token not in page.url


async def enter(page: Page, token: str) -> None:
    await page.get_by_label("API token").fill(token)
    await page.get_by_label("API token").press("Enter")
    await expect(page.locator("#connection")).to_contain_text("live")


@pytest.mark.long
async def test_an_empty_fleet_says_what_to_do(screen: Page, fleet: Fleet) -> None:
    async with fleet.world.serving() as call, looking(screen, call) as page:
        await expect(page.locator("#no-vms")).to_contain_text("poolmgr-worker run")
        await expect(page.locator("#no-bots")).to_be_visible()
        await expect(page.locator("#enough")).to_contain_text("No bot was given a worker in the last hour.")
        await expect(page.locator("#connection")).to_have_text("live · nobody leads")


@pytest.mark.long
async def test_a_wrong_token_is_refused_and_not_kept(screen: Page, fleet: Fleet) -> None:
    async with fleet.world.serving() as call, at_the_door(screen, call) as page:
        await expect(page.get_by_label("API token")).to_be_focused()
        await page.keyboard.type("pm_guessed")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("not known")
        assert await page.evaluate("() => sessionStorage.length") == 0


async def test_three_vms_and_a_bot_with_a_hostile_name(screen: Page, fleet: Fleet) -> None:
    await fleet.grow(3)
    await fleet.hand.enter("b1", bot_name=HOSTILE)
    async with fleet.world.serving() as call, looking(screen, call) as page:
        await expect(page.locator("#vms tbody tr")).to_have_count(3)
        await expect(page.locator("#vms tbody tr").first).to_contain_text("1 warming, 3 idle, 1 busy")
        await expect(page.locator("#bots tbody th a")).to_have_text(HOSTILE)
        await expect(page.locator("#enough")).to_contain_text("Yes: in the last hour 1 of 1 bots found an idle worker")
        await expect(page.locator("#enough")).to_contain_text("room for 9 more workers")
        await page.locator("#bots tbody th a").press("Enter")
        await expect(page.locator("#detail h1")).to_have_text(HOSTILE)
        await expect(page.locator("#detail h1")).to_be_focused()
        await expect(page.locator("ol.story li").first).to_contain_text("accepted")
        await page.get_by_role("button", name="Have it leave").press("Enter")
        await page.locator("#ask-yes").press("Enter")
        await wait_until(lambda: fleet.world.redis.xlen(fleet.world.keys.control))
        await fleet.hand.end("b1", Reason.BROWSER_CRASHED)
        await expect(page.locator("#detail")).to_contain_text("our doing")
        await expect(page.get_by_role("button", name="Have it leave")).to_have_count(0)
        await page.get_by_label("Search").fill("vm-2")
        await page.get_by_label("Search").press("Enter")
        await page.get_by_role("link", name="vm-2").click()
        await expect(page.locator("#detail")).to_contain_text("Workers (5)")
        await page.get_by_role("button", name="Drain").click()
        await page.get_by_role("button", name="Cancel").click()
        assert await page.locator("img").count() == 0
        assert "owned" not in await page.title()


@pytest.mark.long
async def test_a_reader_finds_no_buttons(screen: Page, fleet: Fleet) -> None:
    await fleet.grow(1)
    await fleet.hand.enter("b1")
    async with fleet.world.serving() as call, looking(screen, call, READER) as page:
        for address, shows in (("#/bot/b1", "What happened"), ("#/vm/vm-0", "Workers (5)")):
            await page.evaluate("(to) => { location.hash = to; }", address)
            await expect(page.locator("#detail")).to_contain_text(shows)
            assert await page.locator("#detail button").count() == 0


MIDDLE = """async (image) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d");
  try { canvas.drawImage(await createImageBitmap(image), -20, -20); } catch { return null; } // the next one just came
  return [...canvas.getImageData(0, 0, 1, 1).data];
}"""


@pytest.mark.long
async def test_who_may_looks_at_what_a_bot_sees_for_as_long_as_the_page_of_the_bot_is_open(
    screen: Page, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the agent's own eyes, a real page and a real Redis, which keeps nothing of it."""
    await fleet.hand.enter("b1", bot_name="Looked at")
    redis, keys = fleet.world.redis, fleet.world.keys
    seen = await screen.context.new_page()
    await seen.set_content("<body style='background: rgb(0, 200, 0)'>")
    monkeypatch.setattr(onlookers, "DEADLINE_S", 60.0)  # of a machine that does ten other things
    looks = Looks(fleet.world.settings.redis, "vm-a")
    there = Onlookers(looks, lambda bot_id: Looked("w1", seen) if bot_id == "b1" else None)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(there.run())
        async with fleet.world.serving() as call, looking(screen, call, LOOKER) as page:
            before = {key async for key in redis.scan_iter(f"{keys.prefix}:*")}
            await page.evaluate("() => { location.hash = '#/bot/b1'; }")
            await page.get_by_role("button", name="Look at its page").press("Enter")
            await expect(page.locator("#ask")).to_contain_text("It is written down that you looked")
            await page.locator("#ask-yes").press("Enter")
            picture = page.get_by_alt_text("What Looked at shows now")
            await expect(picture).to_be_visible(timeout=60_000)
            red, green, blue, _ = await wait_until(lambda: picture.evaluate(MIDDLE))
            assert (red < 20, 180 < green < 220, blue < 20) == (True, True, True)
            assert {key async for key in redis.scan_iter(f"{keys.prefix}:*")} - before == {keys.actions.encode()}
            await page.evaluate("() => { location.hash = '#/'; }")
            await wait_until(lambda: there.looked_at == [])
        running.cancel()
    await looks.close()
    await seen.close()


@pytest.mark.long
async def test_a_thousand_vms_are_there_at_once_and_change_as_they_are(
    screen: Page, fleet: Fleet, record_property: Callable[[str, object], None]
) -> None:
    await fleet.grow(1000, bots=60)
    await fleet.world.redis.delete(fleet.world.keys.alive("vm-777"))
    async with fleet.world.serving() as call, looking(screen, call) as page:
        await expect(page.locator("#vms tbody tr")).to_have_count(100)
        await expect(page.locator("#vms tbody tr").first).to_contain_text("vm-777")  # the sick ones first
        await expect(page.locator("#numbers")).to_contain_text("999 of 1000")
        await expect(page.locator("#enough")).to_contain_text("Not now: 60 bots wait for a worker. Nobody leads")
        await page.evaluate("() => { location.hash = '#/vm/vm-777'; }")
        await expect(page.locator("#detail")).to_contain_text("Nothing was heard of its agent")
        await page.go_back()
        await page.reload()
        rows_at = await wait_until(lambda: page.evaluate(ROWS_AT))
        first_paint = await wait_until(lambda: page.evaluate(FIRST_PAINT))
        record_property("first_paint_ms", round(first_paint))
        record_property("rows_ms", round(rows_at))
        print(f"first paint {first_paint:.0f} ms, rows by {rows_at:.0f} ms")
        assert first_paint < 300 or os.getloadavg()[0] > 1.5  # of a machine that has time for it
        await page.get_by_role("button", name="Show more").click()
        await expect(page.locator("#vms tbody tr")).to_have_count(300)
        await fleet.hand.enter("late", bot_name="Late one")
        await expect(page.locator("#bots tbody tr").first).to_contain_text("Late one")


FRAMES = """() => {
  const frames = (globalThis.frames_ = [[0, 0]]);
  const rows = (id) => document.querySelectorAll(`#${id} tbody tr`).length;
  const look = () => { frames.push([rows("vms"), rows("bots")]); requestAnimationFrame(look); };
  requestAnimationFrame(look);
}"""
FETCHED = """() => performance.getEntriesByType("resource")
  .filter((one) => one.transferSize && /[.](js|css)/.test(one.name)).map((one) => one.name)"""


@pytest.mark.long
async def test_no_frame_of_a_large_fleet_has_much_to_do_and_nothing_is_waited_for_that_is_not_needed(
    screen: Page, fleet: Fleet
) -> None:
    await fleet.grow(1000, bots=100)
    async with fleet.world.serving() as call, looking(screen, call) as page:
        await expect(page.locator("#bots tbody tr")).to_have_count(100)
        told: list[str] = []

        def asks(request: Request) -> None:
            told.append(f"asked {URL(request.url).path}")

        def answers(answer: Response) -> None:
            told.append(f"answered {URL(answer.url).path}")

        page.on("request", asks)
        page.on("response", answers)
        async with await page.add_init_script(f"({FRAMES})()"):
            await page.reload()
            await expect(page.locator("#vms tbody tr")).to_have_count(100)
            await expect(page.locator("#bots tbody tr")).to_have_count(100)
            frames = await page.evaluate("() => frames_")
        page.remove_listener("request", asks)
        page.remove_listener("response", answers)
        made = [max(later[n] - before[n] for n in (0, 1)) for before, later in pairwise(frames)]
        assert max(made) <= 40
        assert told.index("asked /page/live") < told.index("answered /page/me")
        assert await page.evaluate(FETCHED) == []  # they are here from before


@pytest.mark.long
async def test_a_cut_line_is_shown_as_cut_and_goes_on_with_what_came_and_went_meanwhile(
    screen: Page, fleet: Fleet
) -> None:
    await fleet.grow(45)
    async with fleet.world.serving() as call, looking(screen, call) as page:
        await expect(page.locator("#vms tbody tr")).to_have_count(45)
        await page.get_by_role("link", name="vm-44").focus()
        await page.context.set_offline(True)
        await expect(page.locator("#connection")).to_contain_text("Cut off. What you see is of")
        await expect(page.locator("#vms tbody tr")).to_have_count(45)
        await fleet.world.redis.srem(fleet.world.keys.vms, "vm-43")
        await fleet.hand.accept("b1", bot_name="Meanwhile")
        await page.context.set_offline(False)
        await expect(page.locator("#connection")).to_contain_text("live")
        await expect(page.locator("#vms tbody tr")).to_have_count(44)
        await expect(page.locator("#bots tbody tr")).to_contain_text("Meanwhile")
        await expect(page.get_by_role("link", name="vm-44")).to_be_focused()


@pytest.mark.long
async def test_a_page_that_is_asked_for_while_the_line_is_cut_says_so_in_our_words_and_comes_later(
    screen: Page, fleet: Fleet
) -> None:
    await fleet.hand.enter("b1", bot_name="Asked for")
    async with fleet.world.serving() as call, looking(screen, call) as page:
        await page.context.set_offline(True)
        await page.evaluate("() => { location.hash = '#/bot/b1'; }")
        await expect(page.locator("#detail")).to_contain_text("The manager does not answer.")
        await page.context.set_offline(False)
        await expect(page.locator("#detail h1")).to_have_text("Asked for")


@pytest.mark.long
async def test_whoever_leads_the_page_of_each_manager_says_who_and_that_of_one_that_is_gone_that_it_is(
    screen: Page, fleet: Fleet
) -> None:
    api, metrics = free_ports(2)
    settings = fleet.world.settings
    second = msgspec.structs.replace(
        settings,
        api=msgspec.structs.replace(settings.api, listen=f"127.0.0.1:{api}"),
        metrics=msgspec.structs.replace(settings.metrics, listen=f"127.0.0.1:{metrics}"),
    )
    async with asyncio.TaskGroup() as group:
        async with AsyncExitStack() as of_first:
            call = await of_first.enter_async_context(fleet.world.leading())
            standby = group.create_task(Manager(second).run(asyncio.Event()), name="standby")
            await wait_until(lambda: listens(api))
            first = await of_first.enter_async_context(looking(screen, call))
            there = Caller(f"http://127.0.0.1:{api}", call._session, TOKEN)  # pyright: ignore[reportPrivateUsage]
            async with looking(await screen.context.new_page(), there) as page:
                await expect(page.locator("#connection")).to_contain_text("epoch")
                before = await page.locator("#connection").inner_text()
                assert before == await first.locator("#connection").inner_text()
                leaders = [task for task in asyncio.all_tasks() if task.get_name() == "manager"]
                for leader in leaders:
                    leader.cancel()
                await expect(first.locator("#connection")).to_contain_text("Cut off")
                await expect(page.locator("#connection")).to_contain_text("leads")
                await expect(page.locator("#connection")).not_to_have_text(before)
            await page.close()
        standby.cancel()


ADDRESSES = ("#/", "#/bot/b1", "#/bot/nobody", "#/vm/vm-0", "#/search/vm", "#/see/probes", "#/see/actions")


async def fill(fleet: Fleet) -> None:
    """Something is on every page."""
    probed = ProbesSettings(links=[ProbeSettings("meet", LINK), ProbeSettings("none", LINK)])
    fleet.world.settings = msgspec.structs.replace(fleet.world.settings, probes=probed)
    await fleet.grow(3)
    await fleet.hand.enter("b1", bot_name="x" * 90)
    await fleet.hand.enter("b2", bot_name="Ended")
    await fleet.hand.end("b2", Reason.BROWSER_CRASHED)
    probes = Probes(fleet.world.redis, fleet.world.keys, epoch=1)
    for number, outcome in enumerate(("joined", "refused", "joined")):
        run = ProbeRun(f"probe-meet-{number}", "2027-01-15T08:00:00Z", "room", outcome, "request_denied")
        await probes.conclude("meet", msgspec.structs.replace(run, changed=number == 2, new_steps=["lobby (by-text)"]))
    await fleet.world.views.request(DrainRequested("vm-1"), By("ana@bastion", Way.COMMAND_LINE))


@pytest.mark.long
async def test_probes_and_who_did_what_have_pages_of_their_own(screen: Page, fleet: Fleet) -> None:
    await fill(fleet)
    async with fleet.world.serving() as call, looking(screen, call) as page:
        await page.get_by_role("link", name="Probes").press("Enter")
        await expect(page.locator("#detail h1")).to_be_focused()
        row = page.get_by_role("row", name="meet")
        await expect(row).to_contain_text("changed")
        await expect(row).to_contain_text("lobby (by-text)")
        await expect(row).to_contain_text("!r+")
        await expect(page.get_by_role("row", name="none")).to_contain_text("none yet")
        await page.go_back()
        await page.get_by_role("link", name="Who did what").press("Enter")
        await expect(page.get_by_role("row", name="ana@bastion")).to_contain_text("drain")
        await page.evaluate("() => { location.hash = '#/see/constructor'; }")
        await expect(page.locator("#detail")).to_contain_text("There is no such page.")


@pytest.mark.long
@pytest.mark.parametrize("width", [360, 1280])
async def test_nothing_is_found_that_keeps_anybody_from_using_it(screen: Page, fleet: Fleet, width: int) -> None:
    """By axe-core, with all its rules, those for good practice included; in the dark with those on colours."""
    await fill(fleet)
    async with fleet.world.serving() as call, at_the_door(screen, call, {"width": width, "height": 800}) as page:
        await expect(page.get_by_label("API token")).to_be_visible()
        found = {"door": await faults(page)}
        await enter(page, TOKEN)
        for address in ADDRESSES:
            await page.evaluate("(to) => { location.hash = to; }", address)
            await expect(page.locator("main section:visible h1")).to_be_visible()
            await expect(page.locator("#detail")).not_to_contain_text("Asking")
            found[address] = await faults(page)
        await page.evaluate("() => { location.hash = '#/bot/b1'; }")
        await page.get_by_role("button", name="Have it leave").click()
        await expect(page.locator("#ask")).to_be_visible()
        found["a question"] = await faults(page)
        await page.get_by_role("button", name="Cancel").click()
        await page.context.set_offline(True)
        await expect(page.locator("#connection")).to_contain_text("Cut off")
        found["cut off"] = await faults(page)
    assert {where: these for where, these in found.items() if these} == {}


COLOURS = ["color-contrast", "link-in-text-block"]
JUDGE = """async (rules) => {
  const found = await axe.run(document, { resultTypes: ["violations"], ...(rules && { runOnly: rules }) });
  const faults = found.violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => [id, html]));
  return [faults, found.passes.length + found.violations.length];
}"""


async def faults(page: Page) -> list[list[str]]:
    if not await page.evaluate("() => 'axe' in globalThis"):
        await page.evaluate(Axe().axe_script)  # half a megabyte: once for each document
    found: list[list[str]] = []
    schemes: tuple[tuple[Literal["light", "dark"], list[str] | None], ...] = (("light", None), ("dark", COLOURS))
    for scheme, rules in schemes:
        await page.emulate_media(color_scheme=scheme)
        more, tried = await page.evaluate(JUDGE, rules)
        assert tried, "of these rules some apply to every page"
        found += more
    return found


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_is_readable_on_a_narrow_screen(screen: Page, fleet: Fleet, scheme: Literal["light", "dark"]) -> None:
    await fill(fleet)
    async with fleet.world.serving() as call, looking(screen, call, size=NARROW) as page:
        await page.emulate_media(color_scheme=scheme)
        await expect(page.locator("#bots tbody tr")).to_have_count(2)
        for address in ADDRESSES:
            await page.evaluate("(to) => { location.hash = to; }", address)
            await expect(page.locator("main section:visible h1")).to_be_visible()
            assert await page.evaluate("() => document.documentElement.scrollWidth") <= 360, address
        if folder := os.environ.get("POOLMGR_PICTURES"):
            await page.screenshot(path=Path(folder) / f"narrow-{scheme}.png")


@pytest.mark.long
async def test_a_finished_recording_is_shown_at_a_glance(screen: Page, fleet: Fleet, tmp_path: Path) -> None:
    capture = CaptureSettings(store=str(tmp_path / "store"))
    fleet.world.settings = msgspec.structs.replace(fleet.world.settings, capture=capture)
    folder = tmp_path / "store" / "b1" / "1"
    folder.mkdir(parents=True)
    strip = strip_of([Stream(film(tmp_path / "film", 5), 0.0, [], 30.0)], tmp_path / "out.mp4").save(
        folder / THUMBNAILS
    )
    assert strip
    (folder / WAVEFORM).write_bytes(msgspec.json.encode(Peaks(0.1, [0.5, 0.0, 0.25], [0.0, 1.0, 0.25])))
    made = Manifest(
        *(1, "b1", 1, "room", 0.0, 30.0, True),
        kinds=("audio", "video"),
        audio=Audio(AUDIO, 4, "0f" * 32, 0.3),
        video=Video(VIDEO, 10, "0f" * 32, 30.0, "vp9", 64, 48, 5, 0.2),
        waveform=Waveform(WAVEFORM, 99, "0f" * 32, 3, 0.1),
        thumbnails=Thumbnails(THUMBNAILS, 99, "0f" * 32, strip.count, strip.width, strip.height, strip.every_s),
    )
    (folder / FINAL).write_bytes(manifest.encode(made))
    await fleet.hand.enter("b1", bot_name="Recorded")
    await fleet.hand.end("b1")
    done = {"manifest_status": "completed", "audio_status": "processed", "video_status": "processed", "video": "1"}
    await fleet.world.redis.hset(fleet.world.keys.bot("b1"), mapping=done)
    async with fleet.world.serving() as call, looking(screen, call, READER) as page:
        await page.evaluate("() => { location.hash = '#/bot/b1'; }")
        drawn = page.get_by_role("img", name="Sound, 0.3 s: left above, right below")
        await expect(drawn.locator("polygon")).to_have_attribute("points", "0,15.5 1,30 2,22.75 2,37.25 1,59 0,30")
        strip_shown = page.get_by_alt_text("Small pictures of the video")
        await expect(strip_shown).to_be_visible()
        assert await strip_shown.evaluate("(image) => image.naturalWidth") == 160 * strip.count
        assert await faults(page) == []
        (folder / WAVEFORM).unlink()
        await page.reload()
        await expect(page.locator(".recording")).to_contain_text("The store of recordings does not answer")
        await expect(strip_shown).to_be_visible()
