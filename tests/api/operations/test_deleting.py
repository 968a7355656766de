"""Bots that are deleted through the API: what is gone then, and who is told."""

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from common.jobs.record import iso
from common.runtime.recordings import deletion
from common.runtime.recordings.store import Store, StoreError
from common.wire import manifest
from common.wire.manifest import PROGRESS, Manifest
from common.wire.messages import BotRecorded, BotTranscribed
from poolmgr.core.decisions import NoteRecorded
from poolmgr.store import forgetting
from poolmgr.store.actions import By, Way
from poolmgr.store.leader.transcriptions import DueTranscriptions
from poolmgr.store.lives import DELETED_MARK_LIFE_S
from poolmgr.store.transcriptions import Transcription, Transcriptions
from tests.api.conftest import World
from tests.api.operations.test_bots import ids
from tests.api.operations.test_recordings import put


@pytest.mark.parametrize("is_written", [True, False], ids=["is there", "is awaited"])
async def test_bot_done_is_told_once_also_of_a_bot_that_is_deleted_while_its_transcript_is_awaited(
    world: World, *, is_written: bool
) -> None:
    hand = await world.ledger()
    await hand.enter("b1", callback_url="https://hooks.example/x")
    await hand.apply(NoteRecorded(BotTranscribed("v", "b1", 1, hand.at)))
    await hand.end("b1")
    if is_written:
        await hand.apply(NoteRecorded(BotTranscribed("v", "b1", 1, hand.at, finished=True, utterances=2)))
    told = [fields.get(b"done") for _, fields in await world.redis.xrange(world.keys.outbox)]
    assert (b"1" in told) == is_written
    await world.redis.xtrim(world.keys.outbox, maxlen=0, approximate=False)
    async with world.serving() as call:
        assert (await call("DELETE", "/bots/b1/delete")).status == 200
    deliveries = [json.loads(fields[b"delivery"]) for _, fields in await world.redis.xrange(world.keys.outbox)]
    assert [one["event"] for one in deliveries] == [*([] if is_written else ["bot.done"]), "data_deletion"]


@pytest.mark.parametrize("callback_url", ["", "https://hooks.example/x"])
async def test_the_receiver_of_a_transcript_that_is_being_made_is_told_that_its_bot_was_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch, callback_url: str
) -> None:
    monkeypatch.setattr("poolmgr.api.operations.bots._FORGET_WITHIN_S", 0.05)
    hand = await world.ledger()
    await hand.enter("b1", **({"callback_url": callback_url} if callback_url else {}))
    await hand.end("b1")
    await world.redis.xtrim(world.keys.outbox, maxlen=0, approximate=False)
    transcriptions, due = Transcriptions(world.redis, world.keys), DueTranscriptions(world.redis, world.keys, 1)
    asked = Transcription("openai", iso(hand.at), callback="https://theirs.example/x")
    async with world.serving() as call:
        await transcriptions.ask("b1", asked, hand.at, By("app", Way.API))
        one = await due.under_way("b1")
        assert one
        await due.conclude(one, hand.at, utterances=1)
        assert (await call("DELETE", "/bots/b1/delete")).status == 503, "that it is there has still to be told"
        await world.redis.xtrim(world.keys.outbox, maxlen=0, approximate=False)
        await transcriptions.ask("b1", asked, hand.at, By("app", Way.API))
        assert (await call("DELETE", "/bots/b1/delete")).status == 200
    deliveries = [json.loads(fields[b"delivery"]) for _, fields in await world.redis.xrange(world.keys.outbox)]
    theirs, its = ("transcription.skipped", asked.callback), ("data_deletion", callback_url)
    assert [(one["event"], one["url"]) for one in deliveries] == ([theirs, its] if callback_url else [theirs])


def before_it_is_forgotten(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[object]]) -> None:
    """Have `act` happen once, when what there was has been read and nothing is deleted yet."""
    acts, real = [act], forgetting.forget

    async def act_before(*arguments: Any, **options: Any) -> int:
        if acts:
            await acts.pop()()
        return await real(*arguments, **options)

    monkeypatch.setattr("poolmgr.api.operations.bots.forget", act_before)


@pytest.mark.parametrize("callback_url", ["", "https://hooks.example/x"])
@pytest.mark.parametrize("is_first", [True, False])
async def test_the_receiver_of_a_transcript_that_is_asked_for_while_its_bot_is_deleted_is_told_of_that(
    world: World, monkeypatch: pytest.MonkeyPatch, callback_url: str, *, is_first: bool
) -> None:
    hand = await world.ledger()
    await hand.enter("b1", **({"callback_url": callback_url} if callback_url else {}))
    await hand.end("b1")
    await world.redis.xtrim(world.keys.outbox, maxlen=0, approximate=False)
    transcriptions = Transcriptions(world.redis, world.keys)
    asked = Transcription("openai", iso(hand.at), callback="https://theirs.example/x")
    if not is_first:
        made = msgspec.json.encode(msgspec.structs.replace(asked, status="processed"))
        await world.redis.hset(world.keys.transcriptions("b1"), 2, made)

    before_it_is_forgotten(monkeypatch, lambda: transcriptions.ask("b1", asked, hand.at, By("app", Way.API)))
    async with world.serving() as call:
        assert (await call("DELETE", "/bots/b1/delete")).status == 200
    deliveries = [json.loads(fields[b"delivery"]) for _, fields in await world.redis.xrange(world.keys.outbox)]
    theirs, its = ("transcription.skipped", asked.callback), ("data_deletion", callback_url)
    assert [(one["event"], one["url"]) for one in deliveries] == ([theirs, its] if callback_url else [theirs])
    assert not await world.redis.exists(world.keys.bot("b1"), world.keys.transcriptions("b1"))


async def test_the_receiver_of_a_transcript_that_is_made_while_its_bot_is_deleted_is_told_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.end("b1")
    transcriptions, due = Transcriptions(world.redis, world.keys), DueTranscriptions(world.redis, world.keys, 1)
    asked = Transcription("openai", iso(hand.at), callback="https://theirs.example/x")
    await transcriptions.ask("b1", asked, hand.at, By("app", Way.API))

    async def is_made_and_told() -> None:
        one = await due.under_way("b1")
        assert one
        await due.conclude(one, hand.at, utterances=1)
        await world.redis.xtrim(world.keys.outbox, maxlen=0, approximate=False)

    before_it_is_forgotten(monkeypatch, is_made_and_told)
    async with world.serving() as call:
        assert (await call("DELETE", "/bots/b1/delete")).status == 200
    assert not await world.redis.xrange(world.keys.outbox)


async def test_deleting_leaves_nothing_and_tells_the_callback(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poolmgr.api.operations.bots._FORGET_WITHIN_S", 0.05)
    hand = await world.ledger()
    await hand.enter("b1", callback_url="https://hooks.example/x", owner="app", custom_attributes={"a": 1})
    async with world.serving() as call:
        assert (await call("DELETE", "/bots/b1/delete")).status == 409
        await hand.end("b1", owner="app")
        answer = await call("DELETE", "/bots/b1/delete")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2"), "no leader has read of its end"
        assert (await call("GET", "/bots/b1/status")).status == 200
        await world.redis.xtrim(world.keys.outbox, maxlen=0, approximate=False)
        answer = await call("DELETE", "/bots/b1/delete")
        assert (answer.status, answer.body["bot_id"]) == (200, "b1")
        for path in ("status", "detail", "get_chats", "remove_bot"):
            assert (await call("GET", f"/bots/b1/{path}")).status == 404
        assert (await call("DELETE", "/bots/b1/delete")).status == 404
        assert await ids(call) == []
    [last] = await world.redis.xrevrange(world.keys.outbox, count=1)
    delivery = json.loads(last[1][b"delivery"])
    assert json.loads(delivery["body"])["deleted_objects"] == answer.body["deleted_objects"]
    assert not [key async for key in world.redis.scan_iter(f"{world.keys.prefix}:bot:b1*")]


async def test_a_bot_is_deleted_also_while_the_files_of_its_recording_are_to_be_made(
    world: World, tmp_path: Path
) -> None:
    store = world.keep_recordings(tmp_path / "store")
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.apply(NoteRecorded(BotRecorded("vm-a", "b1", 1, hand.at + 2)))
    put(store, Manifest(1, "b1", 1, "room", 0.0, None, finished=False), PROGRESS)
    await hand.end("b1")
    async with world.serving() as call:
        assert (await call("DELETE", "/bots/b1/delete")).status == 200
    assert [path for path in store.rglob("*") if path.is_file()] == [store / manifest.deleted("b1")]


async def test_a_deletion_that_its_program_does_not_survive_leaves_no_mark_without_an_end(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.keep_recordings(tmp_path)
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.end("b1")

    async def be_killed(_: Store, bot_id: str, _now: float) -> int:
        assert await world.redis.zscore(world.keys.recordings_expiring, bot_id) > time.time() + DELETED_MARK_LIFE_S - 60
        raise StoreError("it is killed here")

    monkeypatch.setattr(deletion, "delete", be_killed)
    async with world.serving() as call:
        assert (await call("DELETE", "/bots/b1/delete")).status == 503
    assert await world.redis.zscore(world.keys.recordings_expiring, "b1")


async def test_of_a_bot_that_no_worker_had_the_store_holds_no_mark(world: World, tmp_path: Path) -> None:
    store = world.keep_recordings(tmp_path / "store")
    hand = await world.ledger()
    await hand.accept("b1")
    await hand.end("b1")
    async with world.serving() as call:
        assert (await call("DELETE", "/bots/b1/delete")).status == 200
    assert not store.exists()
    assert not await world.redis.exists(world.keys.recordings_expiring)
