"""Keeps the minutes of meetings on disk until the store has them: what was said, and who spoke when.

    STATE_DIR/minutes/BOT_ID@ATTEMPT     lines of JSON: first the bot, then utterances and turns as they end

An agent that is killed loses utterances that have not ended; the next one goes on with the same file. While the meeting
runs the store gets a copy of it every now and then, in case that this VM is lost with its disk: then another VM goes on
with the copy. When the bot is out, the transcript and the list of speakers are made of the file, and put beside the
recording. Only their owner may read the files. They are removed afterwards, and so is the copy.
"""

import asyncio
import errno
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog

from common.runtime import files
from common.runtime.recordings import deletion
from common.runtime.recordings.manifests import put_transcript
from common.runtime.recordings.store import AbsentError, Store, StoreError
from common.runtime.waiting import backoff, pause
from common.wire import manifest, minutes
from common.wire.messages import BotTranscribed, FinishRecording, Join
from common.wire.minutes import CAPTIONS, SO_FAR, SPEAKERS, TRANSCRIPT, VERSION, Minutes, Turn, Utterance
from worker.transcript.turns import Turns
from worker.transcript.utterances import UtteranceUpdate

log: structlog.stdlib.BoundLogger = structlog.get_logger()

CHECK_EVERY_S: Final = 5.0
RETRY_S: Final = (1.0, 300.0)
"""What fails for ever is tried twelve times an hour. When a store is back, what waited comes within five minutes."""
COPY_EVERY_S: Final = 10.0
COPIED_BYTES: Final = 16 * 1024
"""A second, at most: a file of more than 160 KB, hours of talk, is copied more seldom than every COPY_EVERY_S."""
MOST_ORDERED: Final = 200
"""Minutes of other VMs that wait to be taken over. Orders above that are dropped: the manager gives them again."""
ORDER_LIFE_S: Final = 86400.0
"""After the bot's end: an order that the store does not let be carried out until then is dropped."""
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
    """The minutes of one bot while it is in its meeting. What comes while the disk fails is lost."""

    def __init__(self, path: Path, opened: Opened) -> None:
        self.path = path
        self.opened = opened
        self._turns = Turns()
        self._size = path.stat().st_size if path.is_file() else 0
        self._line_end = b"\n" if self._size else b""  # an earlier agent may have died in the middle of a line
        self._has_failed = False
        self._copied = 0
        self._copied_at = float("-inf")
        self._write([])

    def add_utterances(self, updates: Sequence[UtteranceUpdate]) -> None:
        """Write the updates that are final."""
        finals = (update for update in updates if update.is_final)
        self._write(
            Uttered(Utterance(each.speaker, each.text, each.began_at, each.ended_at, [*each.words]), each.by)
            for each in finals
        )

    def is_to_be_copied(self, now: float) -> bool:
        """Whether it has grown, and was not copied just before. `now`: monotonic seconds."""
        return self._size > self._copied and now - self._copied_at >= max(COPY_EVERY_S, self._size / COPIED_BYTES)

    async def copy(self, store: Store, now: float) -> None:
        """Put a copy into the store. Without the file, which a disk that failed may have lost, nothing happens. Raises:
        StoreError.
        """
        self._copied_at = now
        try:
            content = await asyncio.to_thread(self.path.read_bytes)
        except OSError:
            return
        folder = manifest.folder(self.opened.bot_id, self.opened.attempt)
        await store.put(f"{folder}/{SO_FAR}", content, content_type="application/jsonl")
        self._copied = len(content)

    def note_speaker(self, now: float, speaker_id: str, speaker: str) -> None:
        """Who speaks now; empty if nobody does."""
        self._write([Spoke(turn) for turn in self._turns.look(now, speaker_id, speaker)])

    def end(self) -> None:
        """Nobody speaks any more. Idempotent."""
        self._write([Spoke(turn) for turn in self._turns.end()])

    def _write(self, lines: Iterable[Line]) -> None:
        head = [] if self._size else [self.opened]
        data = b"".join(msgspec.json.encode(line) + b"\n" for line in (*head, *lines))
        data = self._line_end + data if data else b""
        if not data or self._size + len(data) > MOST_BYTES:
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                if os.write(descriptor, data) < len(data):
                    os.ftruncate(descriptor, self._size)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(descriptor)
            self._size, self._line_end = self._size + len(data), b""
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                log.warning("minutes_unwritten", bot_id=self.opened.bot_id, error=error.strerror)


class _Failed(NamedTuple):
    """`delays`: until the tries after the next. `again_at`: when that is, in monotonic seconds."""

    delays: Iterator[float]
    again_at: float


class MinutesOutbox:
    """The minutes of all bots of this VM. `store` None: none are kept."""

    def __init__(self, vm_id: str, folder: Path, store: Store | None, report: Callable[[BotTranscribed], None]) -> None:
        self._vm_id = vm_id
        self._folder = folder
        self._store = store
        self._report = report
        self._open: dict[Path, MinutesFile] = {}
        self._ordered: dict[str, FinishRecording] = {}
        self._failed: dict[str, _Failed] = {}  # by the names of files and orders
        self._wake = asyncio.Event()
        self._last_warning = ""
        self._keeps_copies = False  # the store did not let one be removed
        self.idle = asyncio.Event()  # all minutes are in the store

    def begin(self, join: Join) -> MinutesFile | None:
        """The bot is in its meeting: begin its minutes. None: none are kept of this bot."""
        if self._store is None or join.is_probe or (join.no_audio and not join.feeds.transcript):
            return None
        path = self._folder / _name(join.bot_id, join.attempt)
        self.idle.clear()
        if join.feeds.transcript:
            self._report(BotTranscribed(self._vm_id, join.bot_id, join.attempt, time.time()))
        opened = Opened(join.bot_id, join.attempt, join.platform, time.time(), join.feeds.transcript)
        minutes_file = self._open[path] = MinutesFile(path, opened)
        return minutes_file

    def end(self, minutes_file: MinutesFile) -> None:
        """The bot is out, or the next agent takes it over."""
        minutes_file.end()
        self._open.pop(minutes_file.path, None)
        self._wake.set()

    async def find_turns(self, bot_id: str, attempt: int) -> list[Turn]:
        """Who spoke when to a bot that is out, as far as this VM or the store knows. Nothing is waited for: the turns
        are on this disk until the store has them. Raises: StoreError.
        """
        try:
            return _turns_of(await asyncio.to_thread(_read, self._folder / _name(bot_id, attempt)))
        except OSError:  # the store has them, or nobody
            pass
        if self._store:
            folder_in_store = manifest.folder(bot_id, attempt)
            for name in (SPEAKERS, SO_FAR, SPEAKERS):  # between two looks the first may take the place of the second
                content = await _read_or_nothing(self._store, f"{folder_in_store}/{name}")
                if content and name == SO_FAR:
                    return _turns_of(_lines_of(content))
                if made := _minutes_of(content):
                    return made.turns
        return []

    def take_over(self, order: FinishRecording) -> None:
        """Make transcript and list of speakers of what the store has. Nothing happens if this agent has the file."""
        if self._store and len(self._ordered) < MOST_ORDERED:
            self._ordered[_name(order.bot_id, order.attempt)] = order
            self.idle.clear()
            self._wake.set()

    async def finish(self, live: Callable[[], Collection[tuple[str, int]]]) -> None:
        """Put finished minutes into the store for as long as the agent lives. `live`: the bots that have a worker."""
        if self._store is None:
            return
        while True:
            names = {_name(bot_id, attempt) for bot_id, attempt in live()}
            unfinished = await asyncio.to_thread(self._find_unfinished, names)
            if not unfinished and not self._open and not self._ordered:
                self.idle.set()
            for path in unfinished:
                if self._is_due(path.name):
                    self._note_try(path.name, is_done=await self._try(self._finish(path, self._store)))
            for minutes_file in list(self._open.values()):
                if minutes_file.is_to_be_copied(now := time.monotonic()):
                    await self._try(minutes_file.copy(self._store, now))  # one that fails is due later by itself
            for name in list(self._ordered):
                if self._is_due(name):
                    is_done = await self._try(self._try_to_take_over(name, self._store))
                    self._note_try(name, is_done=is_done)
                    if is_done:
                        self._wake.set()
            waiting = {*self._ordered, *(path.name for path in unfinished)}
            self._failed = {name: failed for name, failed in self._failed.items() if name in waiting}
            next_at = min((failed.again_at for failed in self._failed.values()), default=float("inf"))
            await pause(self._wake, min(CHECK_EVERY_S, next_at - time.monotonic()))
            self._wake.clear()

    def _is_due(self, name: str) -> bool:
        return name not in self._failed or self._failed[name].again_at <= time.monotonic()

    def _note_try(self, name: str, *, is_done: bool) -> None:
        """One that failed is tried again after a delay of its own: it keeps no others waiting."""
        failed = self._failed.pop(name, None)
        if not is_done:
            delays = failed.delays if failed else backoff(*RETRY_S)
            self._failed[name] = _Failed(delays, time.monotonic() + next(delays))

    async def _try(self, work: Awaitable[None]) -> bool:
        """False: store or disk failed."""
        try:
            await work
        except (StoreError, OSError) as error:
            if str(error) != self._last_warning:
                self._last_warning = str(error)
                log.warning("minutes_unstored", error=str(error)[:300])
            return False
        return True

    def _find_unfinished(self, live: Collection[str]) -> list[Path]:
        try:
            return [path for path in self._folder.iterdir() if path.name not in live and path not in self._open]
        except OSError:  # there were no minutes yet
            return []

    async def _try_to_take_over(self, name: str, store: Store) -> None:
        """Raises: StoreError, OSError; then the order is tried again after all others."""
        order = self._ordered.pop(name)
        try:
            await self._take_over(order, self._folder / name, store)
        except (StoreError, OSError):
            if time.time() < order.ended_at + ORDER_LIFE_S:
                self._ordered[name] = order
                raise
            log.warning("minutes_not_taken_over", bot_id=order.bot_id, attempt=order.attempt)

    async def _take_over(self, order: FinishRecording, path: Path, store: Store) -> None:
        """Keep here what the store has of the bot's minutes, so that they are finished like those of this VM. Of what
        was finished before, or of which nothing is there, that is told. Raises: StoreError, OSError.
        """
        folder_in_store = manifest.folder(order.bot_id, order.attempt)
        if path in self._open or await asyncio.to_thread(path.exists):
            return
        if await deletion.is_deleted(store, order.bot_id):
            return
        if not await store.exists(f"{folder_in_store}/{TRANSCRIPT if order.transcript else SPEAKERS}"):
            so_far = await _read_or_nothing(store, f"{folder_in_store}/{SO_FAR}")
            if (lines := _lines_of(so_far)) and isinstance(lines[0], Opened):
                await asyncio.to_thread(_keep, path, so_far)
                log.info("minutes_taken_over", bot_id=order.bot_id, attempt=order.attempt)
                return
        if order.transcript:
            made = _minutes_of(await _read_or_nothing(store, f"{folder_in_store}/{TRANSCRIPT}"))
            self._report_transcript(order.bot_id, order.attempt, made)

    async def _finish(self, path: Path, store: Store) -> None:
        """Raises: StoreError, OSError."""
        lines = await asyncio.to_thread(_read, path)
        if lines and isinstance(opened := lines[0], Opened):
            if await self._drop_deleted(path, opened, store):
                return
            folder_in_store = manifest.folder(opened.bot_id, opened.attempt)
            about = Minutes(VERSION, opened.bot_id, opened.attempt, opened.platform, opened.at)
            spoken = msgspec.structs.replace(about, turns=_turns_of(lines))
            await store.put(f"{folder_in_store}/{SPEAKERS}", minutes.encode(spoken), content_type="application/json")
            if opened.words:
                said = [line for line in lines if isinstance(line, Uttered)]
                utterances = sorted((line.what for line in said), key=lambda utterance: utterance.began_at)
                by = next((line.by for line in said if line.by), "")
                written = msgspec.structs.replace(about, provider=by or CAPTIONS, utterances=utterances)
                made = await put_transcript(store, written)
                if made is written:
                    log.info(
                        "transcript_stored", bot_id=opened.bot_id, attempt=opened.attempt, utterances=len(utterances)
                    )
                else:  # while this VM was away another one, or a provider, made it
                    log.info("transcript_stored_before", bot_id=opened.bot_id, attempt=opened.attempt)
                self._report_transcript(opened.bot_id, opened.attempt, made)
            await self._remove_copy(f"{folder_in_store}/{SO_FAR}", store)
            if await self._drop_deleted(path, opened, store):
                return
        await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _drop_deleted(self, path: Path, opened: Opened, store: Store) -> bool:
        """If its bot was deleted, remove the minutes, here and in the store: here first, so that nothing is put there
        again if the store lets nothing be deleted; the manager does that. False: it was not deleted. Raises:
        StoreError, OSError.
        """
        if not await deletion.is_deleted(store, opened.bot_id):
            return False
        log.info("minutes_deleted", bot_id=opened.bot_id, attempt=opened.attempt)
        await asyncio.to_thread(path.unlink, missing_ok=True)
        await store.delete(opened.bot_id)
        return True

    async def _remove_copy(self, path: str, store: Store) -> None:
        """If the store does not let it, the copy goes with the recording."""
        try:
            await store.remove(path)
        except StoreError as error:
            if not self._keeps_copies:
                self._keeps_copies = True
                log.warning("minutes_copy_kept", error=str(error)[:300])

    def _report_transcript(self, bot_id: str, attempt: int, made: Minutes | None) -> None:
        """`made`: what the store has; None: nothing."""
        who, utterances = (self._vm_id, bot_id, attempt, time.time()), len(made.utterances) if made else 0
        by = made.provider if made and made.provider != CAPTIONS else ""
        self._report(BotTranscribed(*who, finished=True, utterances=utterances, by=by))


def _name(bot_id: str, attempt: int) -> str:
    return f"{bot_id}@{attempt}"


async def _read_or_nothing(store: Store, path: str) -> bytes:
    """Raises: StoreError."""
    try:
        return await store.get(path)
    except AbsentError:
        return b""


def _keep(path: Path, content: bytes) -> None:
    """Raises: OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(path, content)


def _minutes_of(content: bytes) -> Minutes | None:
    try:
        return minutes.decode(content) if content else None
    except msgspec.DecodeError:
        return None


def _turns_of(lines: Sequence[Line]) -> list[Turn]:
    return sorted((line.what for line in lines if isinstance(line, Spoke)), key=lambda turn: turn.began_at)


def _read(path: Path) -> list[Line]:
    return _lines_of(path.read_bytes())


def _lines_of(content: bytes) -> list[Line]:
    """The lines that are complete. A killed agent may have left half a line."""
    lines: list[Line] = []
    for line in content.splitlines():
        try:
            lines.append(msgspec.json.decode(line, type=Line))
        except msgspec.DecodeError:
            continue
    return lines
