"""Keeps the minutes of meetings on disk until the store has them: what was said, and who spoke when.

    STATE_DIR/minutes/BOT_ID@ATTEMPT     lines of JSON: first the bot, then utterances and turns as they end

An agent that is killed loses utterances that have not ended; the next one goes on with the same file. When the bot is
out, the transcript and the list of speakers are made of the file, and put beside the recording. Only their owner may
read the files. They are removed afterwards.
"""

import asyncio
import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from common.runtime.recordings.store import Store, StoreError
from common.runtime.waiting import backoff, pause
from common.wire import manifest, minutes
from common.wire.messages import BotTranscribed, Join
from common.wire.minutes import CAPTIONS, SPEAKERS, TRANSCRIPT, VERSION, Minutes, Turn, Utterance
from worker.transcript.turns import Turns
from worker.transcript.utterances import UtteranceUpdate

log: structlog.stdlib.BoundLogger = structlog.get_logger()

CHECK_EVERY_S: Final = 5.0
RETRY_S: Final = (1.0, 60.0)
MOST_BYTES: Final = 32 * 1024 * 1024
"""For one meeting: two days of uninterrupted talk. What is said after that is not kept."""


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """`words`: whether a transcript is wanted."""

    bot_id: str
    attempt: int
    platform: str
    at: float
    words: bool


class Uttered(msgspec.Struct, frozen=True, tag="uttered"):
    """`by`: the provider that heard it; empty: it is of captions."""

    what: Utterance
    by: str = ""


class Spoke(msgspec.Struct, frozen=True, tag="spoke"):
    what: Turn


Line = Opened | Uttered | Spoke


class MinutesFile:
    """The minutes of one bot while it is in its meeting. While the disk fails, they are lost."""

    def __init__(self, path: Path, opened: Opened) -> None:
        self.path = path
        self.opened = opened
        self._turns = Turns()
        self._size = path.stat().st_size if path.is_file() else 0
        self._line_end = b"\n" if self._size else b""  # an earlier agent may have died in the middle of a line
        self._has_failed = False
        if not self._size:
            self._write([opened])

    def add_utterances(self, updates: Sequence[UtteranceUpdate]) -> None:
        """Write the updates that are final."""
        finals = (update for update in updates if update.is_final)
        self._write(
            Uttered(Utterance(each.speaker, each.text, each.began_at, each.ended_at, [*each.words]), each.by)
            for each in finals
        )

    def note_speaker(self, now: float, speaker_id: str, speaker: str) -> None:
        """Who speaks now; empty if nobody does."""
        self._write([Spoke(turn) for turn in self._turns.look(now, speaker_id, speaker)])

    def end(self) -> None:
        self._write([Spoke(turn) for turn in self._turns.end()])

    def _write(self, lines: Iterable[Line]) -> None:
        data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        data = self._line_end + data if data else b""
        if not data or self._size + len(data) > MOST_BYTES:
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, data)
            finally:
                os.close(descriptor)
            self._size, self._line_end = self._size + len(data), b""
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                log.warning("minutes_unwritten", bot_id=self.opened.bot_id, error=error.strerror)


class MinutesOutbox:
    """The minutes of all bots of this VM. `store` None: none are kept."""

    def __init__(self, vm_id: str, folder: Path, store: Store | None, report: Callable[[BotTranscribed], None]) -> None:
        self._vm_id = vm_id
        self._folder = folder
        self._store = store
        self._report = report
        self._open: set[Path] = set()
        self._wake = asyncio.Event()
        self._last_warning = ""
        self.idle = asyncio.Event()  # all minutes are in the store

    def begin(self, join: Join) -> MinutesFile | None:
        """The bot is in its meeting: begin its minutes. None: none are kept of this bot."""
        if self._store is None or join.is_probe or (join.no_audio and not join.feeds.transcript):
            return None
        path = self._folder / f"{join.bot_id}@{join.attempt}"
        self._open.add(path)
        self.idle.clear()
        if join.feeds.transcript:
            self._report(BotTranscribed(self._vm_id, join.bot_id, join.attempt, time.time()))
        return MinutesFile(path, Opened(join.bot_id, join.attempt, join.platform, time.time(), join.feeds.transcript))

    def end(self, minutes_file: MinutesFile) -> None:
        """The bot is out, or the next agent takes it over."""
        minutes_file.end()
        self._open.discard(minutes_file.path)
        self._wake.set()

    async def finish(self, live: Callable[[], Collection[tuple[str, int]]]) -> None:
        """Put finished minutes into the store for as long as the agent lives. `live`: the bots that have a worker."""
        if self._store is None:
            return
        delays = backoff(*RETRY_S)
        while True:
            unfinished = await asyncio.to_thread(
                self._find_unfinished, {f"{bot_id}@{attempt}" for bot_id, attempt in live()}
            )
            if not unfinished and not self._open:
                self.idle.set()
            try:
                for path in unfinished:
                    await self._finish(path, self._store)
                delays = backoff(*RETRY_S)
                await pause(self._wake, CHECK_EVERY_S)
            except (StoreError, OSError) as error:
                if str(error) != self._last_warning:
                    self._last_warning = str(error)
                    log.warning("minutes_unstored", error=str(error)[:300])
                await asyncio.sleep(next(delays))
            self._wake.clear()

    def _find_unfinished(self, live: Collection[str]) -> list[Path]:
        try:
            return [path for path in self._folder.iterdir() if path.name not in live and path not in self._open]
        except OSError:  # there were no minutes yet
            return []

    async def _finish(self, path: Path, store: Store) -> None:
        """Raises: StoreError, OSError."""
        lines = await asyncio.to_thread(_read, path)
        if lines and isinstance(opened := lines[0], Opened):
            folder_in_store = manifest.folder(opened.bot_id, opened.attempt)
            about = Minutes(VERSION, opened.bot_id, opened.attempt, opened.platform, opened.at)
            turns = sorted((line.what for line in lines if isinstance(line, Spoke)), key=lambda turn: turn.began_at)
            spoken = msgspec.structs.replace(about, turns=turns)
            await store.put(f"{folder_in_store}/{SPEAKERS}", minutes.encode(spoken), content_type="application/json")
            if opened.words:
                said = [line for line in lines if isinstance(line, Uttered)]
                utterances = sorted((line.what for line in said), key=lambda utterance: utterance.began_at)
                by = next((line.by for line in said if line.by), "")
                written = msgspec.structs.replace(about, provider=by or CAPTIONS, utterances=utterances)
                await store.put(
                    f"{folder_in_store}/{TRANSCRIPT}", minutes.encode(written), content_type="application/json"
                )
                who = (self._vm_id, opened.bot_id, opened.attempt, time.time())
                self._report(BotTranscribed(*who, finished=True, utterances=len(utterances), by=by))
                log.info("transcript_stored", bot_id=opened.bot_id, attempt=opened.attempt, utterances=len(utterances))
        await asyncio.to_thread(path.unlink, missing_ok=True)


def _read(path: Path) -> list[Line]:
    """The lines that are complete. A killed agent may have left half a line."""
    lines: list[Line] = []
    for line in path.read_bytes().splitlines():
        try:
            lines.append(msgspec.json.decode(line, type=Line))
        except msgspec.DecodeError:
            continue
    return lines
