"""Links to files in a folder: whoever has one gets that file, and nothing else, until it is over."""

from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp
import msgspec
import pytest
from structlog.testing import capture_logs
from yarl import URL

from common.config.settings import CaptureSettings
from common.wire.manifest import AUDIO, VIDEO, Audio, Manifest, Screenshot, Video
from poolmgr.api import links
from poolmgr.api.errors import ApiError
from tests.api.conftest import OWN, Caller, World, token
from tests.api.operations.test_recordings import put

SOUND = Audio(AUDIO, 4, "0f" * 32, 1.0)
PICTURE = Video(VIDEO, 10, "0f" * 32, 60.0, "vp9", 1280, 720, 899, 14.98)
SHOT = Screenshot("screenshot-000.jpg", 4, "0f" * 32, 30.0, 640, 360)
MADE = Manifest(
    1, "b1", 1, "room", 0.0, 1.0, True, kinds=("audio", "video"), audio=SOUND, video=PICTURE, screenshots=[SHOT]
)


@pytest.fixture
async def call(world: World, tmp_path: Path) -> AsyncGenerator[Caller]:
    """Two bots of the token `own`, recorded in a folder."""
    world.settings = msgspec.structs.replace(world.settings, capture=CaptureSettings(store=str(tmp_path), link_s=600))
    hand = await world.ledger()
    for bot_id in ("b1", "b2"):
        await hand.enter(bot_id, owner="own", video_required=True)
        await world.redis.hset(world.keys.bot(bot_id), mapping={"owner": "own", "video": 1})
        await hand.end(bot_id)
        made = msgspec.structs.replace(MADE, bot_id=bot_id)
        put(tmp_path, made)
        (tmp_path / bot_id / "1" / SHOT.path).write_bytes(b"JFIF")
    async with world.serving() as caller:
        yield caller.as_(OWN)


async def fetch(link: str | URL, **headers: str) -> tuple[int, bytes]:
    """As a player does: without a token."""
    async with aiohttp.ClientSession() as session, session.get(link, headers=headers) as response:
        return response.status, await response.read()


async def test_a_file_in_a_folder_is_had_by_its_link_alone_and_any_part_of_it(call: Caller) -> None:
    audio = (await call("GET", "/bots/b1/get_audio")).body["audio_url"]
    assert await fetch(audio) == (200, b"OggS")
    assert await fetch(audio, Range="bytes=1-2") == (206, b"gg")
    video = (await call("GET", "/bots/b1/get_video")).body["video_url"]
    assert await fetch(video, Range="bytes=-3") == (206, b"789")
    [shot] = (await call("GET", "/bots/b1/get_screenshots")).body["screenshots"]
    assert await fetch(shot["url"]) == (200, b"JFIF")
    assert (await fetch(f"{call.base}/api/v1/bots/b1/audio"))[0] == 401, "without a link it takes a token"


async def test_a_link_opens_nothing_but_what_it_was_given_out_for(call: Caller) -> None:
    link = URL((await call("GET", "/bots/b1/get_audio")).body["audio_url"])
    later = str(int(link.query["expires"]) + 1)
    for other in (
        link.with_path("/api/v1/bots/b2/audio").with_query(link.query),
        link.with_path("/api/v1/bots/b1/video").with_query(link.query),
        link.update_query(attempt="2"),
        link.update_query(track="0"),
        link.update_query(expires=later),
        link.update_query(signature="0" * 64),
        link.update_query(signature="\u00e4"),
        link.without_query_params("attempt"),
        link.without_query_params("expires"),
        URL(f"{link}&attempt=1"),
        URL(f"{link}&other=1"),
    ):
        assert (await fetch(other))[0] == 403, str(other)
    for path in ("detail", "get_audio", "waveform"):
        other = link.with_path(f"/api/v1/bots/b1/{path}").with_query(link.query)
        assert (await fetch(other))[0] == 401, "only files have links"
    assert (await fetch(link))[0] == 200


async def test_a_link_is_of_one_attempt(call: Caller, tmp_path: Path) -> None:
    link = (await call("GET", "/bots/b1/get_audio")).body["audio_url"]
    folder = tmp_path / "b1" / "2"
    put(tmp_path, msgspec.structs.replace(MADE, attempt=2))
    (folder / AUDIO).write_bytes(b"another")
    assert await fetch(link) == (200, b"OggS")
    assert await fetch((await call("GET", "/bots/b1/get_audio")).body["audio_url"]) == (200, b"another")


async def test_a_link_goes_with_its_bot_and_stands_in_no_log(
    call: Caller,
) -> None:
    link = URL((await call("GET", "/bots/b1/get_audio")).body["audio_url"])
    of_b2 = (await call("GET", "/bots/b2/get_audio")).body["audio_url"]
    with capture_logs() as said:
        assert (await fetch(link))[0] == 200
    assert link.query["signature"] not in str(said)
    await call("DELETE", "/bots/b1/delete")
    assert (await fetch(link))[0] == 404
    assert (await fetch(of_b2))[0] == 200


async def test_every_manager_that_knows_the_token_takes_a_link_until_it_is_over(call: Caller, world: World) -> None:
    link = URL((await call("GET", "/bots/b1/get_audio")).body["audio_url"])
    tokens, now = world.settings.api.tokens, int(link.query["expires"])
    query = [*link.query.items()]
    secret: bytes = await world.redis.get(world.keys.link_secret)
    assert links.signer(secret, list(reversed(tokens)), link.path, query, now - 1).name == "own"
    for of, known, at in (
        (secret, tokens, now),
        (secret, [], now - 1),
        (secret, [token("own", "another secret")], now - 1),
        (b"", tokens, now - 1),
        (secret, tokens, now - 604_802),
    ):
        with pytest.raises(ApiError) as refused:
            links.signer(of, known, link.path, query, at)
        assert refused.value.status == 403
