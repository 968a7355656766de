"""Measures how late the event loop runs what is due, and names the function that held it up.

A beat in the loop measures the lag. When a beat is late, a thread finds out which function the loop is in.
"""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Final, NamedTuple

import structlog

HELD_S: Final = 0.02
"""Seconds of processor time. No single step may hold the loop for longer."""
BEAT_S: Final = 0.05
_SAID_EVERY_S: Final = 10.0
_FRAMES: Final = 3
_OURS: Final = ("poolmgr.", "worker.", "common.")

_log = structlog.stdlib.get_logger()


class Beat(NamedTuple):
    """`lag_s`: how late the beat came. `busy_s`: processor time of the loop since the last beat; it is small if the
    process only waited for a busy machine. `step`: where the loop was meanwhile, as `module.function < caller`; empty:
    unknown.
    """

    lag_s: float
    busy_s: float
    step: str = ""

    @property
    def is_held(self) -> bool:
        """Whether this program's own code held the loop."""
        return self.lag_s > HELD_S and self.busy_s > HELD_S


class HeldLog:
    """Logs what held the loop: at once, then at most every ten seconds, with how many times it was not logged."""

    def __init__(self) -> None:
        self._said_at = -_SAID_EVERY_S
        self._unsaid = 0

    def __call__(self, beat: Beat, now: float) -> None:
        """Take a beat. `now`: any steady clock, seconds."""
        if not beat.is_held:
            return
        if now - self._said_at < _SAID_EVERY_S:
            self._unsaid += 1
            return
        facts = {"lag_s": round(beat.lag_s, 3), "busy_s": round(beat.busy_s, 3), "step": beat.step}
        _log.warning("loop_held", **facts, unsaid=self._unsaid)
        self._said_at, self._unsaid = now, 0


@asynccontextmanager
async def watched(on_beat: Callable[[Beat], None], beat_s: float = BEAT_S) -> AsyncGenerator[None]:
    """Watch the running loop while the context is open."""
    watch = _Watch(on_beat, beat_s, asyncio.get_running_loop())
    thread = threading.Thread(target=watch.look, name="watch the loop", daemon=True)
    thread.start()
    watch.begin()
    try:
        yield
    finally:
        watch.over.set()
        await asyncio.to_thread(thread.join)


class _Watch:
    """Has to be made in the thread of the loop."""

    def __init__(self, on_beat: Callable[[Beat], None], beat_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self.over = threading.Event()
        self._on_beat = on_beat
        self._beat_s = beat_s
        self._loop = loop
        self._thread = threading.get_ident()
        self._busy = time.thread_time()
        self._due = time.monotonic() + beat_s
        self._step = ""

    def begin(self) -> None:
        self._due = time.monotonic() + self._beat_s
        self._loop.call_later(self._beat_s, self._beat)

    def _beat(self) -> None:
        if self.over.is_set():
            return
        lag_s, busy_before, self._busy = max(0.0, time.monotonic() - self._due), self._busy, time.thread_time()
        step, self._step = self._step, ""
        self._on_beat(Beat(lag_s, self._busy - busy_before, step))
        self.begin()

    def look(self) -> None:
        """Look for late beats until `over` is set. Runs in its own thread."""
        while not self.over.wait(max(HELD_S, self._due + HELD_S - time.monotonic())):
            if time.monotonic() > self._due + HELD_S and (frame := sys._current_frames().get(self._thread)):  # pyright: ignore[reportPrivateUsage]  # documented, in spite of its name
                self._see(where(frame))

    def _see(self, step: str) -> None:
        """Note the first function of this program that is seen. Later the process may only be waiting for a busy
        machine.
        """
        if not self._step.startswith(_OURS) and (step.startswith(_OURS) or not self._step):
            self._step = step


def where(frame: FrameType | None) -> str:
    """The innermost functions of this program with their callers; if there is none, the innermost function at all."""
    ours: list[str] = []
    innermost = ""
    while frame and len(ours) < _FRAMES:
        name = f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_qualname}"
        innermost = innermost or name
        if name.startswith(_OURS):
            ours.append(name)
        frame = frame.f_back
    return " < ".join(ours) or innermost
