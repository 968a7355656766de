"""One bot's recording while it is in its meeting: begins when the bot is in, fetches from the recorder twice a second,
and ends with it. Whatever goes wrong with it, the meeting goes on; what is missing stands in the ledger with its cause.
"""

import asyncio
import errno
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog
from playwright.async_api import Page

from common.runtime.waiting import backoff, pause
from common.wire.manifest import GapCause, Kind
from common.wire.vocabulary import BotState
from worker.capture import ledger, tab
from worker.capture.flow import Flow
from worker.capture.level import Watch
from worker.capture.spool import Spool
from worker.capture.unkept import Unkept
from worker.chromium.driver import PAGE_ERRORS, one_line
from worker.decide.state import State

CHUNK_S: Final = 1.0
FETCH_S: Final = 0.5
"""What a browser that dies takes along is a chunk and this: less than two seconds."""
HEARD_EVERY_S: Final = 0.25
KEEPS_S: Final = 600
"""What the recorder keeps while nobody takes it."""
OPEN_AGAIN_S: Final = (0.5, 15.0)
WARN_AFTER_S: Final = 10.0
ANEW_EVERY_S: Final = 60.0
END_DEADLINE_S: Final = 4.0
ATTACH_S: Final = 0.2

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

Hear = Callable[[int, int, bytes], None]
"""Is given each chunk of sound as it is fetched: its number, its part, and the WebM. The same may come again."""


class Recording:
    """`spool` begins one, or goes on with what there is. `wish`: what is to be recorded, and how. `page`: the
    meeting's, None while nobody is connected to it.
    `voice_at`: when the meeting's connections received a voice, monotonic seconds. `has_room`: more may be spooled.
    `began`: is told once that the bot is being recorded. `tell`: puts it into the bot's story. `hear`: somebody
    listens, and soon: chunks of sound are short then. What is in the wish and not in the spool is only heard.
    """

    def __init__(
        self,
        spool: Callable[[], Spool | Unkept],
        wish: tab.Wish,
        page: Callable[[], Page | None],
        voice_at: Callable[[], float | None],
        has_room: Callable[[], bool],
        began: Callable[[], None],
        tell: Callable[[str], None],
        log: structlog.stdlib.BoundLogger,
        hear: Hear | None = None,
    ) -> None:
        self._make_spool = spool
        self._hear = hear
        self._chunk_s, self._every_s = (CHUNK_S, FETCH_S) if hear is None else (HEARD_EVERY_S, HEARD_EVERY_S)
        self._wish = wish
        self._page = page
        self._voice_at = voice_at
        self._has_room = has_room
        self._began = began
        self._tell = tell
        self._log = log
        self._is_in = asyncio.Event()
        self._ended = asyncio.Event()
        self._wake = asyncio.Event()
        self._wants_pause: bool | None = None
        self._ended_at = 0.0
        self._tab: Page | None = None
        self._watch = Watch()
        self._flow = Flow(wish.kinds)
        self._cause: GapCause = "agent_away"  # of a recorder that stopped because nobody fetched
        self._again: GapCause = "recorder_lost"  # of one that is opened again
        self._next_seq = 0  # of what has come here, kept or only heard
        self._heard_parts = 0
        self._told: set[str] = set()
        self._began_anew_at = float("-inf")
        self.spool: Spool | Unkept | None = None
        self.news = asyncio.Event()  # something is to be stored

    def note(self, state: State) -> None:
        """Where the bot is. At any time."""
        if state.ending or state.phase.rank > BotState.IN_MEETING.rank:
            self.end()
        elif state.phase is BotState.IN_MEETING:
            self._is_in.set()

    def pause(self, *, paused: bool) -> None:
        """Record nothing from now on, or again. At any time, idempotent."""
        self._wants_pause = paused
        self._wake.set()

    def end(self) -> None:
        """The bot is out. At any time, idempotent."""
        if not self._ended.is_set():
            self._ended_at = time.time()
            self._ended.set()
            self._is_in.set()
            self._wake.set()

    async def run(self) -> None:
        """Until it has ended. Afterwards all that there is of it is on the disk."""
        await self._is_in.wait()
        if self._ended.is_set():
            return
        try:
            self.spool = await asyncio.to_thread(self._make_spool)
        except OSError as error:
            self._fail(f"the disk of worker.state_dir takes nothing: {error.strerror}")
            return
        delays = backoff(*OPEN_AGAIN_S)
        failing_since, next_delay_s = time.monotonic(), self._every_s
        while await self._go_on(next_delay_s):
            page = self._page()
            if page is None:
                self._tab = None
                continue
            try:
                if self._tab is None:
                    self._tab = await tab.find(page) or await self._open(page)
                    self._flow.begin_anew(time.monotonic())
                    delays = backoff(*OPEN_AGAIN_S)
                await self._note_pause()
                await self._fetch(self._tab)
                failing_since, next_delay_s = time.monotonic(), self._every_s
            except tab.CAPTURE_ERRORS as error:
                self._tab, next_delay_s = None, next(delays)
                self._log.warning("recorder_failed", error=one_line(error), again_in_s=next_delay_s)
                if time.monotonic() - failing_since >= WARN_AFTER_S:
                    self._fail("there is no recorder; it is tried again")
        await self._finish()

    async def _go_on(self, after_s: float) -> bool:
        """After a moment, or at once if something is asked for. False: it has ended."""
        await pause(self._wake, after_s if self._page() else ATTACH_S)
        self._wake.clear()
        return not self._ended.is_set()

    async def _note_pause(self) -> None:
        """What somebody asked for is remembered, whoever dies."""
        assert self.spool
        if self._wants_pause is None or self._wants_pause == self.spool.ledger.is_paused:
            return
        try:
            change = ledger.Paused if self._wants_pause else ledger.Resumed
            await asyncio.to_thread(self.spool.pause, change(time.time()))
        except OSError as error:
            self._fail(f"the disk of worker.state_dir takes nothing: {error.strerror}")
            return
        self._tell("pause its recording" if self._wants_pause else "resume its recording")

    async def _open(self, page: Page) -> Page:
        assert self.spool
        known = self.spool.ledger
        again = self._again if known.has_begun else None
        parts: dict[Kind, int] = dict.fromkeys(self._wish.kinds, self._heard_parts)
        parts |= {kind: len(track.parts) for kind, track in known.tracks.items()}
        every_ms = round(self._chunk_s * 1000)
        start = tab.Start(self._wish, KEEPS_S, every_ms, parts, self._confirmed, again, known.is_paused)
        recorder = await tab.open_beside(page, start)
        if again is None:
            self._began()
        self._again = "recorder_lost"
        self._log.info("recording_began", parts=parts)
        return recorder

    @property
    def _confirmed(self) -> int:
        """What has a lower number is needed no more."""
        assert self.spool
        return max(self._next_seq, self.spool.ledger.next_seq)

    async def _fetch(self, recorder: Page) -> bool:
        """Whether there is more."""
        assert self.spool
        wanted = tab.MOST_AT_ONCE
        if not self._has_room():
            wanted, self._cause = 0, "spool_full"
            self._fail("the store takes nothing, and capture.spool_mb is reached: the newest is refused")
        pulled = await tab.pull(recorder, self._confirmed, wanted, self._cause)
        entries = [_entries(chunk) for chunk in pulled.chunks]
        self._let_hear(entries)
        try:
            await asyncio.to_thread(self.spool.append, entries)
        except OSError as error:
            self._cause = "disk_full" if error.errno in _FULL else "spool_full"
            self._fail(f"the disk of worker.state_dir takes nothing: {error.strerror}")
            return False
        if pulled.chunks:
            self._next_seq = pulled.chunks[-1].seq + 1
            self.news.set()
        if not any(pulled.stopped.values()):
            self._cause = "agent_away"
        more = pulled.waiting > len(pulled.chunks)
        if not more and not self._ended.is_set():
            await self._follow_pause(recorder, pulled)
            await self._check(pulled, time.monotonic())
        return more

    def _let_hear(self, entries: Sequence[tuple[ledger.Began, ledger.Chunk, bytes]]) -> None:
        for began, chunk, content in entries:
            if self._hear and chunk.kind == "audio":
                self._heard_parts = began.part + 1
                self._hear(chunk.seq, began.part, content)

    async def _follow_pause(self, recorder: Page, pulled: tab.Pulled) -> None:
        assert self.spool
        if self.spool.ledger.is_paused and "" in pulled.stopped.values():
            await tab.pause(recorder)
        elif not self.spool.ledger.is_paused and tab.PAUSED in pulled.stopped.values():
            await tab.resume(recorder)

    async def _check(self, pulled: tab.Pulled, now: float) -> None:
        """Whether all that is to be recorded is; where not, another recorder may do better."""
        for stopped in pulled.stopped.values():
            if stopped in ("tab", "recorder"):
                await self._begin_anew("tab_lost" if stopped == "tab" else "recorder_lost")
                return
        came = {chunk.kind for chunk in pulled.chunks}
        if late := self._flow.look(
            now, {kind for kind in self._wish.kinds if kind in came or pulled.stopped.get(kind)}
        ):
            self._fail(f"capture_failed: nothing comes of the {late}; the recorder begins anew")
            await self._begin_anew("recorder_lost")
        elif not pulled.stopped.get("audio", "none") and self._watch.look(now, pulled.level, self._voice_at()):
            await self._note_silence()

    async def _note_silence(self) -> None:
        """Somebody speaks, and it is not recorded: another recorder may do better."""
        assert self.spool
        assert self._watch.silent_since is not None
        now = time.monotonic()
        if now - self._began_anew_at < ANEW_EVERY_S:
            return
        self._fail("capture_failed: what is recorded is silent, and the meeting is not; the recorder begins anew")
        began_at = time.time() - (now - self._watch.silent_since)
        await asyncio.to_thread(self.spool.miss, ledger.Missed(began_at, time.time(), "silent"))
        await self._begin_anew("recorder_lost")

    async def _begin_anew(self, cause: GapCause) -> None:
        self._log.warning("recorder_begins_anew", cause=cause)
        self._again, self._began_anew_at = cause, time.monotonic()
        self._watch.begin_anew()
        if self._tab:
            with suppress(*PAGE_ERRORS):
                await self._tab.close()
        self._tab = None

    async def _finish(self) -> None:
        """Fetch what is left, if the recorder still answers."""
        assert self.spool
        cause: GapCause = "browser_gone"
        try:
            async with asyncio.timeout(END_DEADLINE_S):
                page = self._page()
                recorder = self._tab or (await tab.find(page) if page else None)
                if recorder:
                    await tab.stop(recorder)
                    while await self._fetch(recorder):
                        pass
        except tab.CAPTURE_ERRORS as error:
            self._log.warning("recorder_lost", error=one_line(error))
        try:
            await asyncio.to_thread(self.spool.close, ledger.Closed(self._ended_at, cause))
        except OSError as error:
            self._log.error("recording_unfinished", error=error.strerror)  # whoever finishes it closes it
        self._log.info("recording_ended", recorded_s=round(self.spool.ledger.recorded_s, 1))

    def _fail(self, why: str) -> None:
        """Say it, each once."""
        if why not in self._told:
            self._told.add(why)
            self._log.error("capture_failed", why=why)
            self._tell(why if why.startswith("capture_failed") else f"capture_failed: {why}")


def _entries(chunk: tab.Chunk) -> tuple[ledger.Began, ledger.Chunk, bytes]:
    content = chunk.content()
    return (
        ledger.Began(chunk.part, chunk.part_at / 1000, chunk.cause, chunk.kind),
        ledger.Chunk(chunk.seq, chunk.at / 1000, round(chunk.media_ms / 1000, 3), len(content), chunk.kind),
        content,
    )
