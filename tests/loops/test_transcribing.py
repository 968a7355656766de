"""Recordings in a store are made words of by a server that really hears them, and end in a transcript or a reason."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace

from common.config.settings import CaptureSettings, RedisSettings, RetentionSettings, TranscriptionSettings
from common.jobs.record import Job, iso
from common.runtime.clock import Clock
from common.runtime.recordings import deletion
from common.runtime.recordings.store import Store
from common.runtime.redis.client import connect
from common.wire import manifest, minutes
from common.wire.manifest import AUDIO, FINAL, PROGRESS, Audio, Gap, Manifest, SoundTrack
from common.wire.messages import BotTranscribed, Join
from common.wire.minutes import CAPTIONS, SPEAKERS, Minutes, Turn, Utterance
from common.wire.vocabulary import BotState, Reason
from lab.speech import server
from lab.speech.server import KEY, Speech, serving
from lab.speech.tones import Tone
from poolmgr.core.decisions import Accept, Assign, End, Enqueue, NoteRecorded, Why
from poolmgr.loops import transcribing
from poolmgr.loops.transcribing import Transcribing
from poolmgr.store.actions import By, Way
from poolmgr.store.forgetting import forget
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import Ledger
from poolmgr.store.leader.transcriptions import DueTranscriptions
from poolmgr.store.scripts import load_scripts
from poolmgr.store.transcriptions import Transcription, Transcriptions
from tests.common.speech.conftest import recorded
from tests.waiting import PATIENCE_S, wait_until

NOW: Final = 1_700_000_000.0
SAID: Final = (("alpha", 0.5, 0.4), ("bravo", 1.1, 0.4), ("golf", 3.0, 0.5))


class Bed:
    """A bot whose meeting was recorded; `store` is a folder. `settings` may be changed before something runs."""

    def __init__(self, redis: Any, keys: Keys, speech: Speech, folder: Path) -> None:
        self.redis, self.keys, self.speech, self.folder = redis, keys, speech, folder
        key = folder / "key"
        key.write_text(KEY)
        self.settings = TranscriptionSettings(
            allow_http=True, allowed_networks=["127.0.0.0/8"], timeout_s=20.0, tries=2,
            deepgram_url=speech.url, deepgram_key_file=str(key),
            openai_url=f"{speech.url}/v1", openai_key_file=str(key),
        )  # fmt: skip
        self.store: Store | None = Store(CaptureSettings(store=str(folder / "store")))
        self.asked = Transcriptions(redis, keys)
        self.fleet = ""  # transcription.after

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.redis, self.keys, RetentionSettings(), 1, self.fleet)

    def put(self, name: str, data: bytes) -> None:
        path = self.folder / "store" / "b1" / "1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def record(self, sound: Path) -> None:
        data = sound.read_bytes()
        self.put(AUDIO, data)
        audio = Audio(AUDIO, len(data), "0" * 64, 4.0)
        self.put(FINAL, manifest.encode(Manifest(1, "b1", 1, "room", NOW, NOW + 4, True, audio=audio)))
        turns = [Turn("p1", "Ann", NOW + 0.4, NOW + 1.6), Turn("p2", "Ben", NOW + 3.1, NOW + 3.6)]
        self.put(SPEAKERS, minutes.encode(Minutes(1, "b1", 1, "room", NOW, turns=turns)))

    async def end_bot(self, wanted: str, utterances: int = 0, **status: str) -> None:
        job = Job(
            platform="room", meeting_url="http://x/", bot_name="N", payload="{}", transcript=True, speech_after=wanted
        )
        join = Join("w1", "b1", 1, "room", "http://x/", "N")
        written = BotTranscribed("vm", "b1", 1, NOW, finished=True, utterances=utterances)
        steps = [Accept("b1", job, BotState.QUEUED, NOW, seq=1), Assign("v", join, NOW, warm=True, waited_s=0)]
        await self.ledger.apply([*steps, End("b1", 1, Reason.EVERYONE_LEFT, at=NOW), NoteRecorded(written)], NOW)
        await self.redis.hset(self.keys.bot("b1"), mapping={"audio_status": "processed", **status})

    async def became(self, number: int = 1) -> Transcription:
        """Once it is made or given up."""

        async def concluded() -> Transcription | None:
            one = (await self.asked.all("b1")).get(number)
            return one if one and one.status != "processing" else None

        found = await wait_until(concluded)
        assert found
        return found

    def made(self, name: str = "transcript.json") -> Minutes:
        return minutes.decode((self.folder / "store" / "b1" / "1" / name).read_bytes())

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        due = DueTranscriptions(self.redis, self.keys, 1)
        loop = Transcribing(due, lambda: self.store, self.settings, Clock())
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(loop.run(), name="transcribe")
            yield
            running.cancel()


@pytest.fixture
async def bed(redis_server: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Bed]:
    monkeypatch.setattr(transcribing, "LOOK_S", 0.05)
    monkeypatch.setattr(transcribing, "AGAIN_S", (0.1, 0.1))
    monkeypatch.setattr(transcribing, "WAIT_S", 0.1)
    redis: Any = connect(RedisSettings(url=redis_server, timeout_s=PATIENCE_S))
    await load_scripts(redis)
    keys = Keys(prefix)
    await redis.set(keys.epoch, 1, ex=600)
    async with serving(Speech()) as speech:
        yield Bed(redis, keys, speech, tmp_path)
    await redis.aclose()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("sound") / "sound.ogg", SAID, 4.0)


@pytest.mark.parametrize("provider", ["deepgram", "openai"])
async def test_a_recording_becomes_a_transcript_with_who_spoke_when(bed: Bed, sound: Path, provider: str) -> None:
    bed.record(sound)
    await bed.end_bot(provider, manifest_status="recording")
    async with bed.running():
        await asyncio.sleep(0.3)
        assert bed.speech.forms == []  # it is not finished
        await bed.redis.hset(bed.keys.bot("b1"), "manifest_status", "completed")
        assert (await bed.became()).utterances == 2
    made = bed.made()
    assert made.provider == provider
    assert [(one.speaker, one.text) for one in made.utterances] == [("Ann", "Alpha bravo"), ("Ben", "golf.")]
    assert [word.began_at - NOW for one in made.utterances for word in one.words] == pytest.approx(
        [0.5, 1.1, 3.0], abs=0.1
    )
    assert await bed.redis.hget(bed.keys.bot("b1"), "transcript_by") == provider.encode()


AT_ONCE: Final = (("golf", 0.5, 0.5),)


def heard_apart(bed: Bed, sound: Path, other: Path, **of_second: Any) -> None:
    """Ann's track, and another one with a word that is said meanwhile."""
    bed.record(sound)
    made = manifest.decode((bed.folder / "store" / "b1" / "1" / FINAL).read_bytes())
    kept: list[SoundTrack] = []
    for name, path in (("track-000.ogg", sound), ("track-001.ogg", other)):
        data = path.read_bytes()
        bed.put(name, data)
        kept.append(SoundTrack(name, len(data), "0" * 64, name, NOW, 4.0, 200, 2.0, "p1", "Ann", 1.0))
    gaps = of_second.pop("gaps", [])
    kept[1] = replace(kept[1], **of_second)
    bed.put(FINAL, manifest.encode(replace(made, tracks=kept, gaps=gaps)))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("other") / "other.ogg", AT_ONCE, 4.0)


@pytest.mark.parametrize(
    "of_second",
    [
        {"speaker_id": "p2", "speaker": "Ben"},
        {"speaker_id": "", "speaker": "", "turns": [Turn("p2", "Ben", NOW + 0.3, NOW + 1.5)]},
    ],
)
async def test_of_those_who_speak_at_once_each_has_said_their_own(
    bed: Bed, sound: Path, other: Path, of_second: dict[str, Any]
) -> None:
    bed.settings = replace(bed.settings, by_track=True)
    heard_apart(bed, sound, other, **of_second)
    await bed.end_bot("openai")
    async with bed.running():
        assert (await bed.became()).utterances == 2
    said = bed.made().utterances
    assert {(one.speaker, one.text) for one in said} == {("Ann", "Alpha bravo golf."), ("Ben", "Golf.")}
    assert [one.began_at - NOW for one in said] == pytest.approx([0.5, 0.5], abs=0.1)


@pytest.mark.parametrize("provider", ["deepgram", "openai"])
@pytest.mark.parametrize("second", [1e300, 1e12, -1e11])
async def test_of_a_server_that_tells_absurd_times_words_are_said_within_the_recording(
    bed: Bed, sound: Path, monkeypatch: pytest.MonkeyPatch, provider: str, second: float
) -> None:
    def absurd(_: bytes) -> list[Tone]:
        return [Tone("alpha", second, second)]

    monkeypatch.setattr(server, "words_in", absurd)
    bed.record(sound)
    await bed.end_bot(provider)
    async with bed.running():
        assert (await bed.became()).utterances == 1
    [said] = bed.made().utterances
    assert said.began_at == said.ended_at == (NOW if second < 0 else NOW + 4.0)


async def test_of_a_server_that_tells_no_times_each_track_is_a_text_with_its_name(
    bed: Bed, sound: Path, other: Path
) -> None:
    bed.speech.gives_times = False
    bed.settings = replace(bed.settings, by_track=True)
    heard_apart(bed, sound, other, speaker="Ben")
    await bed.end_bot("openai")
    async with bed.running():
        assert (await bed.became()).utterances == 2
    said = bed.made().utterances
    assert {(one.speaker, one.text) for one in said} == {("Ann", "Alpha bravo golf."), ("Ben", "Golf.")}
    assert [one.words for one in said] == [[], []]


@pytest.mark.parametrize(
    ("by_track", "of_second", "calls"),
    [
        (False, {"speaker": "Ben"}, 1),
        (True, {"speaker": "", "share": 0.0}, 1),
        (True, {"gaps": [Gap(NOW, NOW + 1, "refused", "tracks")]}, 1),
        (True, {"gaps": [Gap(NOW, NOW + 1, "late", "tracks")]}, 2),
        (True, {"speaker": "", "voice_s": 0.0}, 1),
    ],
    ids=["by default", "nobody's", "not all", "all", "silent"],
)
async def test_where_tracks_do_not_tell_all_the_whole_is_heard(
    bed: Bed, sound: Path, other: Path, by_track: bool, of_second: dict[str, Any], calls: int
) -> None:
    bed.settings = replace(bed.settings, by_track=by_track)
    heard_apart(bed, sound, other, **of_second)
    await bed.end_bot("openai")
    async with bed.running():
        await bed.became()
    assert len(bed.speech.forms) == calls
    speakers = {one.speaker for one in bed.made().utterances}
    assert speakers == ({"Ann"} if calls == 2 or of_second.get("voice_s") == 0.0 else {"Ann", "Ben"})


async def test_more_tracks_than_there_may_be_calls_are_heard_as_a_whole() -> None:
    one = SoundTrack("t", 9, "0" * 64, "t", NOW, 4.0, 200, 2.0, "p1", "Ann", 1.0)
    made = Manifest(1, "b1", 1, "room", NOW, NOW + 4, True)
    assert len(transcribing.tracks(replace(made, tracks=[one] * transcribing.MOST_TRACKS))) == transcribing.MOST_TRACKS
    assert transcribing.tracks(replace(made, tracks=[one] * (transcribing.MOST_TRACKS + 1))) == []


async def test_a_server_that_is_away_for_a_moment_is_asked_again_and_one_that_stays_so_costs_the_transcript_only(
    bed: Bed, sound: Path
) -> None:
    bed.record(sound)
    await bed.end_bot("openai")
    bed.speech.answers.append(503)
    async with bed.running():
        assert (await bed.became()).tries == 1
        bed.speech.answers.extend([503, 500])
        await bed.asked.ask("b1", Transcription("openai", iso(NOW)), NOW, By("app", Way.API))
        given_up = await bed.became(2)
    assert (given_up.status, given_up.why) == ("failed", "failed (500)")
    assert (bed.folder / "store" / "b1" / "1" / AUDIO).is_file()
    assert not (bed.folder / "store" / "b1" / "1" / "transcript-2.json").exists()


async def test_of_an_earlier_attempt_its_own_recording_is_transcribed_and_that_of_the_latest_is_not_waited_for(
    bed: Bed, sound: Path
) -> None:
    bed.record(sound)
    bed.put(f"../2/{PROGRESS}", manifest.encode(Manifest(1, "b1", 2, "room", NOW, None, finished=False)))
    await bed.end_bot("", utterances=3, attempt="2", recorded_attempt="2", manifest_status="recording")
    await bed.asked.ask("b1", Transcription("openai", iso(NOW), attempt=1), NOW, By("app", Way.API))
    async with bed.running():
        assert (await bed.became(2)).utterances == 2
    assert bed.made("transcript-2.json").attempt == 1


def away(bed: Bed) -> None:
    bed.store = None


def unfinished(bed: Bed) -> None:
    (bed.folder / "store" / "b1" / "1" / FINAL).unlink()


def without_a_key(bed: Bed) -> None:
    bed.settings = replace(bed.settings, openai_key_file="")


def unoffered(bed: Bed) -> None:
    bed.settings = TranscriptionSettings()


def broken(bed: Bed) -> None:
    bed.put(AUDIO, b"nothing")


def damaged(bed: Bed) -> None:
    bed.put(SPEAKERS, b"nothing")


def impatient(bed: Bed) -> None:
    bed.settings = replace(bed.settings, deadline_s=0.0)


def unreadable(bed: Bed) -> None:
    bed.put(FINAL, b"nothing")


def lost(bed: Bed) -> None:
    (bed.folder / "store" / "b1" / "1" / AUDIO).unlink()


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (away, "no_recording"), (unfinished, "no_recording"), (without_a_key, "unauthorized (401)"),
        (unoffered, "not_configured"), (broken, "sound_unreadable"), (damaged, "internal_error"),
        (impatient, "deadline"), (lost, "sound_unreadable"), (unreadable, "manifest_unreadable"),
    ],
)  # fmt: skip
async def test_whatever_is_in_the_way_is_said_and_the_recording_stays(
    bed: Bed, sound: Path, harm: Callable[[Bed], None], why: str
) -> None:
    bed.record(sound)
    harm(bed)
    await bed.end_bot("openai", utterances=3)
    async with bed.running():
        given_up = await bed.became()
    assert (given_up.status, given_up.why) == ("skipped" if why == "no_recording" else "failed", why)
    assert await bed.redis.hget(bed.keys.bot("b1"), "transcript_status") == b"processed"  # of captions


@pytest.mark.parametrize("is_told", [False, True])
@pytest.mark.parametrize("wanted", ["", "openai"])
async def test_words_that_came_meanwhile_stay_where_the_provider_is_asked_because_there_were_none(
    bed: Bed, sound: Path, wanted: str, is_told: bool
) -> None:
    """Of a VM that was away. Whoever is right, record and words agree. `is_told`: the manager has heard of them."""
    bed.fleet = "openai"
    bed.record(sound)
    await bed.end_bot(wanted)
    bed.speech.slow_s = 1.0
    async with bed.running():
        await wait_until(lambda: bed.speech.sizes)
        captions = Minutes(1, "b1", 1, "room", NOW, CAPTIONS, [Utterance("Ann", "Alpha", NOW, NOW + 1)])
        bed.put("transcript.json", minutes.encode(captions))
        if is_told:
            written = BotTranscribed("vm", "b1", 1, NOW, finished=True, utterances=1)
            await bed.ledger.apply([NoteRecorded(written)], NOW)
        await it_is_concluded(bed)
    by = wanted or CAPTIONS
    assert bed.made().provider == by
    kept = await bed.redis.hmget(bed.keys.bot("b1"), "transcript_status", "transcript_by")
    assert kept == [b"processed", by.encode()]


async def test_of_silence_there_is_no_transcript(bed: Bed, tmp_path: Path) -> None:
    bed.record(recorded(tmp_path / "silence.ogg", (), 1.0))
    await bed.end_bot("deepgram")
    async with bed.running():
        assert (await bed.became()).why == "nothing_said"
    assert await bed.redis.hget(bed.keys.bot("b1"), "transcript_status") == b"skipped"
    assert not (bed.folder / "store" / "b1" / "1" / "transcript.json").exists()


async def test_a_leader_that_goes_in_the_middle_is_followed_by_one_that_makes_the_transcript(
    bed: Bed, sound: Path
) -> None:
    bed.record(sound)
    await bed.end_bot("openai")
    bed.speech.slow_s = 60.0
    async with bed.running():
        await wait_until(lambda: bed.speech.sizes)
    assert (await bed.asked.all("b1"))[1].status == "processing"
    bed.speech.slow_s = 0.0
    async with bed.running():
        assert (await bed.became()).utterances == 2
    assert len(bed.speech.sizes) == 2


async def it_is_concluded(bed: Bed) -> None:
    """Then it is due no more, and what is due again is looked at."""

    async def is_due_no_more() -> bool:
        return await bed.redis.exists(bed.keys.transcriptions_due) == 0

    await wait_until(is_due_no_more)
    await bed.redis.zadd(bed.keys.transcriptions_due, {"b1": NOW})
    await wait_until(is_due_no_more)


async def test_of_a_bot_that_is_deleted_in_the_middle_nothing_comes_back(bed: Bed, sound: Path) -> None:
    bed.record(sound)
    await bed.end_bot("openai")
    bed.speech.slow_s = 1.0
    async with bed.running():
        await wait_until(lambda: bed.speech.sizes)
        assert bed.store
        await deletion.delete(bed.store, "b1", NOW)
        assert await forget(bed.redis, bed.keys, "b1") > 0
        await it_is_concluded(bed)
    assert not (bed.folder / "store" / "b1" / "1").exists()
    assert await bed.redis.exists(bed.keys.transcriptions_due, bed.keys.transcriptions("b1")) == 0


@pytest.mark.parametrize(
    "is_forgotten",
    [True, pytest.param(False, marks=pytest.mark.long)],
    ids=["whose record got old", "who is sent in again"],
)
async def test_a_bot_keeps_what_was_recorded_when_its_transcript_is_wanted_no_more(
    bed: Bed, sound: Path, *, is_forgotten: bool
) -> None:
    """Its record is kept for a shorter time than its recording; and a later attempt has a transcript of its own."""
    bed.record(sound)
    await bed.end_bot("openai", 3, state=BotState.STOPPED if is_forgotten else BotState.IN_MEETING)
    bed.speech.slow_s = 1.0
    async with bed.running():
        await wait_until(lambda: bed.speech.sizes)
        if is_forgotten:
            assert await forget(bed.redis, bed.keys, "b1") > 0
        else:
            ledger = Ledger(bed.redis, bed.keys, RetentionSettings(), 1)
            again = Assign("v", Join("w1", "b1", 2, "room", "http://x/", "N"), NOW, warm=True, waited_s=0)
            writing = NoteRecorded(BotTranscribed("vm", "b1", 2, NOW))
            await ledger.apply([Enqueue("b1", 1, Why.VM_LOST), again, writing], NOW)
        await it_is_concluded(bed)
    assert bed.made().utterances, "which is there"
    assert (bed.folder / "store" / "b1" / "1" / AUDIO).exists()


EXPIRED: Final = {"manifest_status": "expired"}


def nothing_is_left(bed: Bed) -> bool:
    return not [path for path in (bed.folder / "store").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "is_deleted",
    [True, pytest.param(False, marks=pytest.mark.long)],
    ids=["and is deleted", "and is to be deleted"],
)
async def test_a_transcript_of_a_recording_whose_time_is_over_meanwhile_does_not_stay(
    bed: Bed, sound: Path, *, is_deleted: bool
) -> None:
    bed.record(sound)
    await bed.end_bot("openai")
    bed.speech.slow_s = 5.0
    async with bed.running():
        await wait_until(lambda: bed.speech.sizes)
        if is_deleted:
            await bed.redis.hset(bed.keys.bot("b1"), mapping=EXPIRED)
        else:
            await bed.redis.zadd(bed.keys.recordings_expiring, {"b1": NOW})
        given_up = await bed.became()
    assert (given_up.status, given_up.why) == ("skipped", "no_recording")
    assert nothing_is_left(bed)
    assert len(bed.speech.sizes) == 1, "it is heard once"


async def test_a_recording_whose_time_is_over_is_not_heard_any_more(bed: Bed, sound: Path) -> None:
    bed.record(sound)
    await bed.redis.zadd(bed.keys.recordings_expiring, {"b1": NOW})
    await bed.end_bot("openai")
    async with bed.running():
        assert (await bed.became()).why == "no_recording"
    assert bed.speech.sizes == []


class DiesAfterPut(Store):
    """The leader that puts a transcript is killed then."""

    def __init__(self, settings: CaptureSettings) -> None:
        super().__init__(settings)
        self.has_put = asyncio.Event()

    async def put(self, path: str, what: bytes | Path, *, once: bool = False, content_type: str = "") -> None:
        await super().put(path, what, once=once, content_type=content_type)
        self.has_put.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize("is_forgotten", [True, False], ids=["of a deleted bot", "whose time is over"])
async def test_what_a_leader_put_that_died_then_does_not_stay_either(
    bed: Bed, sound: Path, *, is_forgotten: bool
) -> None:
    bed.record(sound)
    await bed.end_bot("openai")
    store = bed.store
    assert store
    bed.store = dying = DiesAfterPut(CaptureSettings(store=str(bed.folder / "store")))
    async with bed.running():
        await dying.has_put.wait()
        await deletion.delete(store, "b1", NOW)
        if is_forgotten:
            await forget(bed.redis, bed.keys, "b1")
        else:
            await bed.redis.hset(bed.keys.bot("b1"), mapping=EXPIRED)
    bed.put("transcript.json", b"came after it was deleted")
    bed.store = store
    async with bed.running():
        await wait_until(lambda: not (bed.folder / "store" / "b1" / "1").exists())
        if not is_forgotten:
            assert (await bed.became()).why == "no_recording"
    assert len(bed.speech.sizes) == 1, "it is heard once"
