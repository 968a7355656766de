"""What a recording looks like at a glance: from the store, for those who may have the recording, while it is there."""

import hashlib
from pathlib import Path
from typing import Final

import msgspec
import pytest

from common.config.settings import CaptureSettings
from common.wire import manifest
from common.wire.manifest import (
    AUDIO,
    FINAL,
    PROGRESS,
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
from tests.api.conftest import OWN, World

PEAKS: Final = Peaks(0.1, [0.5, 0.0], [0.25, 1.0])
STRIP: Final = "JFIF and so on"
SOUND: Final = Audio(AUDIO, 4, "0f" * 32, 0.2)
PICTURE: Final = Video(VIDEO, 10, "0f" * 32, 60.0, "vp9", 1280, 720, 899, 14.98)
DATA: Final = {WAVEFORM: msgspec.json.encode(PEAKS), THUMBNAILS: STRIP.encode()}
SHAS: Final = {name: hashlib.sha256(data).hexdigest() for name, data in DATA.items()}
MADE: Final = Manifest(
    *(1, "b1", 1, "room", 0.0, 1.0, True),
    kinds=("audio", "video"),
    audio=SOUND,
    video=PICTURE,
    waveform=Waveform(WAVEFORM, len(DATA[WAVEFORM]), SHAS[WAVEFORM], 2, 0.1),
    thumbnails=Thumbnails(THUMBNAILS, len(STRIP), SHAS[THUMBNAILS], 1, 160, 90, 60.0),
)


def put(store: Path, made: Manifest, name: str = FINAL) -> Path:
    folder = store / manifest.folder(made.bot_id, made.attempt)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(manifest.encode(made))
    for path, data in DATA.items():
        (folder / path).write_bytes(data)
    return folder


def left_in(store: Path) -> list[Path]:
    return list(store.rglob("*.*"))


@pytest.fixture
def store(world: World, tmp_path: Path) -> Path:
    capture = CaptureSettings(store=str(tmp_path / "store"))
    world.settings = msgspec.structs.replace(world.settings, capture=capture)
    return tmp_path / "store"


async def test_it_is_there_once_the_recording_is_and_goes_with_its_bot(world: World, store: Path) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    async with world.serving() as call:
        put(store, msgspec.structs.replace(MADE, finished=False), PROGRESS)
        await world.redis.hset(world.keys.bot("b1"), "video", "1")
        for name in ("waveform", "thumbnails"):
            assert (await call("GET", f"/bots/b1/{name}")).status == 202
        put(store, MADE)
        await hand.end("b1")
        assert (await call("GET", "/bots/b1/waveform")).body == msgspec.to_builtins(PEAKS)
        strip = await call("GET", "/bots/b1/thumbnails")
        assert (strip.status, strip.body, strip.headers["Content-Type"]) == (200, STRIP, "image/jpeg")
        for name in ("waveform", "thumbnails"):
            assert (await call("GET", f"/bots/b1/{name}", headers={"Authorization": f"Token {OWN}"})).status == 403
        await call("DELETE", "/bots/b1/delete")
        assert left_in(store) == []
        assert (await call("GET", "/bots/b1/thumbnails")).status == 404


async def test_of_a_job_without_a_picture_there_are_no_thumbnails_whatever_the_store_holds(
    world: World, store: Path
) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.end("b1")
    async with world.serving() as call:
        put(store, MADE)
        assert (await call("GET", "/bots/b1/waveform")).status == 200
        assert "no video was recorded" in (await call("GET", "/bots/b1/thumbnails")).message


async def test_what_was_not_made_or_is_not_what_it_should_be_is_said(world: World, store: Path) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.end("b1")
    async with world.serving() as call:
        put(store, msgspec.structs.replace(MADE, waveform=None))
        assert "no waveform could be made" in (await call("GET", "/bots/b1/waveform")).message
        folder = put(store, MADE)
        (folder / WAVEFORM).write_bytes(b'{"column_s": "loud"}')
        assert (await call("GET", "/bots/b1/waveform")).status == 503
        (folder / WAVEFORM).unlink()
        assert (await call("GET", "/bots/b1/waveform")).status == 503
        assert MADE.waveform
        put(store, msgspec.structs.replace(MADE, waveform=msgspec.structs.replace(MADE.waveform, bytes=1 << 30)))
        assert "too large" in (await call("GET", "/bots/b1/waveform")).message
