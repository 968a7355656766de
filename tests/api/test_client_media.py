"""The published client, unmodified, and a meeting that was recorded: sound, picture, tracks, words and speakers. The
files are made by an agent as it makes them. What the client downloads is decoded.
"""

import asyncio
import io
from pathlib import Path
from typing import Any, Final

import av
import msgspec
import pytest
import requests
from meetstream import AsyncMeetStream, MeetStream

from common.wire import minutes
from common.wire.manifest import Kind, Manifest
from common.wire.messages import BotRecorded, BotTranscribed
from common.wire.minutes import CAPTIONS, SPEAKERS, TRANSCRIPT, Minutes, Turn, Utterance
from poolmgr.core.decisions import NoteRecorded
from tests.api.conftest import TOKEN, World
from tests.api.test_client import Both
from tests.worker.capture.conftest import Recorded
from tests.worker.capture.left import MAKING_S, TEN_S, finish
from tests.worker.capture.making.test_picture import FPS, film
from tests.worker.capture.test_making_tracks import line, tone
from worker.capture.progress import Began, Chunk, Closed, Opened
from worker.capture.spool import Spool, name_of

pytestmark = pytest.mark.timeout(2 * MAKING_S)

KINDS: Final[tuple[Kind, ...]] = ("audio", "video", "tracks")
PICTURES: Final = 9 * FPS
BEGAN_AT: Final = 1000.0
SAID: Final = Minutes(
    *(1, "b1", 1, "room", BEGAN_AT, CAPTIONS),
    [Utterance("Ann", "Good morning.", 1002.0, 1003.5), Utterance("Ben", "Hello.", 1004.0, 1005.0)],
)
SPOKEN: Final = Minutes(1, "b1", 1, "room", BEGAN_AT, turns=[Turn("p1", "Ann", 1002.0, 1003.5)])


def spooled(folder: Path) -> Recorded:
    """An agent with ten seconds of sound, nine of picture and three of a track, and a store with what was said."""
    recorded = Recorded(folder)
    spool = Spool.create(recorded.folder / name_of("b1", 1), Opened("b1", 1, "room", BEGAN_AT, KINDS))
    picture = Path(film(folder / "picture.ivf", PICTURES)).read_bytes()
    sent = [((1002 + at * 0.02) * 1000, at * 960, data) for at, data in enumerate(tone(3.0))]
    packets = msgspec.json.encode(line(0, sent)) + b"\n"
    spool.append(
        [
            (Began(0, 1000.5), Chunk(0, 1010.5, 0.0, len(TEN_S)), TEN_S),
            (Began(0, 1000.5, None, "video"), Chunk(1, 1009.5, 0.0, len(picture), "video"), picture),
            (Began(0, 1000.5, None, "tracks"), Chunk(0, 1005.0, 0.0, len(packets), "tracks"), packets),
        ]
    )
    spool.close(Closed(1011.0))
    recorded.file(TRANSCRIPT).parent.mkdir(parents=True)
    for name, content in ((TRANSCRIPT, SAID), (SPEAKERS, SPOKEN)):
        recorded.file(name).write_bytes(minutes.encode(content))
    return recorded


async def _ended(world: World, recorded: Recorded) -> None:
    """The bot's record after all that its agent reports."""
    hand = await world.ledger()
    await hand.enter("b1", video_required=True, recording_config={"transcript": {"provider": {CAPTIONS: {}}}})
    begun = BotRecorded("vm-a", "b1", 1, hand.at + 2, kinds=("audio", "video"))
    await hand.apply(NoteRecorded(begun))
    await hand.end("b1")
    [report] = recorded.reports
    told = BotTranscribed("vm-a", "b1", 1, hand.at, finished=True, utterances=2)
    await hand.apply(NoteRecorded(report), NoteRecorded(told))


def _fetch(address: str) -> bytes:
    answer = requests.get(address, timeout=60)  # as a player does: without a token
    answer.raise_for_status()
    return answer.content


def _decoded(content: bytes, kind: str) -> tuple[str, int, float]:
    """The codec, how many frames there are, and the end of the last one in seconds."""
    file: Any = av.open(io.BytesIO(content))
    with file:
        frames = list(file.decode(**{kind: 0}))
        return file.streams.best(kind).codec_context.name, len(frames), frames[-1].time


def _lasting(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer without the end and signature of its link, which are those of the second in which it was asked for."""
    return {name: said.partition("?")[0] if name.endswith("_url") else said for name, said in answer.items()}


async def _look(ask: Both, made: Manifest) -> None:
    async def download(address: str, kind: str) -> tuple[str, int, float]:
        return _decoded(await asyncio.to_thread(_fetch, address), kind)

    assert made.audio
    assert made.video
    sound = await ask("bots.audio", "b1")
    assert _lasting(sound) == _lasting(await ask("bots.wait_for_audio", "b1", timeout=1, interval=0.1))
    codec, _, until_s = await download(sound["audio_url"], "audio")
    assert (codec, until_s) == ("opus", pytest.approx(made.audio.duration_s, abs=0.1))
    picture = await ask("bots.video", "b1")
    for method, how in (("bots.wait_for_video", {"timeout": 1, "interval": 0.1}), ("bots.recording_streams", {})):
        assert _lasting(picture) == _lasting(await ask(method, "b1", **how))
    info = picture["video_info"]
    assert (info["resolution"], info["frames_processed"], info["corrupted_frames"]) == ("64x48", PICTURES, 0)
    codec, pictures, _ = await download(picture["video_url"], "video")
    assert (codec, pictures) == ("vp9", PICTURES)
    assert (await download(picture["video_url"], "audio"))[0] == "opus"
    [owner] = (await ask("bots.audio_streams", "b1"))["participants"]
    [segment] = owner["streams"][0]["segments"]
    assert (await download(segment["url"], "audio"))[2] == pytest.approx(segment["duration_seconds"], abs=0.1)
    assert (await ask("bots.screenshots", "b1"))["screenshots_count"] == len(made.screenshots)
    timeline = await ask("bots.speaker_timeline", "b1")
    assert [chunk["speakerName"] for chunk in timeline["chunks"]] == ["Ann"]
    assert timeline["totalFileSize"] == made.audio.bytes
    detail = (await ask("bots.detail", "b1"))["bot_details"]
    assert [detail[f"{what}Status"] for what in ("Manifest", "Audio", "Transcript")] == [
        "completed", "processed", "processed",
    ]  # fmt: skip
    said = await ask("transcripts.get", detail["transcript_id"])
    assert said == await ask("transcripts.wait_for", detail["transcript_id"], timeout=1, interval=0.1)
    assert [(each["speaker"], each["transcript"]) for each in said] == [("Ann", "Good morning."), ("Ben", "Hello.")]
    assert (await ask("transcripts.get", detail["transcript_id"], raw=True))["text"] == "Good morning. Hello."
    [listed] = (await ask("transcripts.list_for_bot", "b1"))["transcriptions"]
    assert listed["status"] == "Success"


@pytest.mark.long
async def test_both_clients_get_all_of_a_meeting_that_was_recorded(world: World, tmp_path: Path) -> None:
    recorded = spooled(tmp_path)
    made = await finish(recorded)
    world.settings = msgspec.structs.replace(world.settings, capture=recorded.settings)
    await _ended(world, recorded)
    async with world.serving() as call:
        base = f"{call.base}/api/v1"
        with MeetStream(TOKEN, base_url=base) as client:
            await _look(Both(client), made)
        async with AsyncMeetStream(TOKEN, base_url=base) as client:
            await _look(Both(client), made)
