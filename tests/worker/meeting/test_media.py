"""What a page's connections received, as it is read off the page; and that the page cannot tell that it is."""

from typing import Any, Final

import pytest
from playwright.async_api import Browser, Page

from common.wire.vocabulary import Reason
from lab.meeting.server import create_app
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.visits import Site, bot_at, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Two ends of one connection in a page: `tone` is heard at the other end, or messages come over a channel.
PAIR: Final = """async (what) => {
  const [from, to] = [new RTCPeerConnection(), new RTCPeerConnection()];
  const tell = (other) => ({ candidate }) => candidate && other.addIceCandidate(candidate);
  from.onicecandidate = tell(to);
  to.onicecandidate = tell(from);
  if (what === "tone") {
    const context = new AudioContext({ sinkId: { type: "none" } });
    const [tone, sent] = [context.createOscillator(), context.createMediaStreamDestination()];
    tone.connect(sent);
    tone.start();
    to.ontrack = ({ streams }) => {
      const sound = new Audio();
      sound.srcObject = streams[0];
      sound.play();
      (globalThis.sounds ??= []).push(sound);
    };
    from.addTrack(sent.stream.getTracks()[0], sent.stream);
  } else {
    const channel = from.createDataChannel("media");
    channel.onopen = () => setInterval(() => channel.readyState === "open" && channel.send("sample"), 50);
  }
  await from.setLocalDescription(await from.createOffer());
  await to.setRemoteDescription(from.localDescription);
  await to.setLocalDescription(await to.createAnswer());
  await from.setRemoteDescription(to.localDescription);
  (globalThis.pairs ??= []).push(from, to);
}"""


async def read(page: Page) -> dict[str, Any]:
    return await page.evaluate("poolmgrMedia.read()")


async def until(page: Page, condition: str) -> dict[str, Any]:
    asked = f"(() => {{ const now = poolmgrMedia.read(); return {condition}; }})()"
    await page.wait_for_function(asked, polling=100, timeout=PATIENCE_S * 1000)
    return await read(page)


async def test_a_page_cannot_tell_its_connections_from_the_browsers_own(page: Page, site: Site) -> None:
    await page.goto(site.page(""))
    assert await page.evaluate("""() => {
        const connection = new RTCPeerConnection({ iceServers: [] });
        class Own extends RTCPeerConnection {}
        return [
          connection instanceof RTCPeerConnection,
          connection.constructor.name,
          new Own() instanceof Own,
          RTCPeerConnection.prototype === Object.getPrototypeOf(connection),
          typeof RTCPeerConnection.generateCertificate,
          RTCPeerConnection.name,
          connection.constructor === RTCPeerConnection,
          webkitRTCPeerConnection === RTCPeerConnection,
          Object.keys(globalThis).includes("RTCPeerConnection"),
          Object.keys(RTCPeerConnection.prototype).includes("constructor"),
          (() => { try { return RTCPeerConnection(); } catch (error) { return error instanceof TypeError; } })(),
        ];
    }""") == [True, "RTCPeerConnection", True, True, "function", "RTCPeerConnection", True, True, False, False, True]


async def test_a_page_that_wraps_its_connections_or_throws_its_clock_away_is_heard_all_the_same(
    page: Page, site: Site
) -> None:
    await page.goto(site.page(""))
    await page.evaluate("""() => {
        for (const name of ["getStats", "getReceivers"]) {
          RTCPeerConnection.prototype[name] = () => { globalThis.found = name; throw new Error(name); };
        }
        delete globalThis.performance;
    }""")
    await page.evaluate(PAIR, "tone")
    await until(page, "now.audio_s > 0")
    assert await page.evaluate("globalThis.found") is None


@pytest.mark.long
async def test_a_connection_of_channels_only_that_does_not_come_about_is_none(page: Page, site: Site) -> None:
    await page.goto(site.page(""))
    await page.evaluate("""async () => {
        globalThis.connections = { channel: new RTCPeerConnection(), media: new RTCPeerConnection() };
        connections.channel.createDataChannel("media");
        connections.media.addTransceiver("audio");
        globalThis.begin = async (from) => {
          const to = new RTCPeerConnection();
          const found = new Promise((resolve) => { to.onicecandidate = ({ candidate }) => resolve(candidate); });
          await from.setLocalDescription();
          await to.setRemoteDescription(from.localDescription);
          await to.setLocalDescription();
          const [answer, candidate] = [to.localDescription, await found];
          to.close();
          await from.setRemoteDescription(answer);
          await from.addIceCandidate(candidate);
        };
        await begin(connections.channel);
    }""")
    await page.wait_for_function("connections.channel.connectionState === 'connecting'", polling=100)
    assert (await read(page))["media"] == ""
    await page.evaluate("begin(connections.media)")
    await until(page, "now.media === 'connecting'")


NOTHING: Final = {"audio_packets": 0, "media_packets": 0, "audio_energy": None, "audio_s": 0, "media": ""}


async def test_a_page_that_connects_to_nobody_received_nothing(page: Page, site: Site) -> None:
    await page.goto(site.page(""))
    assert await read(page) == NOTHING
    await page.evaluate("() => { globalThis.unused = new RTCPeerConnection(); }")
    assert await read(page) == NOTHING, "one that was never begun is none"


@pytest.mark.long
async def test_what_is_heard_has_a_level_and_outlives_its_connection(page: Page, site: Site) -> None:
    await page.goto(site.page(""))
    await page.evaluate(PAIR, "tone")
    heard = await until(page, "now.audio_s > 1 && now.audio_energy > 0.1")
    assert heard["media"] == "connected"
    assert heard["media_packets"] == heard["audio_packets"] > 0
    assert 0.1 < (heard["audio_energy"] / heard["audio_s"]) ** 0.5 < 1
    await page.evaluate(PAIR, "tone")
    both = await until(page, f"now.audio_s > {heard['audio_s'] + 1}")
    grown = {name: both[name] - heard[name] for name in ("audio_energy", "audio_s", "audio_packets")}
    assert grown["audio_packets"] > 1.3 * 50 * grown["audio_s"], "two at once last as long as one"
    await page.evaluate("pairs.forEach((connection) => connection.close())")
    after = await until(page, "now.media === ''")
    assert after["audio_packets"] >= both["audio_packets"]
    assert after["audio_energy"] >= both["audio_energy"]


@pytest.mark.long
async def test_frames_of_the_same_origin_are_heard_too_and_leave_what_they_received(page: Page, site: Site) -> None:
    await page.goto(
        site.page(f"""
      const frame = document.createElement("iframe");
      frame.src = "{site.page("")}";
      document.body.append(frame);
    """)
    )
    frame = page.frames[-1]
    await frame.wait_for_function("globalThis.poolmgrMedia")
    await frame.evaluate(PAIR, "tone")
    heard = await until(page, "now.audio_packets > 10")
    assert heard["media"] == "connected"
    await page.evaluate("document.querySelector('iframe').remove()")
    gone = await until(page, "now.media === ''")
    assert gone["audio_packets"] >= heard["audio_packets"]


@pytest.mark.long
async def test_what_comes_over_the_channels_of_a_connection_without_media_counts(page: Page, site: Site) -> None:
    await page.goto(site.page(""))
    await page.evaluate(PAIR, "channel")
    received = await until(page, "now.media_packets > 2")
    assert (received["audio_packets"], received["audio_energy"], received["media"]) == (0, None, "connected")


async def test_a_bot_hears_the_others_in_the_real_room(page: Page, browser: Browser) -> None:
    async with serving(create_app("key", no_lobby=True)) as address:
        speaker = await browser.new_context(permissions=["microphone"])
        try:
            speaking = await speaker.new_page()
            await speaking.goto(f"{address}/r/demo?name=Ann")
            await speaking.locator("#camera").uncheck()
            await speaking.locator("#join").click()
            await speaking.locator("#in-meeting").wait_for()
            async with bot_at(page, f"{address}/r/demo") as bot:
                heard = await bot.until_heard()
                assert heard.participants == 2
                await wait_until(lambda: (bot.kept[-1].received.energy or 0) > 0)
                bot.session.leave(Reason.USER_REQUESTED)
                ended = await bot.end()
            assert ended.audio_packets >= heard.audio_packets > 0
            await speaking.locator("#participants li").nth(1).wait_for(state="detached")
        finally:
            await speaker.close()
