"""A recording's sound as an M4A: all of it, once, and nothing of it where it cannot be made whole."""

import asyncio
import math
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import msgspec
import pytest

from common.config.settings import CaptureSettings
from common.runtime.recordings.sound.m4a import MOST_IN_LINE, Conversions, UnencodedError, encode
from common.runtime.recordings.store import Store
from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, M4A, Audio, Manifest
from lab.recorded.received import level, listen
from tests.waiting import wait_until

RATE: Final = 48_000
SETTINGS: Final = CaptureSettings()
FOUND: Final = Manifest(1, "b1", 1, "room", 0.0, 3.0, finished=True, audio=Audio(AUDIO, 1, "0f" * 32, 3.0))


def write_ogg(path: Path, seconds: int = 3) -> None:
    """440 Hz left, silence right, as a browser encodes it."""
    file: Any = av.open(str(path), "w", format="ogg")
    stream = file.add_stream("libopus", rate=RATE, layout="stereo")
    for n in range(seconds * 50):
        frame: Any = av.AudioFrame(format="s16", layout="stereo", samples=960)
        frame.rate, frame.pts, frame.time_base = RATE, n * 960, Fraction(1, RATE)
        tone = (round(8000 * math.sin(2 * math.pi * 440 * (n * 960 + k) / RATE)) for k in range(960))
        frame.planes[0].update(b"".join(value.to_bytes(2, "little", signed=True) + b"\0\0" for value in tone))
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))
    file.close()


@pytest.fixture(scope="module")
def ogg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / AUDIO
    write_ogg(path)
    return path


@pytest.fixture
def whole(ogg: Path) -> bytes:
    return ogg.read_bytes()


@pytest.fixture
def store(tmp_path: Path, whole: bytes) -> Store:
    """With a finished recording in it."""
    folder = tmp_path / "store" / "b1" / "1"
    folder.mkdir(parents=True)
    (folder / AUDIO).write_bytes(whole)
    (folder / FINAL).write_bytes(b"{}")
    return Store(CaptureSettings(store=str(tmp_path / "store")))


async def test_all_of_it_is_there_on_its_side(ogg: Path, tmp_path: Path) -> None:
    out = tmp_path / M4A
    await encode(ogg, out, 3.0, SETTINGS)
    heard = listen(out)
    assert heard.duration_s == pytest.approx(3.0, abs=0.05)
    assert level(heard.left) == pytest.approx(8000 / 32768 / math.sqrt(2), rel=0.1)
    assert level(heard.right) < level(heard.left) / 100
    with av.open(str(out)) as file:
        assert file.streams.audio[0].codec_context.name == "aac"
    content = out.read_bytes()
    assert content[4:11] == b"ftypM4A"
    assert content.index(b"moov") < content.index(b"mdat"), "it plays before all of it is there"
    assert oct(out.stat().st_mode)[-3:] == "600"


async def test_what_cannot_be_read_to_its_end_is_none(whole: bytes, tmp_path: Path) -> None:
    half = tmp_path / AUDIO
    half.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnencodedError, match=r"only 1\.\d of 3\.0 s"):
        await encode(half, tmp_path / M4A, 3.0, SETTINGS)


async def test_it_is_made_once_beside_the_recording_and_whoever_asks_meanwhile_is_told_to_wait(store: Store) -> None:
    conversions = Conversions(SETTINGS)
    async with asyncio.TaskGroup() as asking:
        first = asking.create_task(conversions.made(store, FOUND), name="first")
        second = asking.create_task(conversions.made(store, FOUND), name="second")
    assert {first.result(), second.result()} == {"b1/1/audio.m4a", None}
    made = await store.get("b1/1/audio.m4a")
    assert await Conversions(msgspec.structs.replace(SETTINGS, finish_memory_mb=1)).made(store, FOUND)
    assert await store.get("b1/1/audio.m4a") == made


async def test_who_asks_for_more_than_stand_in_line_is_told_to_ask_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("common.runtime.recordings.sound.m4a.encode", hang)
    conversions = Conversions(SETTINGS)
    assert store.folder
    others = [msgspec.structs.replace(FOUND, attempt=2 + number) for number in range(MOST_IN_LINE)]
    for other in others:
        shutil.copytree(store.folder / "b1" / "1", store.folder / "b1" / str(other.attempt))
    async with asyncio.TaskGroup() as asking:
        in_line = [asking.create_task(conversions.made(store, other), name=str(other.attempt)) for other in others]
        await wait_until(lambda: len(conversions.in_line) == MOST_IN_LINE)
        assert await conversions.made(store, FOUND) is None
        for task in in_line:
            task.cancel()
    assert not conversions.in_line


async def test_where_it_does_not_fit_into_its_memory_there_is_none_and_it_may_be_asked_for_again(store: Store) -> None:
    conversions = Conversions(msgspec.structs.replace(SETTINGS, finish_memory_mb=1))
    for _ in range(2):
        with pytest.raises(UnencodedError, match="no M4A was made"):
            await conversions.made(store, FOUND)
    assert not await store.exists("b1/1/audio.m4a")


async def test_it_does_not_outlive_a_recording_that_was_deleted_meanwhile(store: Store) -> None:
    assert store.folder
    (store.folder / "b1" / "1" / FINAL).unlink()
    with pytest.raises(UnencodedError, match="deleted"):
        await Conversions(SETTINGS).made(store, FOUND)
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


async def test_it_does_not_outlive_a_recording_that_is_being_deleted(store: Store) -> None:
    """Its mark is there, and its files are listed but not deleted yet."""
    assert store.folder
    await store.put(manifest.deleted("b1"), b"")
    with pytest.raises(UnencodedError, match="deleted"):
        await Conversions(SETTINGS).made(store, FOUND)
    assert [path.name for path in store.folder.rglob("*") if path.is_file()] == [manifest.DELETED]


async def test_one_that_takes_too_long_is_ended(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.runtime.recordings.sound.m4a._DEADLINE_S", -1.5)
    with pytest.raises(UnencodedError, match="within 0 s"):
        await Conversions(SETTINGS).made(store, FOUND)
