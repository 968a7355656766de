"""Keeps what is said in a meeting, and who spoke when, until the store has it: a file for each attempt of a bot.

    STATE_DIR/minutes/BOT_ID@ATTEMPT     a line of JSON each: first whose it is, then utterances and turns as they end

An agent that is killed loses what was under way; the next one goes on with the same file. When the bot is out, what
people read is made of it and put beside its recording. Files are their owner's alone, and gone once that is done.
"""

import asyncio
import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from common.runtime.store import Store, StoreError
from common.runtime.waiting import backoff, pause
from common.wire import manifest, minutes
from common.wire.messages import BotTranscribed, Join
from common.wire.minutes import CAPTIONS, SPEAKERS, TRANSCRIPT, VERSION, Minutes, Turn, Utterance
from worker.words.turns import Turns
from worker.words.utterances import Said

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LOOK_S: Final = 5.0
RETRY_S: Final = (1.0, 60.0)
MOST_BYTES: Final = 32 * 1024 * 1024
"""Of one meeting: two days of talk without a pause. What comes after it is not kept."""


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """`words`: a transcript is wanted."""

    bot_id: str
    attempt: int
    platform: str
    at: float
    words: bool


class Uttered(msgspec.Struct, frozen=True, tag="uttered"):
    what: Utterance


class Spoke(msgspec.Struct, frozen=True, tag="spoke"):
    what: Turn


Line = Opened | Uttered | Spoke


class Book:
    """Of one bot, while it is in its meeting. A disk that takes nothing costs what is said meanwhile."""

    def __init__(self, path: Path, opened: Opened) -> None:
        self.path = path
        self.opened = opened
        self._turns = Turns()
        self._size = path.stat().st_size if path.is_file() else 0
        self._torn = b"\n" if self._size else b""  # whoever wrote it before may have died over a line
        self._has_failed = False
        if not self._size:
            self._write([opened])

    def say(self, said: Sequence[Said]) -> None:
        """What of it is final is kept."""
        found = [Utterance(one.speaker, one.text, one.began_at, one.ended_at) for one in said if one.is_final]
        self._write([Uttered(one) for one in found])

    def look(self, now: float, speaker_id: str, speaker: str) -> None:
        """Who speaks now, if anybody."""
        self._write([Spoke(turn) for turn in self._turns.look(now, speaker_id, speaker)])

    def end(self) -> None:
        self._write([Spoke(turn) for turn in self._turns.end()])

    def _write(self, lines: Iterable[Line]) -> None:
        data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        data = self._torn + data if data else b""
        if not data or self._size + len(data) > MOST_BYTES:
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, data)
            finally:
                os.close(descriptor)
            self._size, self._torn = self._size + len(data), b""
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                log.warning("minutes_unwritten", bot_id=self.opened.bot_id, error=error.strerror)


class Keeper:
    """Of all bots of this VM. `store` None: nothing is kept."""

    def __init__(self, vm_id: str, folder: Path, store: Store | None, report: Callable[[BotTranscribed], None]) -> None:
        self._vm_id = vm_id
        self._folder = folder
        self._store = store
        self._report = report
        self._open: set[Path] = set()
        self._news = asyncio.Event()
        self._complained = ""
        self.idle = asyncio.Event()  # nothing is left

    def begin(self, join: Join) -> Book | None:
        """The bot is in its meeting. None: nothing of it is kept."""
        if self._store is None or join.is_probe or (join.no_audio and not join.feeds.transcript):
            return None
        path = self._folder / f"{join.bot_id}@{join.attempt}"
        self._open.add(path)
        self.idle.clear()
        if join.feeds.transcript:
            self._report(BotTranscribed(self._vm_id, join.bot_id, join.attempt, time.time()))
        return Book(path, Opened(join.bot_id, join.attempt, join.platform, time.time(), join.feeds.transcript))

    def end(self, book: Book) -> None:
        """The bot is out, or left to the next agent."""
        book.end()
        self._open.discard(book.path)
        self._news.set()

    async def finish(self, live: Callable[[], Collection[tuple[str, int]]]) -> None:
        """Put into the store what is left, as long as the agent lives. `live`: bots that are with a worker."""
        if self._store is None:
            return
        delays = backoff(*RETRY_S)
        while True:
            left = await asyncio.to_thread(self._left, {f"{bot_id}@{attempt}" for bot_id, attempt in live()})
            if not left and not self._open:
                self.idle.set()
            try:
                for path in left:
                    await self._finish(path, self._store)
                delays = backoff(*RETRY_S)
                await pause(self._news, LOOK_S)
            except (StoreError, OSError) as error:
                if str(error) != self._complained:
                    self._complained = str(error)
                    log.warning("minutes_unstored", error=str(error)[:300])
                await asyncio.sleep(next(delays))
            self._news.clear()

    def _left(self, live: Collection[str]) -> list[Path]:
        try:
            return [one for one in self._folder.iterdir() if one.name not in live and one not in self._open]
        except OSError:  # none was made yet
            return []

    async def _finish(self, path: Path, store: Store) -> None:
        """Raises: StoreError, OSError."""
        lines = await asyncio.to_thread(_read, path)
        if lines and isinstance(opened := lines[0], Opened):
            where = manifest.folder(opened.bot_id, opened.attempt)
            about = Minutes(VERSION, opened.bot_id, opened.attempt, opened.platform, opened.at)
            turns = sorted((line.what for line in lines if isinstance(line, Spoke)), key=lambda turn: turn.began_at)
            spoken = msgspec.structs.replace(about, turns=turns)
            await store.put(f"{where}/{SPEAKERS}", minutes.encode(spoken), content_type="application/json")
            if opened.words:
                said = sorted((line.what for line in lines if isinstance(line, Uttered)), key=lambda one: one.began_at)
                written = msgspec.structs.replace(about, provider=CAPTIONS, utterances=said)
                await store.put(f"{where}/{TRANSCRIPT}", minutes.encode(written), content_type="application/json")
                who = (self._vm_id, opened.bot_id, opened.attempt, time.time())
                self._report(BotTranscribed(*who, finished=True, utterances=len(said)))
                log.info("transcript_stored", bot_id=opened.bot_id, attempt=opened.attempt, utterances=len(said))
        await asyncio.to_thread(path.unlink, missing_ok=True)


def _read(path: Path) -> list[Line]:
    """Those that are whole: the last one may be torn."""
    lines: list[Line] = []
    for line in path.read_bytes().splitlines():
        try:
            lines.append(msgspec.json.decode(line, type=Line))
        except msgspec.DecodeError:
            continue
    return lines
