"""What is said goes onto the disk, and beside the recording when the bot is out, whatever happens between."""

import asyncio
import errno
import json
import os
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from structlog.testing import capture_logs

from common.config.settings import CaptureSettings
from common.runtime.recordings import deletion
from common.runtime.recordings.store import Store, StoreError
from common.wire import minutes
from common.wire.messages import BotTranscribed, Feeds, FinishRecording, Join
from common.wire.minutes import CAPTIONS, SO_FAR, SPEAKERS, TRANSCRIPT, Minutes, Turn, Utterance
from tests.waiting import wait_until
from worker.transcript.minutes_outbox import (
    CHECK_EVERY_S,
    COPIED_BYTES,
    COPY_EVERY_S,
    ORDER_LIFE_S,
    MinutesFile,
    MinutesOutbox,
)
from worker.transcript.utterances import UtteranceUpdate

JOIN = Join("w1", "b1", 2, "room", "http://h/r/x", "Bot", feeds=Feeds(transcript=True))


@pytest.fixture(autouse=True)
def checked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """That all is done is seen at the next look, which these tests wait for."""
    monkeypatch.setattr("worker.transcript.minutes_outbox.CHECK_EVERY_S", 0.05)


def said(text: str, began_at: float = 100.0, *, is_final: bool = True) -> UtteranceUpdate:
    return UtteranceUpdate(1, "Ann", text, began_at, began_at + 1, is_final)


class Kept:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "minutes"
        self.store = folder / "store"
        self.reports: list[BotTranscribed] = []

    def anew(self) -> MinutesOutbox:
        """As an agent that is started has it."""
        return MinutesOutbox("vm1", self.folder, self.anew_store(), self.reports.append)

    def anew_store(self) -> Store:
        return Store(CaptureSettings(store=str(self.store), store_timeout_s=60))

    @property
    def stored(self) -> list[str]:
        return sorted(str(path.relative_to(self.store)) for path in self.store.rglob("*") if path.is_file())

    def file(self, name: str) -> Minutes:
        return minutes.decode((self.store / "b1" / "2" / name).read_bytes())


async def finish(minutes_outbox: MinutesOutbox, live: set[tuple[str, int]] | None = None) -> None:
    async with asyncio.TaskGroup() as tasks:
        finishing = tasks.create_task(minutes_outbox.finish(lambda: live or set()), name="finish")
        await minutes_outbox.idle.wait()
        finishing.cancel()


async def test_what_is_final_is_in_the_transcript_and_who_spoke_in_the_timeline(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    minutes_outbox = kept.anew()
    minutes_file = minutes_outbox.begin(JOIN)
    assert minutes_file
    minutes_file.add_utterances([said("Good", is_final=False), said("Good morning")])
    assert oct(minutes_file.path.stat().st_mode)[-3:] == "600"
    for now in (100.0, 100.5, 101.0):
        minutes_file.note_speaker(now, "p1", "Ann")
    minutes_outbox.end(minutes_file)
    await finish(minutes_outbox)
    written = kept.file(TRANSCRIPT)
    assert (written.bot_id, written.attempt, written.provider) == ("b1", 2, "meeting_captions")
    assert written.utterances == [Utterance("Ann", "Good morning", 100.0, 101.0)]
    assert kept.file(SPEAKERS).turns == [Turn("p1", "Ann", 100.0, 101.0)]
    assert [(report.finished, report.utterances) for report in kept.reports] == [(False, 0), (True, 1)]
    assert list(kept.folder.iterdir()) == []


async def test_an_agent_that_was_killed_left_what_the_next_one_goes_on_with(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    first = kept.anew().begin(JOIN)
    assert first
    first.add_utterances([said("before")])
    with first.path.open("ab") as file:
        file.write(b'{"type":"utter')  # what it was writing
    minutes_outbox = kept.anew()
    second = minutes_outbox.begin(JOIN)
    assert second
    second.add_utterances([said("after", 200.0)])
    minutes_outbox.end(second)
    await finish(minutes_outbox)
    assert [utterance.text for utterance in kept.file(TRANSCRIPT).utterances] == ["before", "after"]


async def lost_after(kept: Kept, *utterances: str) -> MinutesFile:
    """A bot of a VM that is gone with its disk, once the store had a copy of what was said."""
    minutes_outbox = kept.anew()
    minutes_file = minutes_outbox.begin(JOIN)
    assert minutes_file
    minutes_file.add_utterances([said(text) for text in utterances])
    for now, speaker in ((100.0, "Ann"), (100.5, "Ann"), (101.0, "Ann"), (110.0, "")):
        minutes_file.note_speaker(now, "p1" if speaker else "", speaker)
    async with asyncio.TaskGroup() as tasks:
        copying = tasks.create_task(minutes_outbox.finish(lambda: {("b1", 2)}), name="finish")
        await wait_until(lambda: (kept.store / "b1" / "2" / SO_FAR).is_file())
        copying.cancel()
    kept.reports.clear()
    return minutes_file


def elsewhere(kept: Kept, folder: Path) -> Kept:
    """Another VM, with the same store."""
    other = Kept(folder)
    other.store = kept.store
    return other


async def take_over(kept: Kept, order: FinishRecording) -> None:
    minutes_outbox = kept.anew()
    minutes_outbox.take_over(order)
    assert not minutes_outbox.idle.is_set()
    await finish(minutes_outbox)
    assert not kept.folder.exists() or list(kept.folder.iterdir()) == []


ORDER = FinishRecording("b1", 2, 200.0, transcript=True)
SPOKE = [Turn("p1", "Ann", 100.0, 101.0)]


async def test_who_spoke_is_found_on_the_disk_while_words_are_still_heard_and_then_in_the_store(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    minutes_outbox = kept.anew()
    assert await minutes_outbox.find_turns("b1", 2) == []
    minutes_file = minutes_outbox.begin(JOIN)
    assert minutes_file
    for now in (100.0, 100.5, 101.0):
        minutes_file.note_speaker(now, "p1", "Ann")
    minutes_file.end()  # the bot is out, and a provider still has its last words
    assert await minutes_outbox.find_turns("b1", 2) == SPOKE
    minutes_outbox.end(minutes_file)
    await finish(minutes_outbox)
    assert not minutes_file.path.exists()
    assert await minutes_outbox.find_turns("b1", 2) == SPOKE
    assert await MinutesOutbox("vm1", kept.folder, None, kept.reports.append).find_turns("b1", 2) == []


async def test_who_spoke_to_a_vm_that_is_gone_is_found_in_the_copy_also_while_another_one_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(tmp_path / "lost")
    await lost_after(kept, "Good morning")
    other = elsewhere(kept, tmp_path / "other").anew()
    assert await other.find_turns("b1", 2) == SPOKE
    get = Store.get

    async def get_slowly(store: Store, path: str) -> bytes:
        if path.endswith(SO_FAR):
            monkeypatch.setattr(Store, "get", get)
            await take_over(elsewhere(kept, tmp_path / "third"), ORDER)
        return await get(store, path)

    monkeypatch.setattr(Store, "get", get_slowly)
    assert await other.find_turns("b1", 2) == SPOKE
    (kept.store / "b1" / "2" / SPEAKERS).write_text("nothing of ours")
    assert await other.find_turns("b1", 2) == []


async def test_what_was_said_to_a_vm_that_is_gone_is_written_by_another_once(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "lost")
    minutes_file = await lost_after(kept, "Good morning")
    other = elsewhere(kept, tmp_path / "other")
    await take_over(other, ORDER)
    assert kept.file(TRANSCRIPT).utterances == [Utterance("Ann", "Good morning", 100.0, 101.0)]
    assert kept.file(SPEAKERS).turns == [Turn("p1", "Ann", 100.0, 101.0)]
    assert not (kept.store / "b1" / "2" / SO_FAR).exists()
    await take_over(other, ORDER)
    assert [(each.finished, each.utterances, each.by) for each in other.reports] == [(True, 1, "")] * 2, "told again"
    minutes_file.add_utterances([said("nobody had that", 150.0)])
    await finish(kept.anew())  # the VM comes back
    assert [each.text for each in kept.file(TRANSCRIPT).utterances] == ["Good morning"], "a transcript does not change"
    assert [(each.finished, each.utterances) for each in kept.reports] == [(True, 1)], "what is there is told"


async def test_a_meeting_in_which_nothing_was_said_to_a_vm_that_is_gone_has_an_empty_transcript(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "lost")
    await lost_after(kept)
    other = elsewhere(kept, tmp_path / "other")
    await take_over(other, ORDER)
    assert kept.file(TRANSCRIPT).utterances == []
    assert [(each.finished, each.utterances) for each in other.reports] == [(True, 0)]


async def test_of_two_vms_that_are_both_to_make_a_transcript_one_does(tmp_path: Path) -> None:
    """The first one took the copy over, and was slow. Both report it, and the manager takes the first report."""
    kept = Kept(tmp_path / "lost")
    await lost_after(kept, "Good morning")
    slow, other = elsewhere(kept, tmp_path / "slow"), elsewhere(kept, tmp_path / "other")
    outbox = slow.anew()
    outbox.take_over(ORDER)
    async with asyncio.TaskGroup() as tasks:
        finishing = tasks.create_task(outbox.finish(lambda: {("b1", 2)}), name="finish")
        await wait_until(lambda: (slow.folder / "b1@2").exists())
        finishing.cancel()
    await take_over(other, ORDER)
    made = (kept.store / "b1" / "2" / TRANSCRIPT).read_bytes()
    with capture_logs() as logs:
        await finish(slow.anew())
    assert [log["event"] for log in logs] == ["transcript_stored_before"]
    assert (kept.store / "b1" / "2" / TRANSCRIPT).read_bytes() == made
    assert [(each.finished, each.utterances) for each in (*other.reports, *slow.reports)] == [(True, 1)] * 2
    assert list(slow.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("there", "by", "text"),
    [
        (Minutes(1, "b1", 2, "room", 100.0, "openai", [Utterance("Ann", "Heard", 100.0, 101.0)]), "openai", "Heard"),
        (Minutes(1, "b1", 2, "room", 100.0, CAPTIONS), "", "Good morning"),
        (None, "", "Good morning"),
    ],
    ids=["a provider's", "without a word", "unreadable"],
)
async def test_a_vm_that_comes_back_tells_of_the_words_that_the_store_has_then(
    tmp_path: Path, there: Minutes | None, by: str, text: str
) -> None:
    kept = Kept(tmp_path)
    minutes_outbox = kept.anew()
    minutes_file = minutes_outbox.begin(JOIN)
    assert minutes_file
    minutes_file.add_utterances([said("Good morning")])
    minutes_outbox.end(minutes_file)
    await kept.anew_store().put(f"b1/2/{TRANSCRIPT}", minutes.encode(there) if there else b"{")
    await finish(minutes_outbox)
    assert [each.text for each in kept.file(TRANSCRIPT).utterances] == [text]
    assert [(each.finished, each.utterances, each.by) for each in kept.reports[1:]] == [(True, 1, by)]


async def test_a_vm_that_comes_back_with_its_disk_writes_what_the_store_had_no_word_of(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "lost")
    minutes_file = kept.anew().begin(JOIN)
    assert minutes_file
    minutes_file.add_utterances([said("nobody had that")])
    other = elsewhere(kept, tmp_path / "other")
    await take_over(other, ORDER)
    kept.reports.clear()
    await finish(kept.anew())
    assert [each.text for each in kept.file(TRANSCRIPT).utterances] == ["nobody had that"]
    assert [each.utterances for each in (*other.reports, *kept.reports)] == [0, 1]


async def test_a_store_that_is_away_when_a_transcript_is_to_be_made_is_waited_for(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "lost")
    await lost_after(kept, "patience")
    away = kept.store.rename(tmp_path / "away")
    kept.store.write_text("in the way of the folder")
    other = elsewhere(kept, tmp_path / "other")
    outbox = other.anew()
    outbox.take_over(msgspec.structs.replace(ORDER, ended_at=time.time()))
    async with asyncio.TaskGroup() as tasks:
        finishing = tasks.create_task(outbox.finish(set), name="finish")
        await wait_until(lambda: outbox._last_warning)  # pyright: ignore[reportPrivateUsage]
        assert other.reports == []
        kept.store.unlink()
        away.rename(kept.store)
        await wait_until(lambda: other.reports)
        finishing.cancel()
    assert [each.text for each in kept.file(TRANSCRIPT).utterances] == ["patience"]


async def test_an_order_that_the_store_refuses_delays_no_other_and_is_dropped_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exists = Store.exists

    async def refuse_one(store: Store, path: str) -> bool:
        if path.startswith("spoiled/"):
            raise StoreError("AccessDenied")
        return await exists(store, path)

    kept = Kept(tmp_path / "lost")
    await lost_after(kept, "Good morning")
    other = elsewhere(kept, tmp_path / "other")
    monkeypatch.setattr(Store, "exists", refuse_one)
    monkeypatch.setattr("worker.transcript.minutes_outbox.RETRY_S", (0.01, 0.02))
    outbox = other.anew()
    refused = FinishRecording("spoiled", 2, time.time(), transcript=True)
    for order in (refused, ORDER):
        outbox.take_over(order)
    async with asyncio.TaskGroup() as tasks:
        finishing = tasks.create_task(outbox.finish(set), name="finish")
        await wait_until(lambda: other.reports and not any(other.folder.iterdir()))
        finishing.cancel()
    assert [(each.bot_id, each.utterances) for each in other.reports] == [("b1", 1)]
    later = other.anew()
    later.take_over(msgspec.structs.replace(refused, ended_at=time.time() - ORDER_LIFE_S))
    with capture_logs() as logs:
        await finish(later)
    assert [(log["event"], log["bot_id"]) for log in logs] == [("minutes_not_taken_over", "spoiled")]


async def test_a_store_that_lets_nothing_be_deleted_keeps_the_copy_and_has_the_transcript(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_store: Store, _path: str) -> None:
        raise StoreError("AccessDenied")

    kept = Kept(tmp_path)
    await lost_after(kept, "Good morning")
    monkeypatch.setattr(Store, "remove", refuse)
    with capture_logs() as logs:
        await finish(kept.anew())
    assert kept.file(TRANSCRIPT).utterances == [Utterance("Ann", "Good morning", 100.0, 101.0)]
    assert (kept.store / "b1" / "2" / SO_FAR).exists()
    assert list(kept.folder.iterdir()) == []
    assert [log["error"] for log in logs if log["event"] == "minutes_copy_kept"] == ["AccessDenied"]


async def test_where_nothing_of_it_is_left_a_transcript_is_no_longer_waited_for(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    await take_over(kept, ORDER)
    assert [(each.bot_id, each.finished, each.utterances) for each in kept.reports] == [("b1", True, 0)]
    kept.reports.clear()
    await take_over(kept, FinishRecording("b1", 2, 200.0))
    (kept.store / "b1" / "2").mkdir(parents=True)
    (kept.store / "b1" / "2" / SO_FAR).write_text("nothing of ours\n")
    (kept.store / "b1" / "2" / SPEAKERS).write_text("{}")
    (kept.store / "b1" / "2" / TRANSCRIPT).write_text("nor this")
    await take_over(kept, FinishRecording("b1", 2, 200.0))
    assert kept.reports == []
    await take_over(kept, ORDER)
    assert [(each.finished, each.utterances) for each in kept.reports] == [(True, 0)]


async def test_of_a_bot_that_was_deleted_or_that_is_here_nothing_is_taken_over(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "lost")
    await lost_after(kept, "Good morning")
    other = elsewhere(kept, tmp_path / "other")
    (kept.store / "b1" / "deleted").touch()
    await take_over(other, ORDER)
    (kept.store / "b1" / "deleted").unlink()
    here = kept.anew()
    assert here.begin(JOIN)
    here.take_over(ORDER)
    async with asyncio.TaskGroup() as tasks:
        finishing = tasks.create_task(here.finish(lambda: {("b1", 2)}), name="finish")
        await wait_until(lambda: not here._ordered)  # pyright: ignore[reportPrivateUsage]
        finishing.cancel()
    assert (other.reports, [report.finished for report in kept.reports]) == ([], [False])
    assert not (kept.store / "b1" / "2" / TRANSCRIPT).exists()


@pytest.mark.parametrize("join", [JOIN, msgspec.structs.replace(JOIN, no_audio=True)], ids=["with sound", "without"])
async def test_of_a_bot_that_was_deleted_while_the_store_was_away_nothing_comes_back(
    tmp_path: Path, join: Join
) -> None:
    kept = Kept(tmp_path)
    minutes_outbox = kept.anew()
    minutes_file = minutes_outbox.begin(join)
    assert minutes_file
    minutes_file.add_utterances([said("Good morning")])
    minutes_outbox.end(minutes_file)
    kept.reports.clear()
    await deletion.delete(kept.anew_store(), "b1", 1.0)
    await finish(minutes_outbox)
    assert (kept.stored, kept.reports, list(kept.folder.iterdir())) == (["b1/deleted"], [], [])


class DeletedMeanwhile(Store):
    """Its bot is deleted just before the transcript is put."""

    async def put(self, path: str, what: bytes | Path, *, once: bool = False, content_type: str = "") -> None:
        if path.endswith(TRANSCRIPT):
            await deletion.delete(self, "b1", 1.0)
        await super().put(path, what, once=once, content_type=content_type)


async def test_a_bot_that_is_deleted_while_its_transcript_is_put_leaves_nothing(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    await lost_after(kept, "Good morning")
    settings = CaptureSettings(store=str(kept.store), store_timeout_s=60)
    await finish(MinutesOutbox("vm1", kept.folder, DeletedMeanwhile(settings), kept.reports.append))
    assert (kept.stored, list(kept.folder.iterdir())) == (["b1/deleted"], [])


async def test_a_store_that_lets_nothing_be_deleted_is_not_asked_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_store: Store, _bot_id: str) -> int:
        raise StoreError("AccessDenied")

    kept = Kept(tmp_path)
    await lost_after(kept, "Good morning")
    await deletion.delete(kept.anew_store(), "b1", 1.0)
    monkeypatch.setattr(Store, "delete", refuse)
    monkeypatch.setattr("worker.transcript.minutes_outbox.RETRY_S", (0.01, 0.02))
    with capture_logs() as logs:
        await finish(kept.anew())
    assert [log["event"] for log in logs] == ["minutes_deleted", "minutes_unstored"]
    assert (kept.stored, list(kept.folder.iterdir())) == (["b1/deleted"], [])


def test_what_has_grown_is_copied_and_a_long_one_more_seldom(tmp_path: Path) -> None:
    minutes_file = Kept(tmp_path).anew().begin(JOIN)
    assert minutes_file
    assert minutes_file.is_to_be_copied(0.0)
    minutes_file._copied, minutes_file._copied_at = minutes_file.path.stat().st_size, 0.0  # pyright: ignore[reportPrivateUsage]
    assert not minutes_file.is_to_be_copied(1000.0)
    minutes_file.add_utterances([said("x")])
    assert [minutes_file.is_to_be_copied(at) for at in (COPY_EVERY_S - 1, COPY_EVERY_S)] == [False, True]
    minutes_file.add_utterances([said("x" * COPIED_BYTES * 100)])
    assert [minutes_file.is_to_be_copied(at) for at in (COPY_EVERY_S, 101.0)] == [False, True]


async def test_of_a_bot_that_is_with_a_worker_nothing_is_finished(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    minutes_file = kept.anew().begin(JOIN)
    assert minutes_file
    minutes_file.add_utterances([said("still here")])
    await finish(kept.anew(), live={("b1", 2)})
    assert minutes_file.path.exists()
    assert not kept.store.exists()


async def test_a_store_that_is_away_is_waited_for(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.store.write_text("in the way of the folder")
    minutes_outbox = kept.anew()
    minutes_file = minutes_outbox.begin(JOIN)
    assert minutes_file
    minutes_file.add_utterances([said("patience")])
    minutes_outbox.end(minutes_file)
    async with asyncio.TaskGroup() as tasks:
        finishing = tasks.create_task(minutes_outbox.finish(set), name="finish")
        await wait_until(lambda: minutes_outbox._last_warning)  # pyright: ignore[reportPrivateUsage]
        assert minutes_file.path.exists()
        kept.store.unlink()
        await wait_until(lambda: not minutes_file.path.exists())
        finishing.cancel()
    assert [utterance.text for utterance in kept.file(TRANSCRIPT).utterances] == ["patience"]


async def test_minutes_that_cannot_be_read_keep_no_others_from_the_store(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    minutes_outbox = kept.anew()
    for bot_id in ("a0", "b1", "c2"):
        minutes_file = minutes_outbox.begin(msgspec.structs.replace(JOIN, bot_id=bot_id))
        assert minutes_file
        minutes_outbox.end(minutes_file)
        if bot_id != "b1":
            minutes_file.path.unlink()
            minutes_file.path.mkdir()  # whichever comes first
    running = minutes_outbox.begin(msgspec.structs.replace(JOIN, bot_id="d3"))
    assert running
    running.add_utterances([said("while it runs")])
    with capture_logs() as logs:
        async with asyncio.TaskGroup() as tasks:
            finishing = tasks.create_task(minutes_outbox.finish(lambda: set()), name="finish")
            await wait_until(lambda: {f"b1/2/{TRANSCRIPT}", f"d3/2/{SO_FAR}"} <= {*kept.stored})
            finishing.cancel()
    assert "minutes_unstored" in [line["event"] for line in logs]


async def test_minutes_that_fail_wait_for_their_next_try_and_nothing_else_waits_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.transcript.minutes_outbox.RETRY_S", (0.3, 3600.0))
    kept = Kept(tmp_path)
    minutes_outbox, unreadable = kept.anew(), kept.folder / "a0@1"
    unreadable.mkdir(parents=True)
    read_bytes, tried_at = Path.read_bytes, list[float]()

    def once_soon(first_s: float, limit_s: float) -> Iterator[float]:
        return iter((first_s, limit_s))

    def read(path: Path) -> bytes:
        if path == unreadable:
            tried_at.append(time.monotonic())
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    monkeypatch.setattr("worker.transcript.minutes_outbox.backoff", once_soon)
    async with asyncio.TaskGroup() as tasks:
        finishing = tasks.create_task(minutes_outbox.finish(lambda: set()), name="finish")
        await wait_until(lambda: len(tried_at) == 2)
        minutes_file = minutes_outbox.begin(JOIN)
        assert minutes_file
        minutes_outbox.end(minutes_file)
        await wait_until(lambda: not minutes_file.path.exists())
        finishing.cancel()
    assert len(tried_at) == 2
    assert tried_at[1] - tried_at[0] >= 0.3


async def test_minutes_that_fail_for_ever_are_tried_ever_more_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, tried_at, now = Kept(tmp_path), list[float](), 0.0
    minutes_outbox = kept.anew()
    (kept.folder / "a0@1").mkdir(parents=True)

    async def time_passes(_: asyncio.Event, seconds: float) -> bool:
        nonlocal now
        now += seconds
        await asyncio.sleep(0)
        return False

    def fail(_: Path) -> bytes:
        tried_at.append(now)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("worker.transcript.minutes_outbox.CHECK_EVERY_S", CHECK_EVERY_S)  # time costs nothing here
    monkeypatch.setattr("worker.transcript.minutes_outbox.time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr("worker.transcript.minutes_outbox.pause", time_passes)
    monkeypatch.setattr(Path, "read_bytes", fail)
    async with asyncio.TaskGroup() as tasks:
        finishing = tasks.create_task(minutes_outbox.finish(lambda: set()), name="finish")
        await wait_until(lambda: len(tried_at) > 12)
        finishing.cancel()
    delays = [later - earlier for earlier, later in pairwise(tried_at)]
    assert delays[:12] == pytest.approx([*(2.0**n for n in range(9)), 300.0, 300.0, 300.0])


async def test_without_a_wish_there_is_no_transcript_and_without_a_store_nothing(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    minutes_outbox = kept.anew()
    quiet = Join("w1", "b1", 2, "room", "http://h/r/x", "Bot")
    minutes_file = minutes_outbox.begin(quiet)
    assert minutes_file
    minutes_file.note_speaker(1, "p1", "Ann")
    minutes_file.note_speaker(2, "p1", "Ann")
    minutes_outbox.end(minutes_file)
    await finish(minutes_outbox)
    assert kept.reports == []
    assert kept.file(SPEAKERS).turns == [Turn("p1", "Ann", 1, 2)]
    assert not (kept.store / "b1" / "2" / TRANSCRIPT).exists()
    assert MinutesOutbox("vm1", kept.folder, None, kept.reports.append).begin(JOIN) is None


async def test_a_disk_that_takes_nothing_stops_no_meeting(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.folder.write_text("in the way of the folder")
    minutes_outbox = kept.anew()
    minutes_file = minutes_outbox.begin(JOIN)
    assert minutes_file
    minutes_file.add_utterances([said("to nobody")])
    minutes_outbox.end(minutes_file)


async def test_a_disk_that_is_full_for_a_while_loses_what_was_said_then_and_nothing_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, write = Kept(tmp_path), os.write

    def write_three(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[:3])

    minutes_outbox = kept.anew()
    monkeypatch.setattr(os, "write", write_three)
    minutes_file = minutes_outbox.begin(JOIN)
    assert minutes_file
    minutes_file.add_utterances([said("lost")])
    monkeypatch.setattr(os, "write", write)
    minutes_file.add_utterances([said("kept")])
    monkeypatch.setattr(os, "write", write_three)
    minutes_file.add_utterances([said("lost, too")])
    monkeypatch.setattr(os, "write", write)
    minutes_file.add_utterances([said("kept, too")])
    minutes_outbox.end(minutes_file)
    await finish(minutes_outbox)
    assert [utterance.text for utterance in kept.file(TRANSCRIPT).utterances] == ["kept", "kept, too"]


def test_the_files_are_json(tmp_path: Path) -> None:
    made = Minutes(1, "b1", 2, "room", 1.0, utterances=[Utterance("Ann", "Hello", 1.0, 2.0)])
    assert json.loads(minutes.encode(made))["utterances"][0]["text"] == "Hello"
