"""Live sound is that of each track, or the whole meeting's where not all tracks are taken, and never both."""

import asyncio
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import structlog
from playwright.async_api import Page

from common.wire.packets import Line
from tests.waiting import wait_until
from tests.worker.capture.left import sound
from tests.worker.live.conftest import HOME, Heard, heard
from tests.worker.live.test_track_decoding import Sender, line
from worker.capture.progress import Opened
from worker.capture.spool import Spool
from worker.capture.tracks import TrackRecording
from worker.live.audio_feed import AudioFeed
from worker.live.audio_socket import AudioSocket
from worker.live.frames import Speaker

ANN: Final = Speaker("p1", "Ann")


def ignore(*_: object) -> None:
    """What is told to nobody."""


class Socket(AudioSocket):
    def __init__(self) -> None:
        super().__init__("b1", "ws://127.0.0.1:1/", HOME, 1000, 1.0, ignore)
        self.frames: list[Heard] = []
        self.is_over = asyncio.Event()

    def put(self, frame: bytes) -> None:
        self.frames.append(heard(frame))

    def end(self) -> None:
        self.is_over.set()

    def of(self, speaker: str) -> int:
        return sum(frame.speaker_id == speaker for frame in self.frames)


async def test_the_whole_sound_is_sent_until_tracks_come_and_again_when_not_all_are_taken() -> None:
    feed, sender = AudioFeed(socket := Socket(), lambda: ANN), Sender(0)
    chunk = sound(2)
    feed.on_sound(0, 0, chunk)
    await wait_until(lambda: socket.of("p1") >= 15)
    for number in range(10):
        feed.on_packets(line(number * 0.2, sender.sends(number * 0.2)))
    await wait_until(lambda: socket.of("id-0") == 20)
    whole = socket.of("p1")
    feed.on_sound(1, 1, chunk)
    await asyncio.sleep(0.5)
    feed.on_packets(None)
    assert socket.of("p1") <= whole + 1, "what was being decoded"
    feed.on_sound(2, 2, chunk)
    feed.on_sound(2, 2, chunk)  # came again
    await wait_until(lambda: socket.of("p1") >= whole + 15)
    feed.end()
    await socket.is_over.wait()
    assert (socket.of("id-0"), socket.dropped) == (20, 0)


async def test_who_is_marked_is_whose_sound_it_is_on_a_track_that_they_share() -> None:
    feed, sender = AudioFeed(socket := Socket(), lambda: ANN), Sender(0)
    for turn in range(8):
        for look in range(4):
            feed.note_speaker(1000.0 + turn * 2 + look * 0.5, (ANN, Speaker("p2", "Ben"))[turn % 2])
        feed.on_packets(line(turn * 2.0 + 2.0, sender.sends(turn * 2.0 + 0.05, 1.6)))
    feed.end()
    await socket.is_over.wait()
    assert (socket.frames[0].speaker_id, socket.frames[-1].name) == ("id-0", "Ann")


class MeetingPage:
    """Answers as tracks.js does. `why`: why not all tracks are taken."""

    def __init__(self) -> None:
        self.why = ""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.chunks: list[dict[str, Any]] = []
        self.part: int | None = None
        self.is_equipped = True

    async def evaluate(self, _script: str, question: tuple[str, dict[str, Any]]) -> dict[str, Any] | None:
        what, given = question
        self.asked.append((what, given))
        if what == "start":
            self.part = given["part"]
        answer = {"why": self.why, "part": self.part, "chunks": self.chunks, "waiting": len(self.chunks)}
        return answer if self.is_equipped else None

    def has(self, seq: int) -> None:
        text = msgspec.json.encode(line(seq * 0.25)).decode() + "\n"
        self.chunks = [{"seq": seq, "part": 0, "since": 1000.0, "at": 1250.0, "text": text}]


async def test_packets_are_passed_on_once_while_all_tracks_are_taken(tmp_path: Path) -> None:
    page, passed, is_paused = MeetingPage(), list[Line | None](), False
    spool = Spool.create(tmp_path / "b1@1", Opened("b1", 1, "room", 1000.0, ("audio", "tracks")))
    tracks = TrackRecording(
        *(lambda: cast("Page", page), lambda: spool, lambda: True, lambda: is_paused, lambda: None, ignore),
        *(structlog.get_logger(), passed.append),
    )
    async with asyncio.TaskGroup() as tasks:
        fetching = tasks.create_task(tracks.run(), name="fetch")
        await wait_until(lambda: any(what == "start" for what, _ in page.asked))
        assert next(given["chunk_ms"] for what, given in page.asked if what == "start") == 250
        page.has(0)
        await wait_until(lambda: line(0.0) in passed)
        await asyncio.sleep(0.6)  # it is fetched again
        assert passed == [line(0.0)]
        page.why = "tracks began before the Worker's script had loaded"
        page.has(1)
        await wait_until(lambda: None in passed)
        page.why = ""
        page.has(2)
        await wait_until(lambda: passed[-1] == line(0.5))
        is_paused = True
        page.has(3)
        await wait_until(lambda: page.asked[-1][0] == "stop")
        is_paused = False
        page.has(4)
        await wait_until(lambda: passed[-1] == line(1.0))
        page.is_equipped = False
        await wait_until(lambda: passed[-1] is None)
        fetching.cancel()
    assert line(0.25) not in passed
    assert line(0.75) not in passed, "of a pause"
