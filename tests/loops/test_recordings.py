"""The leader's round over recordings, once a minute: on a real Redis, with a folder as the store."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from common.config.settings import CaptureSettings
from common.runtime.clock import Clock
from common.runtime.recordings import deletion
from common.runtime.recordings.store import Store, StoreError
from common.wire import codec
from common.wire.messages import BotRecorded, BotTranscribed, FinishRecording
from poolmgr.core.decisions import NoteRecorded
from poolmgr.loops.recordings import tend_recordings
from poolmgr.store.forgetting import forget, keep_mark
from poolmgr.store.leader.recordings import DueRecordings
from poolmgr.store.lives import DELETED_MARK_LIFE_S, MADE_WITHIN_S, TAKEN_OVER_AFTER_S
from poolmgr.telling.narrative import sentence
from tests.api.conftest import Hand, World, world
from tests.waiting import wait_until

__all__ = ["world"]

RETENTION = {"recording_config": {"retention": {"type": "timed", "hours": 1}}}
Said = list[MutableMapping[str, Any]]


class At(Clock):
    """A wall clock that the test moves. `rounds`: how many of the loop have begun."""

    def __init__(self, now: float) -> None:
        super().__init__()
        self.now = now
        self.rounds = 0

    def wall(self) -> float:
        self.rounds += 1
        return self.now


@asynccontextmanager
async def tending(
    world: World,
    store: Store | StoreError | None,
    clock: Clock,
    vm_to_finish: Callable[[str, str], str | None] = lambda _, __: None,
) -> AsyncGenerator[Said]:
    """The loop beside the test, with what it logs."""
    due = DueRecordings(world.redis, world.keys, 1)

    def get_store() -> Store | None:
        if isinstance(store, StoreError):
            raise store
        return store

    with capture_logs() as said:
        async with asyncio.TaskGroup() as tasks:
            loop = tasks.create_task(tend_recordings(due, get_store, clock, vm_to_finish), name="recordings")
            yield said
            loop.cancel()


async def recorded(hand: Hand, bot_id: str, **job: Any) -> None:
    """The bot's meeting was recorded, and is over; its files are not made yet."""
    await hand.enter(bot_id, **job)
    await hand.apply(NoteRecorded(BotRecorded("vm-a", bot_id, 1, hand.at + 2)))
    await hand.end(bot_id)


async def made(hand: Hand, bot_id: str, **job: Any) -> None:
    """Its files are made, too."""
    await recorded(hand, bot_id, **job)
    done = BotRecorded("vm-a", bot_id, 1, hand.at + 90, finished=True, audio_s=58.0)
    await hand.apply(NoteRecorded(done))


def of(said: Said, event: str) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in update.items() if k not in ("event", "log_level")}
        for update in said
        if update["event"] == event
    ]


async def status(world: World, bot_id: str) -> str:
    bot = await world.views.bot(bot_id)
    assert bot
    return bot.manifest_status


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(CaptureSettings(store=str(tmp_path / "store"), store_timeout_s=60.0))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute is short."""
    monkeypatch.setattr("poolmgr.loops.recordings._EVERY_S", 0.02)


@pytest.mark.usefixtures("soon")
async def test_what_nobody_made_files_of_is_given_up_when_its_hour_is_over_and_not_before(
    world: World, store: Store
) -> None:
    hand = await world.ledger()
    await recorded(hand, "unmade")
    await made(hand, "made")
    clock = At(hand.at + 60 + MADE_WITHIN_S - 1)
    async with tending(world, store, clock) as said:
        await wait_until(lambda: clock.rounds >= 2)
        assert of(said, "recording_unmade") == []
        assert await status(world, "unmade") == "recording"
        clock.now += 1
        await wait_until(lambda: of(said, "recording_unmade"))
    assert of(said, "recording_unmade") == [{"bot_id": "unmade"}]
    assert (await status(world, "unmade"), await status(world, "made")) == ("skipped", "completed")


@pytest.mark.usefixtures("soon")
async def test_what_its_own_vm_does_not_make_another_one_is_to_make_as_soon_as_there_is_one(
    world: World, store: Store
) -> None:
    hand = await world.ledger()
    await recorded(hand, "b1")
    asked, there = list[str](), list[str]()

    def vm_to_finish(own: str, unmade_by: str) -> str | None:
        assert not unmade_by
        asked.append(own)
        return next(iter(there), None)

    ended_at = hand.at + 60
    clock = At(ended_at + TAKEN_OVER_AFTER_S - 1)
    async with tending(world, store, clock, vm_to_finish) as said:
        await wait_until(lambda: clock.rounds >= 2)
        assert asked == []
        clock.now += 1
        await wait_until(lambda: len(asked) >= 2)
        there.append("vm-z")
        await wait_until(lambda: of(said, "recording_handed_on"))
        rounds = clock.rounds
        await wait_until(lambda: clock.rounds >= rounds + 2)
        orders = await world.redis.xrange(world.keys.commands("vm-z"))
        assert [codec.decode_command(fields[b"m"]) for _, fields in orders] == [FinishRecording("b1", 1, ended_at)]
        assert await status(world, "b1") == "recording"
        clock.now = ended_at + MADE_WITHIN_S
        await wait_until(lambda: of(said, "recording_unmade"))
    assert of(said, "recording_handed_on") == [{"bot_id": "b1", "vm_id": "vm-z"}]
    assert set(asked) == {"vm-a"}
    told = [sentence(entry) for entry in await world.views.story("b1")]
    assert "its VM has made no files of its recording: VM vm-z is to make them of what is in the store" in told
    assert await status(world, "b1") == "skipped"


@pytest.mark.usefixtures("soon")
async def test_a_transcript_without_a_recording_is_handed_on_and_given_up_like_one(world: World, store: Store) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.apply(NoteRecorded(BotTranscribed("vm-a", "b1", 1, hand.at + 2)))
    await hand.end("b1")
    ended_at = hand.at + 60
    clock = At(ended_at + TAKEN_OVER_AFTER_S)
    async with tending(world, store, clock, lambda _, __: "vm-z") as said:
        await wait_until(lambda: of(said, "transcript_handed_on"))
        clock.now = ended_at + MADE_WITHIN_S
        await wait_until(lambda: of(said, "transcript_unmade"))
    orders = await world.redis.xrange(world.keys.commands("vm-z"))
    ordered = FinishRecording("b1", 1, ended_at, transcript=True, recording=False)
    assert [codec.decode_command(fields[b"m"]) for _, fields in orders] == [ordered]
    assert of(said, "transcript_handed_on") == [{"bot_id": "b1", "vm_id": "vm-z"}]
    assert of(said, "recording_handed_on") == of(said, "recording_unmade") == []
    bot = await world.views.bot("b1")
    assert bot
    assert (bot.transcript_status, bot.manifest_status) == ("skipped", "")


async def test_whose_time_is_over_is_deleted_from_the_store_and_nothing_else_is(
    world: World, store: Store, tmp_path: Path
) -> None:
    hand = await world.ledger()
    await made(hand, "old", **RETENTION)
    await made(hand, "kept")
    for bot_id in ("old", "kept"):
        for name in ("audio.ogg", "manifest.json"):
            await store.put(f"{bot_id}/1/{name}", b"something")
    async with tending(world, store, At(hand.at + 3601)) as said:
        await wait_until(lambda: of(said, "recording_expired"))
    assert of(said, "recording_expired") == [{"bot_id": "old", "objects": 2}]
    assert (await status(world, "old"), await status(world, "kept")) == ("expired", "completed")
    assert left(tmp_path) == ["kept/1/audio.ogg", "kept/1/manifest.json", "old/deleted"]


def left(folder: Path) -> list[str]:
    store = folder / "store"
    found = (Path(folder, name) for folder, _, names in os.walk(store) for name in names)  # a folder may go meanwhile
    return sorted(str(path.relative_to(store)) for path in found)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("is_forgotten", [False, True])
async def test_the_mark_that_it_was_deleted_goes_when_nothing_has_come_for_a_month(
    world: World, store: Store, tmp_path: Path, *, is_forgotten: bool
) -> None:
    hand = await world.ledger()
    await made(hand, "old", **RETENTION)
    await store.put("old/1/audio.ogg", b"something")
    clock = At(hand.at + 3601)
    async with tending(world, store, clock) as said:
        await wait_until(lambda: of(said, "recording_expired"))
        if is_forgotten:
            await forget(world.redis, world.keys, "old")
        await store.put("old/1/audio.ogg", b"of a VM that came back")
        clock.now += DELETED_MARK_LIFE_S
        await wait_until(lambda: len(of(said, "recording_expired")) == 2)
        assert left(tmp_path) == ["old/deleted"]
        clock.now += DELETED_MARK_LIFE_S - 1
        rounds = clock.rounds
        await wait_until(lambda: clock.rounds >= rounds + 2)
        assert left(tmp_path) == ["old/deleted"]
        clock.now += 1
        await wait_until(lambda: left(tmp_path) == [])
        await wait_until(lambda: gone(world))
    assert of(said, "recording_expired") == [{"bot_id": "old", "objects": 1}] * 2
    told = [sentence(entry) for entry in await world.views.story("old")]
    assert len([each for each in told if "was deleted" in each]) == (0 if is_forgotten else 1)


async def gone(world: World) -> bool:
    return not await world.redis.exists(world.keys.recordings_expiring)


@pytest.mark.usefixtures("soon")
async def test_what_the_store_does_not_delete_is_asked_for_again_and_counts_as_there_until_then(
    world: World, store: Store, tmp_path: Path
) -> None:
    hand = await world.ledger()
    await made(hand, "old", **RETENTION)
    in_the_way = tmp_path / "store"
    in_the_way.write_text("no folder")
    clock = At(hand.at + 3601)
    async with tending(world, store, clock) as said:
        await wait_until(lambda: of(said, "recording_undeleted"))
        clock.now += 60
        await wait_until(lambda: len(of(said, "recording_undeleted")) == 2)
        assert await status(world, "old") == "completed"
        in_the_way.unlink()
        clock.now += 120
        await wait_until(lambda: of(said, "recording_expired"))
    assert await status(world, "old") == "expired"


def refuse(monkeypatch: pytest.MonkeyPatch, prefix: str) -> list[str]:
    """The store deletes nothing of bots whose ids begin so. Returns those that it was asked for, as they come."""
    delete, asked = Store.delete, list[str]()

    async def refuse(store: Store, bot_id: str) -> int:
        asked.append(bot_id)
        if bot_id.startswith(prefix):
            raise StoreError("it is held")
        return await delete(store, bot_id)

    monkeypatch.setattr(Store, "delete", refuse)
    return asked


async def expire(world: World, store: Store, *bot_ids: str) -> float:
    """They are recorded, and expire one after the other. Returns a time when all are due."""
    hand = await world.ledger()
    for bot_id in bot_ids:
        await made(hand, bot_id, **RETENTION)
        await store.put(f"{bot_id}/1/audio.ogg", b"something")
        hand.at += 1
    return hand.at + 3700


async def rounds(clock: At, count: int = 2) -> None:
    """So many whole rounds go by."""
    begun = clock.rounds
    await wait_until(lambda: clock.rounds > begun + count)


def while_deleting(monkeypatch: pytest.MonkeyPatch, bot_id: str, act: Callable[[], Awaitable[object]]) -> None:
    """Have `act` happen while the store deletes what it has of that bot."""
    delete = Store.delete

    async def act_before(store: Store, deleted: str) -> int:
        if deleted == bot_id:
            await act()
        return await delete(store, deleted)

    monkeypatch.setattr(Store, "delete", act_before)


async def test_files_that_come_while_others_are_deleted_are_kept_for_their_time(
    world: World, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = await world.ledger()
    for bot_id in ("late", "other"):
        await recorded(hand, bot_id, **RETENTION)
    for one in await (due := DueRecordings(world.redis, world.keys, 1)).unmade(hand.at + 60 + MADE_WITHIN_S):
        await due.give_up(one, hand.at + 61)
    await made(hand, "first", **RETENTION)
    for bot_id in ("first", "late", "other"):
        await store.put(f"{bot_id}/1/audio.ogg", b"something")
    hand.at += 3700
    files = BotRecorded("vm-a", "late", 1, hand.at, finished=True, audio_s=58.0)
    while_deleting(monkeypatch, "first", lambda: hand.apply(NoteRecorded(files)))
    async with tending(world, store, At(hand.at)) as said:
        await wait_until(lambda: len(of(said, "recording_expired")) == 2)
    assert left(tmp_path) == ["first/deleted", "late/1/audio.ogg", "other/deleted"]
    assert (await status(world, "other"), await status(world, "late")) == ("expired", "completed")


@pytest.mark.parametrize("keeps", [True, False], ids=["", "and has yet to have it kept"])
async def test_the_mark_of_a_client_that_deletes_a_bot_while_others_are_deleted_stays(
    world: World, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, keeps: bool
) -> None:
    now = await expire(world, store, "first", "gone", "last")

    async def a_client_deletes() -> None:
        await deletion.delete(store, "gone", now)
        if keeps:
            await keep_mark(world.redis, world.keys, "gone", now)

    while_deleting(monkeypatch, "first", a_client_deletes)
    async with tending(world, store, At(now)) as said:
        await wait_until(lambda: any(each["bot_id"] == "last" for each in of(said, "recording_expired")))
    assert left(tmp_path) == ["first/deleted", "gone/deleted", "last/deleted"]


@pytest.mark.usefixtures("soon")
async def test_the_mark_stays_for_its_time_though_the_answer_of_the_store_got_lost(
    world: World, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete, unheard = Store.delete, ["no answer"]

    async def delete_unheard(self: Store, bot_id: str) -> int:
        objects = await delete(self, bot_id)
        if unheard:
            raise StoreError(unheard.pop())
        return objects

    monkeypatch.setattr(Store, "delete", delete_unheard)
    clock = At(await expire(world, store, "old"))
    async with tending(world, store, clock) as said:
        await wait_until(lambda: of(said, "recording_undeleted"))
        clock.now += 60
        await rounds(clock)
        assert left(tmp_path) == ["old/deleted"]
        clock.now += DELETED_MARK_LIFE_S
        await wait_until(lambda: gone(world))
    assert left(tmp_path) == []


@pytest.mark.usefixtures("soon")
async def test_one_that_the_store_does_not_delete_keeps_no_other_waiting_and_is_tried_ever_more_seldom(
    world: World, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = refuse(monkeypatch, "held")
    clock = At(await expire(world, store, "held", "other"))
    async with tending(world, store, clock) as said:
        for wait_s in (60, 120, 240, 480, 960, 1920, 3600, 3600):
            await wait_until(lambda: of(said, "recording_undeleted"))
            clock.now += wait_s - 1
            await rounds(clock)
            undeleted = {"bot_id": "held", "error": "it is held", "again_in_s": wait_s}
            assert of(said, "recording_undeleted") == [undeleted]
            said[:] = [each for each in said if each["event"] != "recording_undeleted"]
            clock.now += 1
    assert asked[:2] == ["held", "other"], "in one round"
    assert of(said, "recording_expired") == [{"bot_id": "other", "objects": 1}]
    assert (await status(world, "held"), await status(world, "other")) == ("completed", "expired")


@pytest.mark.usefixtures("soon")
async def test_a_store_that_deletes_nothing_five_times_in_a_row_is_asked_no_more_in_that_round(
    world: World, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = refuse(monkeypatch, "held")
    held = [f"held-{number}" for number in range(9)]
    clock = At(await expire(world, store, *held[:4], "other", *held[4:], "last"))
    monkeypatch.setattr("poolmgr.loops.recordings._EVERY_S", 3600.0)
    async with tending(world, store, clock):
        await wait_until(lambda: len(asked) >= 10)
        await asyncio.sleep(0.05)
    assert asked == [*held[:4], "other", *held[4:]]
    async with tending(world, store, clock) as said:
        await wait_until(lambda: of(said, "recording_expired"))
    assert of(said, "recording_expired") == [{"bot_id": "last", "objects": 1}]


@pytest.mark.usefixtures("soon")
async def test_a_store_whose_settings_cannot_be_used_is_told_of_and_the_round_goes_on(world: World) -> None:
    async with tending(world, StoreError("cannot use capture.store"), At(0.0)) as said:
        await wait_until(lambda: len(of(said, "recording_undeleted")) >= 2)
    assert of(said, "recording_undeleted")[0] == {"bot_id": "", "error": "cannot use capture.store"}


@pytest.mark.usefixtures("soon")
async def test_without_a_store_nothing_is_said_to_be_deleted_and_the_round_goes_on(world: World) -> None:
    hand = await world.ledger()
    await made(hand, "old", **RETENTION)
    clock = At(hand.at + 3601)
    async with tending(world, None, clock) as said:
        await recorded(hand, "late")
        clock.now = hand.at + 60 + MADE_WITHIN_S
        await wait_until(lambda: of(said, "recording_unmade"))
    assert of(said, "recording_expired") == []
    assert await status(world, "old") == "completed"
