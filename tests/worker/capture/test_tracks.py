"""The packets of each sound track, beside the whole sound: a file of each, where a page lets them be taken; and a page
that does not goes on as without.
"""

import struct
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page

from common.config.settings import LiveSettings
from common.runtime.recordings.manifests import so_far
from common.wire.manifest import SoundTrack
from common.wire.messages import BotStreamed, Feeds, Leave, ParticipantsSeen
from common.wire.packets import Line
from common.wire.vocabulary import FeedStatus, Reason
from lab.recorded.received import RATE, level, listen, tone
from tests.fork_server import ForkServer
from tests.waiting import wait_until
from tests.worker.capture.conftest import TONES, Recorded, finished, go_in, harness_of, somebody_in, story
from tests.worker.capture.test_pictures import page_of
from tests.worker.live.conftest import AT_HOME, Reader, reading, sent_to
from tests.worker.test_agent import machine_with
from tests.worker.visits import serving
from worker.capture.tracks import equip
from worker.chromium.driver import Driver
from worker.live.feeds import LiveFeeds

pytestmark = pytest.mark.asyncio(loop_scope="session")

OTHERS: Final = (1500, 2000)
STEADY: Final = "quieter.gain.value = 0.25;"
IN_TURN: Final = (
    "setInterval(() => {{ quieter.gain.value = Math.floor(Date.now() / 2500) % 2 === {} ? 0.25 : 0; }}, 50);"
)
TAKEN: Final = "take the packets of each participant's sound, too"


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path, tracks=True)


@pytest.mark.long
async def test_each_who_speaks_has_a_file_with_nobody_elses_sound_and_is_named_live(
    recorded: Recorded, driver: Driver, room: str, somebodys: Browser
) -> None:
    ann, ben = (TONES.replace(STEADY, IN_TURN.format(place)) for place in (0, 1))
    ben = ben.replace("440, 1000", ", ".join(map(str, OTHERS)))
    record, outbox = recorded.recordings.record, recorded.minutes_outbox
    streamed: list[BotStreamed] = []
    feeds = LiveFeeds("vm1", LiveSettings(), AT_HOME, record, streamed.append, outbox)
    async with (
        reading(reader := Reader()),
        somebody_in(somebodys, room, ann),
        somebody_in(somebodys, room, ben, name="Ben"),
        feeds,
        harness_of(recorded, driver, room, feeds.serve) as harness,
    ):
        await harness.warm()
        harness.pool.begin(sent_to(harness, Feeds(audio_url=reader.url)))
        await wait_until(lambda: recorded.reports and recorded.packets)
        feeds.note(*await wait_until(lambda: harness.seen(ParticipantsSeen)))

        async def both_spoke_twice() -> bool:
            spoke = Counter(turn.speaker for turn in await outbox.find_turns("b1", 1))
            return spoke["Ann"] > 1 and spoke["Ben"] > 1 and {"Ann", "Ben"} <= {frame.name for frame in reader.frames}

        await wait_until(both_spoke_twice)
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        await harness.gone()
    assert TAKEN in story(harness)
    made = await finished(recorded)
    assert [gap for gap in made.gaps if gap.cause != "late"] == []
    assert rtp_steps(recorded) == {RATE // 50}, "none is missing, however busy the machine"
    heard_of: dict[int, SoundTrack] = {}
    for track in made.tracks:
        heard = listen(recorded.file(track.path))
        assert heard.duration_s == pytest.approx(track.duration_s, abs=0.05)
        for mine, theirs in (((440, 1000), OTHERS), (OTHERS, (440, 1000))):
            if heard.tones(mine[0], clearest := heard.clearest(*mine))[0] < -20:
                continue
            heard_of[mine[0]] = track
            assert heard.tones(mine[0], clearest)[0] - heard.tones(mine[0], clearest)[1] > 30
            assert max(heard.tones(hz, clearest)[0] for hz in theirs) < -45
        assert level(heard.left) > 0.05
        if track.speaker:  # which one a machine cannot tell that marks later than by a whole turn
            assert (track.share >= 0.75, track.turns) == (True, [])
            assert track.speaker_id in {person.id for seen in harness.seen(ParticipantsSeen) for person in seen.joined}
    assert set(heard_of) == {440, 1500}
    assert_heard_by_track(reader, heard_of, streamed)


def assert_heard_by_track(reader: Reader, heard_of: dict[int, SoundTrack], streamed: Sequence[BotStreamed]) -> None:
    """What was sent live is one person's at a time, and nothing was sent twice."""
    ids = {track.id for track in heard_of.values()}
    by_track = [frame for frame in reader.frames if frame.name or frame.speaker_id in ids]
    assert len(reader.frames) - len(by_track) < 30, "the whole meeting's sound only until tracks came"
    for frame in by_track:
        samples = [sample / 32768 for (sample,) in struct.iter_unpack("<h", frame.pcm)]
        assert min(tone(samples, hz) for hz in (440, OTHERS[0])) < -45
    sent_s = sum(len(frame.pcm) for frame in by_track) / 2 / RATE
    recorded_s = sum(track.packets * 0.02 for track in heard_of.values())
    assert recorded_s * 0.6 < sent_s < recorded_s + 1.6
    assert (streamed[-1].status, streamed[-1].dropped) == (FeedStatus.ENDED, 0)


@pytest.mark.long
async def test_a_pause_is_a_gap_of_the_tracks_too(
    recorded: Recorded, driver: Driver, room: str, somebody: Page
) -> None:
    async with harness_of(recorded, driver, room) as harness:
        await go_in(harness)
        await wait_until(lambda: recorded.reports and recorded.packets)
        recorded.recordings.pause("b1", 1, paused=True)
        page = page_of(harness)

        async def is_stopped() -> bool:
            return (await page.evaluate("poolmgrTracks.pull({ confirmed: 0, wanted: 0 })"))["part"] is None

        await wait_until(is_stopped)
        recorded.recordings.pause("b1", 1, paused=False)
        await wait_until(lambda: recorded.parts_of("tracks") == 2)
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        await harness.gone()
    made = await finished(recorded)
    assert sorted(gap.kind for gap in made.gaps if gap.cause == "paused") == ["audio", "tracks"]
    assert len(made.tracks) == 2


@pytest.mark.long
async def test_what_is_said_while_the_agent_is_dead_is_not_missing(
    fork_server: ForkServer, redis_server: str, prefix: str, tmp_path: Path, somebodys: Browser
) -> None:
    recorded = Recorded(tmp_path)
    async with machine_with(fork_server, redis_server, prefix, tmp_path) as machine:
        machine.environment["POOLMGR_CAPTURE__STORE"] = recorded.settings.store
        machine.environment["POOLMGR_CAPTURE__TRACKS"] = "true"
        async with somebody_in(somebodys, machine.meeting):
            agent = await machine.agent()
            await agent.enter("w1", "b1")
            await wait_until(lambda: recorded.packets)
            await agent.kill()
            before = len(recorded.packets)
            successor = await machine.agent()
            await successor.logged("worker_adopted")
            await wait_until(lambda: len(recorded.packets) > before + 1)
            await successor.order(Leave("w1", "b1", 1))
            await successor.ended("b1")
    found = await so_far(recorded.store, "b1/1")
    assert [part.number for part in found.parts if part.kind == "tracks"] == [0]
    assert [gap for gap in found.gaps if gap.kind == "tracks" and gap.cause != "late"] == []
    assert rtp_steps(recorded) == {RATE // 50}, "none is missing"


def rtp_steps(recorded: Recorded) -> set[int]:
    """By how much each stored packet of a track is later than the one before it. What a busy sender does not send is no
    step: its RTP time stands still then.
    """
    times: defaultdict[int, set[int]] = defaultdict(set)  # some are sent twice
    for path in recorded.packets:
        for line in path.read_bytes().splitlines():
            for of in msgspec.json.decode(line, type=Line).tracks:
                times[of.track].update(rtp for _, rtp, _ in of.packets)
    return {after - before for each in times.values() for before, after in pairwise(sorted(each))}


# What a page allows

CALL: Final = """async (configuration) => {
  const context = new AudioContext();
  const [tone, sent] = [context.createOscillator(), context.createMediaStreamDestination()];
  tone.connect(sent);
  tone.start();
  const [sender, receiver] = [new RTCPeerConnection(), new RTCPeerConnection(configuration)];
  sender.onicecandidate = ({ candidate }) => candidate && receiver.addIceCandidate(candidate);
  receiver.onicecandidate = ({ candidate }) => candidate && sender.addIceCandidate(candidate);
  globalThis.own = 0;
  receiver.ontrack = ({ receiver: of, track }) => {
    if (configuration.encodedInsertableStreams) {
      const { readable, writable } = of.createEncodedStreams();
      const count = new TransformStream({ transform(frame, passed) { own += 1; passed.enqueue(frame); } });
      readable.pipeThrough(count).pipeTo(writable);
    }
    new Audio().srcObject = new MediaStream([track]);
    context.createMediaStreamSource(new MediaStream([track])).connect(context.createAnalyser());
  };
  sent.stream.getTracks().forEach((track) => sender.addTrack(track, sent.stream));
  await sender.setLocalDescription();
  await receiver.setRemoteDescription(sender.localDescription);
  await receiver.setLocalDescription();
  await sender.setRemoteDescription(receiver.localDescription);
  globalThis.played = async () => {
    const reports = [...(await receiver.getStats()).values()];
    const { totalSamplesReceived = 0, concealedSamples = 0 } = reports.find(({ type }) => type === "inbound-rtp") ?? {};
    return totalSamplesReceived - concealedSamples;
  };
}"""
STRICT: Final = "default-src 'none'; script-src 'self'; connect-src 'self'"
TRUSTED: Final = f"{STRICT}; require-trusted-types-for 'script'"


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncGenerator[str]:
    """Pages with the policy that their query names."""

    async def page(request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": request.query["policy"]}
        return web.Response(text="<!doctype html><title>Meeting</title>", content_type="text/html", headers=headers)

    app = web.Application()
    app.router.add_get("/meeting", page)
    async with serving(app) as address:
        yield f"{address}/meeting"


@pytest.mark.parametrize(
    ("policy", "configuration", "why"),
    [
        pytest.param(STRICT, {}, "", id="strict", marks=pytest.mark.long),  # which the next one is, too
        pytest.param(TRUSTED, {}, "", id="trusted types"),
        pytest.param(
            f"{TRUSTED}; trusted-types page", {}, "allows no Worker", id="named trusted types", marks=pytest.mark.long
        ),
        pytest.param(f"{STRICT}; worker-src 'none'", {}, "does not let the Worker's script load", id="no workers"),
        pytest.param(
            STRICT,
            {"encodedInsertableStreams": True},
            "transforms packets itself",
            id="its own",
            marks=pytest.mark.long,
        ),
    ],
)
async def test_a_page_plays_what_it_receives_whether_it_lets_packets_be_taken_or_not(
    own_page: Page, site: str, policy: str, configuration: dict[str, bool], why: str
) -> None:
    await equip(own_page)
    await own_page.goto(f"{site}?policy={policy}")

    async def said(what: str, given: dict[str, Any]) -> dict[str, Any]:
        return await own_page.evaluate("([what, given]) => poolmgrTracks[what](given)", [what, given])

    async def is_settled() -> bool:
        return "has not loaded yet" not in (await said("pull", {"confirmed": 0, "wanted": 9}))["why"]

    async def plays() -> bool:
        return await own_page.evaluate("played()") > 0.2 * 48_000

    await wait_until(is_settled)
    started = await said("start", {"part": 0, "seq": 3})
    await own_page.evaluate(CALL, configuration)
    await wait_until(plays)
    pulled = await said("pull", {"confirmed": 0, "wanted": 9})
    assert why in pulled["why"]
    assert bool(pulled["why"]) is bool(why)
    if configuration:
        assert await own_page.evaluate("own") > 0, "the page's own transform is left alone"
    if why:
        assert all('"tracks":[]' in chunk["text"] for chunk in pulled["chunks"])
        return
    assert started["part"] == 0

    async def second_chunk() -> dict[str, Any] | None:
        chunks = (await said("pull", {"confirmed": 4, "wanted": 9}))["chunks"]
        return chunks[0] if chunks else None

    second = await wait_until(second_chunk)
    assert second
    assert second["seq"] == 4, "what is confirmed is not given again"

    async def took() -> bool:
        chunks = (await said("pull", {"confirmed": 4, "wanted": 9}))["chunks"]
        return any('"packets":[[' in chunk["text"] for chunk in chunks)

    await wait_until(took)
