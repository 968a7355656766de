"""Has recordings transcribed, a few at a time: those whose jobs ask for it, and those that a client asks for later.

The tasks are in Redis, so that the next leader goes on with them. The recording and the list of speakers come from the
store, and the transcript is stored only there. Temporary failures are tried again at growing intervals, and then given
up with a reason. The recording is never changed.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import structlog

from common.config.settings import TranscriptionSettings
from common.runtime.clock import Clock
from common.runtime.recordings import deletion, manifests
from common.runtime.recordings.manifests import put_transcript
from common.runtime.recordings.store import Store, StoreError
from common.runtime.workshop import workshop
from common.speech.choice import transcriber
from common.speech.heard import Heard, utterances
from common.speech.provider import SpeechError
from common.wire import manifest, minutes
from common.wire.manifest import Manifest, SoundTrack
from common.wire.minutes import SPEAKERS, VERSION, Minutes, Turn, Utterance, transcript_name
from poolmgr.store.leader.transcriptions import Concluded, DueTranscriptions, UnderWay

_log = structlog.stdlib.get_logger()

LOOK_S: Final = 2.0
WAIT_S: Final = 10.0
"""Seconds between two checks whether a recording is finished."""
AGAIN_S: Final = (30.0, 900.0)
MOST_BYTES: Final = 2 << 30
"""The largest recording that is transcribed, in bytes: two days of sound."""
MOST_TRACKS: Final = 16
VOICE_S: Final = 0.5
"""A track with less voice is not transcribed."""


class Sound(NamedTuple):
    """A file to transcribe, how long it lasts, and who speaks in it when."""

    path: str
    bytes: int
    lasts_s: float
    turns: Sequence[Turn]


class Transcribing:
    """Transcribes recordings. Call `run` for as long as this manager leads."""

    def __init__(
        self,
        due: DueTranscriptions,
        store: Callable[[], Store | None],
        settings: TranscriptionSettings,
        clock: Clock,
    ) -> None:
        self._due = due
        self._store = store
        self._settings = settings
        self._clock = clock
        self._busy: set[str] = set()

    async def run(self) -> None:
        """Run until it is cancelled. Raises: Redis' own errors, StaleEpochError (in an ExceptionGroup)."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                room = self._settings.at_once - len(self._busy)
                due = await self._due.due(self._clock.wall(), room + len(self._busy)) if room > 0 else []
                for bot_id in [bot_id for bot_id in due if bot_id not in self._busy][:room]:
                    self._busy.add(bot_id)
                    tasks.create_task(self._tend(bot_id), name=f"transcribe the recording of {bot_id}")
                await asyncio.sleep(LOOK_S)

    async def _tend(self, bot_id: str) -> None:
        try:
            if task := await self._due.under_way(bot_id):
                await self._take_on(task)
            elif kept := self._store():  # it was deleted, and a leader that died may have put something since
                await _delete(kept, bot_id, only_marked=True)
        finally:
            self._busy.discard(bot_id)

    async def _take_on(self, task: UnderWay) -> None:
        if _is_coming(task):
            await self._due.put_off(task, self._clock.wall() + WAIT_S)
            return
        facts = {"bot_id": task.bot.bot_id, "provider": task.what.provider, "number": task.number}
        try:
            made = await self._make(task)
        except SpeechError as error:
            _log.warning("recording_untranscribed", **facts, why=error.reason, tries=task.what.tries + 1)
            tries = task.what.tries + 1
            if error.lasts or tries >= self._settings.tries:
                await self._due.conclude(task, self._clock.wall(), why=error.reason)
            else:
                later_s = min(AGAIN_S[0] * 2 ** (tries - 1), AGAIN_S[1])
                await self._due.put_off(task, self._clock.wall() + later_s, why=error.reason)
            return
        said, by = len(made.utterances), made.provider
        why = "" if said else "nothing_said"
        became = await self._due.conclude(task, self._clock.wall(), utterances=said, why=why, by=by)
        if became is Concluded.NOTED and by != task.what.provider:
            _log.info("transcript_stored_before", bot_id=task.bot.bot_id, attempt=made.attempt)
        elif became is Concluded.NOTED:
            _log.info("recording_transcribed", **facts, utterances=said)
        elif became is not Concluded.SUPERSEDED and (kept := self._store()):
            # Nothing may stay of what was deleted meanwhile, or is to be. A record that got old leaves its recording.
            await _delete(kept, task.bot.bot_id, only_marked=became is Concluded.FORGOTTEN)

    async def _make(self, task: UnderWay) -> Minutes:
        """The transcript, which is in the store if there are any words. Raises: SpeechError for all that prevents
        it.
        """
        try:
            async with asyncio.timeout(self._settings.deadline_s):
                return await self._made(task)
        except TimeoutError as error:
            raise SpeechError("deadline") from error
        except StoreError as error:
            raise SpeechError("store_away") from error
        except OSError as error:
            raise SpeechError(f"disk: {error.strerror or type(error).__name__}") from error
        except SpeechError:
            raise
        except Exception as error:  # a bug: this transcript fails, and neither the pool nor other transcripts
            _log.exception("transcribing_failed", bot_id=task.bot.bot_id)
            raise SpeechError("internal_error") from error

    async def _made(self, task: UnderWay) -> Minutes:
        bot_id = task.bot.bot_id
        if (store := self._store()) is None:
            raise SpeechError("no_recording", lasts=True)
        if task.bot.manifest_status == "expired":
            await store.delete(bot_id)  # a leader that died may have put something since
        if task.bot.manifest_status == "expired" or task.kept_until <= self._clock.wall():
            raise SpeechError("no_recording", lasts=True)
        try:
            found = await manifests.find(store, bot_id, task.attempt)
        except ValueError as error:
            raise SpeechError("manifest_unreadable", lasts=True) from error
        if found is None or found.audio is None:
            raise SpeechError("no_recording", lasts=True)
        said: list[Utterance] = []
        for sound in (self._settings.by_track and tracks(found)) or [await _whole(store, found)]:
            heard = await self._hear(store, found, sound, task)
            words = [word.within(sound.lasts_s).at(found.began_at) for word in heard]
            said += utterances(words, sound.turns, timed=not any(word.is_whole for word in heard))
        said.sort(key=lambda one: one.began_at)
        made = Minutes(VERSION, bot_id, found.attempt, found.platform, found.began_at, task.what.provider, said)
        if said and task.is_stopgap:
            return await put_transcript(store, made)
        if said:
            path = f"{manifest.folder(bot_id, found.attempt)}/{transcript_name(task.number)}"
            await store.put(path, minutes.encode(made), content_type="application/json")
        return made

    async def _hear(self, store: Store, found: Manifest, sound: Sound, task: UnderWay) -> list[Heard]:
        path = f"{manifest.folder(found.bot_id, found.attempt)}/{sound.path}"
        if sound.bytes > MOST_BYTES:
            raise SpeechError("too_large", lasts=True)
        by = transcriber(task.what.provider, self._settings)
        language = task.what.language or self._settings.language
        if (there := store.path(path)) is not None:
            return await by.transcribe(there, language)
        with workshop() as folder:
            file = folder / sound.path
            await store.save(path, file)
            return await by.transcribe(file, language)


async def _whole(store: Store, found: Manifest) -> Sound:
    """All of the meeting in one file. Raises: StoreError."""
    assert found.audio
    spoken = await manifests.find_minutes(store, found.bot_id, SPEAKERS, found.attempt)
    return Sound(found.audio.path, found.audio.bytes, found.audio.duration_s, spoken.turns if spoken else [])


def tracks(found: Manifest) -> list[Sound]:
    """The sound of each participant by itself. None at all where that is not all of the meeting, or where it is not
    known whose one is: the page's marks tell more of the whole then.
    """
    voices = [track for track in found.tracks if track.voice_s >= VOICE_S]
    whole = not any(gap.kind == "tracks" and gap.cause in ("refused", "damaged") for gap in found.gaps)
    known = all(track.speaker or track.turns for track in voices)
    if not (whole and known and len(voices) <= MOST_TRACKS):
        return []
    return [Sound(track.path, track.bytes, track.duration_s, _turns(track)) for track in voices]


def _turns(track: SoundTrack) -> Sequence[Turn]:
    return track.turns or [Turn(track.speaker_id, track.speaker, 0.0, math.inf)]


def _is_coming(task: UnderWay) -> bool:
    """Whether the file may still come. After an hour it is no longer expected, and the record says so. That of an
    earlier attempt is there, or it would not have been asked for.
    """
    bot = task.bot
    return bot.manifest_status == "recording" and task.attempt in (None, bot.recorded_attempt)


async def _delete(store: Store, bot_id: str, *, only_marked: bool) -> None:
    try:
        if not only_marked or await deletion.is_deleted(store, bot_id):
            await store.delete(bot_id)
    except StoreError as error:
        _log.warning("recording_undeleted", bot_id=bot_id, error=str(error))
