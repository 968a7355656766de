"""A transcript whose VM is gone with its disk, from the copy in the store to the webhook: the leader's round and ledger
on a real Redis, the agents' outboxes on disks of their own, a folder as the store.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from common.config.settings import CaptureSettings
from common.runtime.recordings.store import Store
from common.wire import codec, manifest, minutes
from common.wire.messages import BotTranscribed, Feeds, FinishRecording, Join
from common.wire.minutes import SO_FAR, TRANSCRIPT
from poolmgr.core.decisions import NoteRecorded
from poolmgr.store.lives import MADE_WITHIN_S, TAKEN_OVER_AFTER_S
from tests.api.conftest import Hand, World, world
from tests.loops.test_recordings import At, of, tending
from tests.waiting import wait_until
from worker.transcript.minutes_outbox import MinutesFile, MinutesOutbox
from worker.transcript.utterances import UtteranceUpdate

__all__ = ["world"]

JOIN = Join("w1", "b1", 1, "room", "http://h/r/x", "Bot", no_audio=True, feeds=Feeds(transcript=True))


class Fleet:
    """VMs with one store. `hand`: what they report goes to the leader's ledger by it."""

    def __init__(self, world: World, hand: Hand, folder: Path) -> None:
        self.world = world
        self.hand = hand
        self.folder = folder
        self.store_folder = folder / "store"
        self._reports = asyncio.Queue[BotTranscribed]()

    @property
    def store(self) -> Store:
        return Store(CaptureSettings(store=str(self.store_folder), store_timeout_s=60.0))

    def agent(self, vm_id: str) -> MinutesOutbox:
        """As an agent that is started on this VM has it."""
        return MinutesOutbox(vm_id, self.folder / vm_id, self.store, self._reports.put_nowait)

    async def told(self, reports: int = 1) -> None:
        """The leader has been told of that many."""
        for _ in range(reports):
            await self.hand.apply(NoteRecorded(await self._reports.get()))

    async def meeting(self, *, said: str = "", copied: bool = True) -> MinutesFile:
        """A meeting on vm-a that is not recorded; the VM is gone when the bot ends."""
        await self.hand.enter("b1", callback_url="https://hooks.example/x", audio_required=False)
        agent = self.agent("vm-a")
        file = agent.begin(JOIN)
        assert file
        await self.told()
        if said:
            file.add_utterances([UtteranceUpdate(1, "Ann", said, 100.0, 101.0, is_final=True)])
        if copied:
            await file.copy(self.store, 0.0)
        await self.hand.end("b1")
        return file

    async def handed_on(self, vm_id: str, at: float) -> FinishRecording:
        """What the leader orders that VM at `at`."""
        async with tending(self.world, self.store, At(at), lambda _, __: vm_id) as said:
            await wait_until(lambda: of(said, "transcript_handed_on"))
        [(_, fields)] = await self.world.redis.xrange(self.world.keys.commands(vm_id))
        order = codec.decode_command(fields[b"m"])
        assert isinstance(order, FinishRecording)
        assert (order.recording, order.transcript) == (False, True)
        return order

    @property
    def first_look(self) -> float:
        return self.hand.at + 60 + TAKEN_OVER_AFTER_S

    async def status(self) -> str:
        bot = await self.world.views.bot("b1")
        assert bot
        return bot.transcript_status

    async def webhooks(self) -> list[str]:
        entries = await self.world.redis.xrange(self.world.keys.outbox)
        return [fields[b"transcribed"].decode() for _, fields in entries if b"transcribed" in fields]

    async def waits(self) -> bool:
        return await self.world.redis.zscore(self.world.keys.recordings_due, "b1") is not None

    async def transcript(self) -> list[str]:
        content = await self.store.get(f"{manifest.folder('b1', 1)}/{TRANSCRIPT}")
        return [each.text for each in minutes.decode(content).utterances]


@asynccontextmanager
async def running(*agents: MinutesOutbox) -> AsyncGenerator[None]:
    async with asyncio.TaskGroup() as tasks:
        loops = [tasks.create_task(agent.finish(set), name="finish minutes") for agent in agents]
        yield
        for loop in loops:
            loop.cancel()


@pytest.fixture
async def fleet(world: World, tmp_path: Path) -> Fleet:
    return Fleet(world, await world.ledger(), tmp_path)


async def test_another_vm_makes_it_once_and_the_lost_one_changes_nothing_when_it_is_back(fleet: Fleet) -> None:
    file = await fleet.meeting(said="Good morning")
    order = await fleet.handed_on("vm-b", fleet.first_look)
    other = fleet.agent("vm-b")
    other.take_over(order)
    async with running(other):
        await fleet.told()
    assert (await fleet.status(), await fleet.waits(), await fleet.transcript()) == (
        "processed",
        False,
        ["Good morning"],
    )
    file.add_utterances([UtteranceUpdate(2, "Ann", "nobody had that", 150.0, 151.0, is_final=True)])
    async with running(fleet.agent("vm-a")):
        await fleet.told()
    assert await fleet.transcript() == ["Good morning"]
    assert await fleet.webhooks() == ["processing", "processed"]


async def test_two_vms_are_ordered_because_the_first_was_slow_and_one_webhook_is_sent(fleet: Fleet) -> None:
    await fleet.meeting(said="Good morning")
    slow, quick = fleet.agent("vm-b"), fleet.agent("vm-c")
    slow.take_over(await fleet.handed_on("vm-b", fleet.first_look))
    quick.take_over(await fleet.handed_on("vm-c", fleet.first_look + TAKEN_OVER_AFTER_S))
    async with running(slow, quick):
        await fleet.told(reports=2)
    assert (await fleet.status(), await fleet.transcript()) == ("processed", ["Good morning"])
    assert await fleet.webhooks() == ["processing", "processed"]


@pytest.mark.parametrize("copied", [True, False])
async def test_a_meeting_in_which_nothing_was_said_or_of_which_nothing_is_left_is_told_so_before_the_hour(
    fleet: Fleet, *, copied: bool
) -> None:
    await fleet.meeting(copied=copied)
    other = fleet.agent("vm-b")
    other.take_over(await fleet.handed_on("vm-b", fleet.first_look))
    async with running(other):
        await fleet.told()
    assert (await fleet.status(), await fleet.waits()) == ("skipped", False)
    assert await fleet.webhooks() == ["processing", "skipped"]


async def test_a_store_that_is_away_for_more_than_the_hour_costs_the_deadline_and_not_the_words(fleet: Fleet) -> None:
    await fleet.meeting(said="patience")
    order = await fleet.handed_on("vm-b", fleet.first_look)
    away = fleet.store_folder.rename(fleet.folder / "away")
    fleet.store_folder.write_text("in the way of the folder")
    other = fleet.agent("vm-b")
    other.take_over(msgspec.structs.replace(order, ended_at=time.time()))
    async with running(other):
        async with tending(fleet.world, None, At(fleet.hand.at + 60 + MADE_WITHIN_S)) as said:
            await wait_until(lambda: of(said, "transcript_unmade"))
        assert (await fleet.status(), await fleet.waits()) == ("skipped", False)
        fleet.store_folder.unlink()
        away.rename(fleet.store_folder)
        await fleet.told()
    assert (await fleet.status(), await fleet.transcript()) == ("processed", ["patience"])
    assert await fleet.webhooks() == ["processing", "skipped", "processed"]


async def test_the_lost_vm_is_back_after_the_transcript_was_given_up_and_has_it(fleet: Fleet) -> None:
    """The store had no word of it: the VM was lost before the first copy."""
    await fleet.meeting(said="nobody had that", copied=False)
    other = fleet.agent("vm-b")
    other.take_over(await fleet.handed_on("vm-b", fleet.first_look))
    async with running(other):
        await fleet.told()
    assert await fleet.status() == "skipped"
    async with running(fleet.agent("vm-a")):
        await fleet.told()
    assert (await fleet.status(), await fleet.transcript()) == ("processed", ["nobody had that"])
    assert await fleet.webhooks() == ["processing", "skipped", "processed"]


async def test_a_vm_that_made_it_itself_leaves_nothing_to_order(fleet: Fleet) -> None:
    await fleet.meeting(said="Good morning")
    copy = fleet.store_folder / manifest.folder("b1", 1) / SO_FAR
    assert copy.exists()
    async with running(fleet.agent("vm-a")):
        await fleet.told()
        await wait_until(lambda: not copy.exists())  # which comes after the report
    assert (await fleet.status(), await fleet.waits()) == ("processed", False)
