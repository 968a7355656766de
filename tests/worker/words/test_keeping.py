"""What is said goes onto the disk, and beside the recording when the bot is out, whatever happens between."""

import asyncio
import json
from pathlib import Path

from common.config.settings import CaptureSettings
from common.runtime.store import Store
from common.wire import minutes
from common.wire.messages import BotTranscribed, Feeds, Join
from common.wire.minutes import SPEAKERS, TRANSCRIPT, Minutes, Turn, Utterance
from tests.waiting import wait_until
from worker.words.keeping import Keeper
from worker.words.utterances import Said

JOIN = Join("w1", "b1", 2, "room", "http://h/r/x", "Bot", feeds=Feeds(transcript=True))


def said(text: str, began_at: float = 100.0, *, is_final: bool = True) -> Said:
    return Said(1, "Ann", text, began_at, began_at + 1, is_final)


class Kept:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "minutes"
        self.store = folder / "store"
        self.told: list[BotTranscribed] = []

    def anew(self) -> Keeper:
        """As an agent that is started has it."""
        settings = CaptureSettings(store=str(self.store), store_timeout_s=5)
        return Keeper("vm1", self.folder, Store(settings), self.told.append)

    def file(self, name: str) -> Minutes:
        return minutes.decode((self.store / "b1" / "2" / name).read_bytes())


async def finish(keeper: Keeper, live: set[tuple[str, int]] | None = None) -> None:
    async with asyncio.TaskGroup() as tasks:
        finishing = tasks.create_task(keeper.finish(lambda: live or set()), name="finish")
        await keeper.idle.wait()
        finishing.cancel()


async def test_what_is_final_is_in_the_transcript_and_who_spoke_in_the_timeline(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    keeper = kept.anew()
    book = keeper.begin(JOIN)
    assert book
    book.say([said("Good", is_final=False), said("Good morning")])
    assert oct(book.path.stat().st_mode)[-3:] == "600"
    for now in (100.0, 100.5, 101.0):
        book.look(now, "p1", "Ann")
    keeper.end(book)
    await finish(keeper)
    written = kept.file(TRANSCRIPT)
    assert (written.bot_id, written.attempt, written.provider) == ("b1", 2, "meeting_captions")
    assert written.utterances == [Utterance("Ann", "Good morning", 100.0, 101.0)]
    assert kept.file(SPEAKERS).turns == [Turn("p1", "Ann", 100.0, 101.0)]
    assert [(one.finished, one.utterances) for one in kept.told] == [(False, 0), (True, 1)]
    assert list(kept.folder.iterdir()) == []


async def test_an_agent_that_was_killed_left_what_the_next_one_goes_on_with(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    first = kept.anew().begin(JOIN)
    assert first
    first.say([said("before")])
    with first.path.open("ab") as file:
        file.write(b'{"type":"utter')  # what it was writing
    keeper = kept.anew()
    second = keeper.begin(JOIN)
    assert second
    second.say([said("after", 200.0)])
    keeper.end(second)
    await finish(keeper)
    assert [one.text for one in kept.file(TRANSCRIPT).utterances] == ["before", "after"]


async def test_of_a_bot_that_is_with_a_worker_nothing_is_finished(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    book = kept.anew().begin(JOIN)
    assert book
    book.say([said("still here")])
    await finish(kept.anew(), live={("b1", 2)})
    assert book.path.exists()
    assert not kept.store.exists()


async def test_a_store_that_is_away_is_waited_for(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.store.write_text("in the way of the folder")
    keeper = kept.anew()
    book = keeper.begin(JOIN)
    assert book
    book.say([said("patience")])
    keeper.end(book)
    async with asyncio.TaskGroup() as tasks:
        finishing = tasks.create_task(keeper.finish(set), name="finish")
        await wait_until(lambda: keeper._complained)  # pyright: ignore[reportPrivateUsage]
        assert book.path.exists()
        kept.store.unlink()
        await wait_until(lambda: not book.path.exists())
        finishing.cancel()
    assert [one.text for one in kept.file(TRANSCRIPT).utterances] == ["patience"]


async def test_without_a_wish_there_is_no_transcript_and_without_a_store_nothing(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    keeper = kept.anew()
    quiet = Join("w1", "b1", 2, "room", "http://h/r/x", "Bot")
    book = keeper.begin(quiet)
    assert book
    book.look(1, "p1", "Ann")
    book.look(2, "p1", "Ann")
    keeper.end(book)
    await finish(keeper)
    assert kept.told == []
    assert kept.file(SPEAKERS).turns == [Turn("p1", "Ann", 1, 2)]
    assert not (kept.store / "b1" / "2" / TRANSCRIPT).exists()
    assert Keeper("vm1", kept.folder, None, kept.told.append).begin(JOIN) is None


async def test_a_disk_that_takes_nothing_stops_no_meeting(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.folder.write_text("in the way of the folder")
    keeper = kept.anew()
    book = keeper.begin(JOIN)
    assert book
    book.say([said("to nobody")])
    keeper.end(book)


def test_the_files_are_json(tmp_path: Path) -> None:
    made = Minutes(1, "b1", 2, "room", 1.0, utterances=[Utterance("Ann", "Hello", 1.0, 2.0)])
    assert json.loads(minutes.encode(made))["utterances"][0]["text"] == "Hello"
