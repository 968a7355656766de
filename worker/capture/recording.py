"""Records one bot while it is in its meeting: chunks are fetched from its recorder twice a second, and spooled.

Whatever goes wrong, the meeting goes on. What is missing is noted with its cause. A way to record that fails is given
up for the next one, if there is one.
"""

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog
from playwright.async_api import Page

from common.runtime.waiting import backoff, pause
from common.wire.manifest import GapCause, Kind
from common.wire.manifest import Way as WayName
from common.wire.vocabulary import BotState
from worker.capture import progress
from worker.capture.clock import Clock
from worker.capture.null_spool import NullSpool
from worker.capture.silence import SilenceDetector
from worker.capture.spool import Spool
from worker.capture.stall import StallDetector
from worker.capture.way import (
    ASKED,
    CAPTURE_ERRORS,
    FULL,
    MOST_AT_ONCE,
    PAUSED,
    CaptureOptions,
    Chunk,
    Pulled,
    Recorder,
    Start,
    Way,
)
from worker.chromium.driver import PAGE_ERRORS, one_line
from worker.decide.state import State

CHUNK_S: Final = 1.0
FETCH_S: Final = 0.5
"""If a browser dies, at most CHUNK_S and FETCH_S of sound are lost: less than two seconds."""
LIVE_CHUNK_S: Final = 0.25
RECORDER_BUFFER_S: Final = 600
"""How much the recorder keeps while no agent fetches it."""
REOPEN_DELAYS_S: Final = (0.5, 15.0)
WARN_AFTER_S: Final = 10.0
RESTART_EVERY_S: Final = 60.0
"""Of one way a silent recorder is not replaced more often. A way that fails twice within that is given up."""
END_DEADLINE_S: Final = 4.0
MOST_END_S: Final = 30.0
"""Of a bot that is out the recorder's chunks are fetched as long as some come within END_DEADLINE_S, and no longer."""
ATTACH_S: Final = 0.2

_CAUSES: Final[dict[str, GapCause]] = {"tab": "tab_lost", "recorder": "recorder_lost", ASKED: "late"}
"""Of what is missing after a recorder stopped for that."""
_PAUSES: Final[dict[tuple[GapCause, bool], str]] = {
    ("paused", True): "pause its recording",
    ("paused", False): "resume its recording",
    ("refused", True): "record nothing: the meeting does not permit it",
    ("refused", False): "record again: the meeting permits it",
}
"""What a bot's story says when a pause of that cause began, or is over."""
_STILL_PAUSED: Final = "its recording is paused, as it was before"
"""Of one that an attempt, or an agent, before this one had paused."""
_DISK_FULL_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_DISK_ERRORS: Final = (*_DISK_FULL_ERRORS, errno.EIO)

OnSound = Callable[[int, int, bytes], None]
"""Gets each chunk of sound as it is fetched: its number, its part, and the WebM. The same chunk may come again."""


async def nothing() -> None:
    pass


def unheard() -> None:
    pass


def found_none() -> None:
    pass


class Recording:
    """Call `run` once, `note` with each state of the bot, and `end` when it is out.

    `spool` opens the bot's spool, a new one of a bot that came in at that time by that clock, or one that another agent
    left. It may be called again if it raises OSError. `ways`: how it is recorded; each is for when the one before it
    has failed. `options`: what; a kind that the spool does not keep is only given to `on_sound`. `page`: the meeting's,
    None while no driver is connected to it. `voice_at`: when the meeting's connections last received a voice, in
    monotonic seconds. `has_room`: whether more may be spooled. `on_began`: called once the bot is recorded, with how.
    `add_to_story`: adds a line to the bot's story. With `on_sound`, chunks of sound are short. `before_close`: what
    else is to be spooled, once the bot is out. `on_recorder`: called whenever there is a recorder, a new one or one
    that another agent began, that records: of one that is paused once it goes on. `find_left`: the spool that
    another agent left of this bot, None if there is none that can be read; may raise OSError.
    """

    def __init__(
        self,
        spool: Callable[[float, Clock], Spool | NullSpool],
        ways: Sequence[Way],
        options: CaptureOptions,
        page: Callable[[], Page | None],
        voice_at: Callable[[], float | None],
        has_room: Callable[[], bool],
        on_began: Callable[[str], None],
        add_to_story: Callable[[str], None],
        log: structlog.stdlib.BoundLogger,
        on_sound: OnSound | None = None,
        before_close: Callable[[], Awaitable[None]] = nothing,
        on_recorder: Callable[[], None] = unheard,
        find_left: Callable[[], Spool | None] = found_none,
    ) -> None:
        self._make_spool = spool
        self._before_close = before_close
        self._on_recorder = on_recorder
        self._read_left = find_left
        self._on_sound = on_sound
        self._chunk_s, self._fetch_every_s = (CHUNK_S, FETCH_S) if on_sound is None else (LIVE_CHUNK_S, LIVE_CHUNK_S)
        self._ways = [*ways]  # the first one is how it is recorded now
        self._options = options
        self._page = page
        self._voice_at = voice_at
        self._has_room = has_room
        self._on_began = on_began
        self._add_to_story = add_to_story
        self._log = log
        self._is_in_meeting = asyncio.Event()
        self._ended = asyncio.Event()
        self._wake = asyncio.Event()
        self._wants_pause: bool | None = None
        self._is_refused = False  # the meeting does not permit recording
        self._ended_at = 0.0  # by the monotonic clock
        self._clock = Clock.by_wall()
        self._recorder: Recorder | None = None
        self._silence = SilenceDetector(self._chunk_s)
        self._stall = StallDetector(options.kinds)
        # the cause that is noted if the recorder stopped because its buffer was full
        self._stop_cause: GapCause = "agent_away"
        self._open_cause: GapCause | None = None  # of the gap before the next recorder, if it is known
        self._next_seq = 0  # the number of the next chunk to fetch
        self._stopped: set[str] = set()  # why its kinds were no longer recorded at the last fetch
        self._waiting = 0  # how many chunks the recorder had left after the last fetch
        self._streamed_parts = 0  # how many parts of sound were given to on_sound
        self._reported: set[str] = set()
        self._failed_at = float("-inf")
        self._changed_because = ""  # why it is not recorded by the way before, until a recorder has begun
        self.spool: Spool | NullSpool | None = None
        self.has_new_chunks = asyncio.Event()

    def note(self, state: State) -> None:
        """The bot is in this state now. May be called at any time."""
        if state.ending or state.phase.rank > BotState.IN_MEETING.rank:
            self.end()
        elif state.phase is BotState.IN_MEETING:
            if self._is_refused != (state.refused_since is not None):
                self._is_refused = not self._is_refused
                self._wake.set()
            self._is_in_meeting.set()

    @property
    def is_paused(self) -> bool:
        """Whether nothing may be recorded now: somebody asked for it, or the meeting does not permit it."""
        if self._is_refused or self._wants_pause is None:
            return self._is_refused or (self.spool is not None and self.spool.progress.is_paused)
        return self._wants_pause  # whether or not the disk took a note of it

    def pause(self, *, paused: bool) -> None:
        """Stop recording for a while, or go on if the meeting permits it. May be called at any time; idempotent."""
        self._wants_pause = paused
        self._wake.set()

    def end(self) -> None:
        """The bot is out of its meeting. May be called at any time; idempotent."""
        if not self._ended.is_set():
            self._ended_at = time.monotonic()
            self._ended.set()
            self._is_in_meeting.set()
            self._wake.set()

    async def run(self) -> None:
        """Record until `end` is called. Afterwards everything that was recorded is on the disk."""
        await self._is_in_meeting.wait()
        self.spool = await (self._find_left() if self._ended.is_set() else self._open_spool())
        if self.spool is None:
            return
        self._clock = Clock.of(self.spool.progress.ahead_s)
        delays = backoff(*REOPEN_DELAYS_S)
        failing_since, next_delay_s = time.monotonic(), self._fetch_every_s
        while await self._go_on(next_delay_s):
            page = self._page()
            if page is None:
                self._recorder = None
                self._report_if_long(failing_since, "nothing is fetched: the browser is not connected")
                continue
            try:
                await self._note_pauses()
                if self._recorder is None:
                    self._recorder = await self._find_or_open(page)
                if self._recorder:
                    await self._fetch(self._recorder)
                failing_since, next_delay_s = time.monotonic(), self._fetch_every_s
                delays = backoff(*REOPEN_DELAYS_S)
            except CAPTURE_ERRORS as error:
                next_delay_s = next(delays)
                is_pages = isinstance(error, (TimeoutError, *PAGE_ERRORS))  # they may be its fault
                if not (is_pages or self._keeps_chunks(error, time.monotonic() - failing_since)):
                    await self._note_failure(one_line(error))
                self._recorder = None
                self._log.warning("recorder_failed", error=one_line(error), again_in_s=next_delay_s)
                self._report_if_long(failing_since, "there is no recorder; it is tried again")
        await self._finish()

    def _keeps_chunks(self, error: Exception, failing_s: float) -> bool:
        """Whether the disk failed, and the recorder has chunks that would be lost with it. It is tried again for as
        long as it may have room for more.
        """
        is_disks = isinstance(error, OSError) and error.errno in _DISK_ERRORS
        return is_disks and self._waiting > 0 and failing_s < RECORDER_BUFFER_S

    async def _open_spool(self) -> Spool | NullSpool | None:
        """The bot's spool, as soon as the disk takes one. None: the bot was out before."""
        came_in_at, delays = self._clock.now(), backoff(*REOPEN_DELAYS_S)
        while not self._ended.is_set():
            try:
                return await asyncio.to_thread(self._make_spool, came_in_at, self._clock)
            except OSError as error:
                self._open_cause = "disk_full" if error.errno in _DISK_FULL_ERRORS else "late"
                self._report_disk(error)
            await pause(self._wake, next(delays))
            self._wake.clear()
        return None

    async def _find_left(self) -> Spool | None:
        """The spool that another agent left, of a bot that this one never saw in its meeting: the recorder may have
        more. None: there is none, or it is whole, or the disk does not give it. No new one takes its place.
        """
        try:
            spool = await asyncio.to_thread(self._read_left)
        except OSError as error:
            self._report_disk(error)
            return None
        if spool is None:
            return None
        self._is_refused = "refused" in spool.progress.paused_by
        return None if spool.progress.closed else spool

    async def _go_on(self, after_s: float) -> bool:
        """Wait for `after_s`, or until something is asked for. False: the bot is out."""
        await pause(self._wake, after_s if self._page() else ATTACH_S)
        self._wake.clear()
        return not self._ended.is_set()

    async def _note_pauses(self) -> None:
        """Write each pause that began, and each that is over, to the disk, so that another agent follows it too."""
        assert self.spool
        wanted: dict[GapCause, bool | None] = {"paused": self._wants_pause, "refused": self._is_refused}
        for cause, is_wanted in wanted.items():
            if is_wanted is None or is_wanted == (cause in self.spool.progress.paused_by):
                continue
            try:
                change = progress.Paused if is_wanted else progress.Resumed
                await asyncio.to_thread(self.spool.pause, change(self._clock.now(), cause))
            except OSError as error:
                self._report_disk(error)
                return
            if cause == "refused" and self._recorder is None:
                self._open_cause = cause
            self._add_to_story(_PAUSES[cause, is_wanted])

    async def _find_or_open(self, page: Page) -> Recorder | None:
        """None: there is none, and none may begin now."""
        recorder = await self._find(page)
        if recorder is None and not self._is_refused:
            recorder = await self._open(page)
        elif recorder and isinstance(self.spool, Spool):  # the agent that opened it may have died before it told so
            await self._tell_began(self._ways[0].label)
        if recorder:
            self._open_cause = None
            self._stall.reset(time.monotonic())
            self._silence.reset()
            if not self.is_paused:
                self._on_recorder()
        return recorder

    async def _find(self, page: Page | None) -> Recorder | None:
        """The recorder of this bot, if there is one. An agent before may have begun it by a later way: ways before that
        one have failed.
        """
        assert self.spool
        names = [way.name for way in self._ways]
        if (latest := self.spool.progress.way) in names:
            del self._ways[: names.index(latest)]
        for place, way in reversed([*enumerate(self._ways)]):
            if recorder := await way.find(page):
                del self._ways[:place]
                return recorder
        return None

    async def _open(self, page: Page) -> Recorder:
        assert self.spool
        so_far = self.spool.progress
        cause = self._open_cause or ("recorder_lost" if so_far.has_begun else None)
        parts: dict[Kind, int] = dict.fromkeys(self._options.kinds, self._streamed_parts)
        parts |= {kind: len(track.parts) for kind, track in so_far.tracks.items() if kind in self._options.kinds}
        chunk_ms = round(self._chunk_s * 1000)
        start = Start(
            *(self._options, RECORDER_BUFFER_S, chunk_ms, parts, self._confirmed, cause, self.is_paused), self._clock
        )
        way, why = self._ways[0], self._changed_because
        recorder = await way.open(page, start)
        how = f"{way.label}, because {why}" if why else way.label
        if not await self._tell_began(how) and why:
            self._add_to_story(f"go on to record it {how}")
        self._changed_because = ""
        self._log.info("recording_began", parts=parts, way=way.name)
        return recorder

    async def _tell_began(self, how: str) -> bool:
        """False: that was told before."""
        assert self.spool
        if self.spool.is_awaited:
            return False
        self._on_began(how)
        if self.spool.progress.is_paused:
            self._add_to_story(_STILL_PAUSED)
        await asyncio.to_thread(self.spool.note_told)
        return True

    @property
    def _confirmed(self) -> int:
        """Chunks with lower numbers are on the disk: the recorder may drop them."""
        assert self.spool
        return max(self._next_seq, self.spool.progress.next_seq)

    async def _fetch(self, recorder: Recorder) -> bool:
        """Fetch chunks and spool them. True: the recorder has more that the disk may take."""
        wanted = MOST_AT_ONCE
        if not self._has_room():
            wanted, self._stop_cause = 0, "spool_full"
            self._report_failure("the store takes nothing, and capture.spool_mb is reached: the newest is refused")
        pulled = await recorder.pull(self._confirmed, wanted, None if self.is_paused else self._stop_cause)
        looked_at = time.monotonic()  # whatever is told of it, the disk may take seconds first
        self._stopped = set(pulled.stopped.values())
        if not self._ended.is_set():
            await self._follow_pause(recorder, pulled)
        is_taken = await self._take(pulled) if wanted else False
        if is_taken and not any(pulled.stopped.values()):
            self._stop_cause = "agent_away"
        more = pulled.waiting > len(pulled.chunks)
        if not self._ended.is_set():
            received = self._received(pulled, is_taken=is_taken)
            await self._check(pulled, received, looked_at, may_replace=is_taken and not more)
        self._waiting = pulled.waiting - (len(pulled.chunks) if is_taken else 0)
        return more and is_taken

    async def _take(self, pulled: Pulled) -> bool:
        """Pass the chunks on and spool them. False: the disk takes nothing."""
        assert self.spool
        entries = [_entries(chunk, self._ways[0].name) for chunk in pulled.chunks]
        self._pass_on_sound(entries)
        try:
            await asyncio.to_thread(self.spool.append, entries)
        except OSError as error:
            self._stop_cause = "disk_full" if error.errno in _DISK_FULL_ERRORS else "spool_full"
            self._report_disk(error)
            return False
        if pulled.chunks:
            self._next_seq = pulled.chunks[-1].seq + 1
            self.has_new_chunks.set()
        return True

    def _received(self, pulled: Pulled, *, is_taken: bool) -> set[Kind]:
        """The kinds of which chunks came. While they stay with the recorder: all, if it has more than before."""
        if is_taken:
            return {chunk.kind for chunk in pulled.chunks}
        return set(self._options.kinds) if pulled.waiting > self._waiting else set()

    def _pass_on_sound(self, entries: Sequence[tuple[progress.Began, progress.Chunk, bytes]]) -> None:
        for began, chunk, content in entries:
            if self._on_sound and chunk.kind == "audio":
                self._streamed_parts = began.part + 1
                if not self._is_refused:
                    self._on_sound(chunk.seq, began.part, content)

    async def _follow_pause(self, recorder: Recorder, pulled: Pulled) -> None:
        assert self.spool
        if self.is_paused and "" in pulled.stopped.values():
            await recorder.pause()
        elif not self.is_paused and PAUSED in pulled.stopped.values():
            await recorder.resume(self.spool.progress.pause_cause)
            self._on_recorder()

    async def _check(self, pulled: Pulled, received: set[Kind], now: float, *, may_replace: bool) -> None:
        """Tell that the recorder stalls, or records silence while somebody speaks. Replace it then, and if it stopped,
        but not as long as it has chunks that would be lost with it.
        """
        for stopped in pulled.stopped.values():
            if stopped in _CAUSES:
                if may_replace:
                    await self._note_failure("its recorder ended")
                    await self._restart(_CAUSES[stopped])
                return
        fine: set[Kind] = {kind for kind in self._options.kinds if kind in received or pulled.stopped.get(kind)}
        is_recording = not pulled.stopped.get("audio", "none")
        if not is_recording:
            self._silence.reset()
        if stalled := self._stall.stalled(now, fine):
            self._report_failure(f"capture_failed: nothing comes of the {stalled}")
            if may_replace:
                await self._note_failure(f"nothing came of the {stalled}")
                await self._restart("recorder_lost")
        elif is_recording and self._silence.is_wrongly_silent(now, pulled.level, self._voice_at()):
            await self._note_silence(may_replace=may_replace)

    async def _note_silence(self, *, may_replace: bool) -> None:
        """Somebody speaks, and the recording is silent: tell it, note the gap, and go on by the next way. If there is
        none, replace the recorder, unless one failed lately. While it stays silent, what follows is the next gap.
        """
        assert self.spool
        assert self._silence.silent_since is not None
        now = time.monotonic()
        self._report_failure("capture_failed: what is recorded is silent, and the meeting is not")
        missed = progress.Missed(self._clock.at(self._silence.silent_since), self._clock.at(now), "silent")
        try:
            await asyncio.to_thread(self.spool.miss, missed)
        except OSError as error:
            self._report_disk(error)
            return
        self._silence.silent_since = now
        if may_replace and (len(self._ways) > 1 or now - self._failed_at >= RESTART_EVERY_S):
            await self._note_failure("what was recorded was silent", is_lasting=True)
            await self._restart("recorder_lost")

    async def _note_failure(self, why: str, *, is_lasting: bool = False) -> None:
        """The recorder failed, or none could begin. If that is lasting, or the second time within a minute, this way to
        record is given up for the next one, if there is one.
        """
        now = time.monotonic()
        is_lasting |= now - self._failed_at < RESTART_EVERY_S
        self._failed_at = now
        if is_lasting and len(self._ways) > 1:
            self._changed_because = why
            await self._close()
            del self._ways[0]

    async def _restart(self, cause: GapCause) -> None:
        self._log.warning("recorder_begins_anew", cause=cause, way=self._ways[0].name)
        self._open_cause = cause
        self._silence.reset()
        await self._close()

    async def _close(self) -> None:
        if self._recorder:
            with suppress(*CAPTURE_ERRORS):
                await self._recorder.close()
        self._recorder, self._waiting = None, 0

    async def _finish(self) -> None:
        """Fetch the rest, if the recorder still answers. If the meeting never permitted recording, nothing is left, but
        of what was told to have begun: files are waited for.
        """
        assert self.spool
        if self._is_refused and self._recorder is None and not self.spool.is_awaited:
            with suppress(OSError):  # whatever the disk keeps of it has no sound
                await asyncio.to_thread(self.spool.remove)
            return
        ended_at = await asyncio.to_thread(self.spool.note_end, self._clock.at(self._ended_at))
        cause: GapCause = "browser_gone"
        recorder = self._recorder
        try:
            async with asyncio.timeout(END_DEADLINE_S) as deadline:
                now = asyncio.get_running_loop().time
                latest = now() + MOST_END_S
                recorder = recorder or await self._find(self._page())
                if recorder:
                    await recorder.stop()
                    while await self._fetch(recorder) and self._has_room():
                        deadline.reschedule(min(now() + END_DEADLINE_S, latest))
                    cause = self._end_cause
        except CAPTURE_ERRORS as error:
            self._log.warning("recorder_lost", error=one_line(error))
            if recorder and isinstance(error, TimeoutError):
                cause = "late"
        await self._before_close()
        try:
            cause = "refused" if self._is_refused else cause
            await asyncio.to_thread(self.spool.close, progress.Closed(ended_at, cause))
        except OSError as error:
            self._log.error("recording_unfinished", error=error.strerror)  # the process that makes the files closes it
        self._log.info("recording_ended", recorded_s=round(self.spool.progress.recorded_s, 1))

    @property
    def _end_cause(self) -> GapCause:
        """Why the end is missing of a recorder that gave all that it had."""
        if FULL in self._stopped or self._stop_cause != "agent_away":
            return self._stop_cause
        for stopped, cause in _CAUSES.items():
            if stopped in self._stopped:
                return cause
        return "browser_gone"

    def _report_disk(self, error: OSError) -> None:
        self._report_failure(f"the disk of worker.state_dir takes nothing: {error.strerror}")

    def _report_if_long(self, failing_since: float, why: str) -> None:
        if time.monotonic() - failing_since >= WARN_AFTER_S:
            self._report_failure(why)

    def _report_failure(self, why: str) -> None:
        """Log a failure and add it to the bot's history; the same one only once."""
        if why not in self._reported:
            self._reported.add(why)
            self._log.error("capture_failed", why=why)
            self._add_to_story(why if why.startswith("capture_failed") else f"capture_failed: {why}")


def _entries(chunk: Chunk, way: WayName) -> tuple[progress.Began, progress.Chunk, bytes]:
    return (
        progress.Began(chunk.part, chunk.part_at, chunk.cause, chunk.kind, way),
        progress.Chunk(chunk.seq, chunk.at, chunk.media_s, len(chunk.content), chunk.kind),
        chunk.content,
    )
