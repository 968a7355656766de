"""Records what a worker's virtual display shows and its sound server plays, by an ffmpeg in the worker's process group.

The ffmpeg goes on without the agent. It writes files of a second of each kind into the worker's folder. A file that is
complete gets its number, by being renamed, and is removed when the agent has confirmed it. Only their owner may read
any of the files. So an agent that comes later finds all of it, with the same numbers:

    STATE_DIR/workers/WORKER_ID/capture/state.json           what is recorded, and why it stopped
                                       /runs/RUN/run.json    what its chunks say about their parts
                                                /script      starts ffmpeg, and notes its id and how it ended
                                                /KIND-INDEX  not numbered yet; the last one is not complete
                                       /chunks/SEQ.RUN.KIND.INDEX

What is recorded has the time of the wall clock: ffmpeg notes when it took each picture and each piece of sound. If the
wall clock is set meanwhile, another run begins.
"""

import asyncio
import os
import shlex
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog
from playwright.async_api import Page

from common.wire.manifest import GapCause, Kind
from worker.capture.clock import Clock
from worker.capture.tab import fit
from worker.capture.way import ASKED, FULL, GONE, PAUSED, CaptureOptions, Chunk, Pulled, Start, WayName
from worker.chromium import display, processes

log: structlog.stdlib.BoundLogger = structlog.get_logger()

OPEN_DEADLINE_S: Final = 10.0
CALL_DEADLINE_S: Final = 5.0
PICTURES_MS: Final = 1000
KEY_S: Final = 5
END_S: Final = 3.0
END_POLL_S: Final = 0.02
NOTED_S: Final = 0.5
MOST_SET_S: Final = 1.0
"""By more than that the wall clock was set. It may be too busy a machine that reads two clocks for less."""
SET: Final = "clock set"
SILENT_BYTES_PER_S: Final = 1200
"""A second of digital silence has 470 bytes as Opus in WebM; sound that is not silent has thousands."""
ENDED: Final = (0, 255)
"""Exit codes of an ffmpeg that has written all: 255 after a signal. Otherwise the last file is half a one."""

# Where the page is on the display: below the window's tabs and its address.
_PLACE: Final = "[screenX + (outerWidth - innerWidth) / 2, screenY + outerHeight - innerHeight].map(Math.round)"
# A shell that is no terminal's has its children ignore SIGINT. SIGTERM ends ffmpeg in good order too.
_SCRIPT: Final = """umask 077
{command} </dev/null >/dev/null 2>{run}/complaint &
ffmpeg=$!
echo $ffmpeg >{run}/pid.new && mv {run}/pid.new {run}/pid
while sleep {look_s}; do
  [ -n "$(find {run}/fetched -newermt '-{buffer_s} seconds')" ] || {{ : >{run}/full; kill -TERM $ffmpeg; }}
done &
wait $ffmpeg
echo $? >{run}/exit.new && mv {run}/exit.new {run}/exit
kill $!
"""


class _State(msgspec.Struct, frozen=True):
    """`place`: of the page on the display. `run`: the latest. `parts`: the number of the next part. `stopped`: why
    nothing is recorded; empty while something is. `ahead_s`: of the recording's clock.
    """

    options: CaptureOptions
    buffer_s: int
    chunk_ms: int
    place: tuple[int, int]
    run: int
    parts: dict[Kind, int]
    stopped: str
    ahead_s: float | None = None


class _Run(msgspec.Struct, frozen=True):
    """`part_at`: by the recording's clock, of which the wall clock, and so ffmpeg's, is `wall_ahead_s` ahead.
    `ended_at`, by the same: when somebody had set the wall clock. Nothing is later.
    """

    parts: dict[Kind, int]
    part_at: float
    cause: GapCause | None
    wall_ahead_s: float = 0.0
    ended_at: float | None = None


class _Numbered(NamedTuple):
    """What the name of a chunk's file says. `number`: by kind, within the run."""

    seq: int
    run: int
    kind: Kind
    number: int

    @classmethod
    def parse(cls, name: str) -> "_Numbered":
        seq, run, kind, number = name.split(".")
        return cls(int(seq), int(run), "audio" if kind == "audio" else "video", int(number))

    @property
    def name(self) -> str:
        return f"{self.seq:09d}.{self.run}.{self.kind}.{self.number}"


class DisplayWay:
    """`folder`: the worker's."""

    def __init__(self, folder: Path) -> None:
        self.name: Final[WayName] = "display"
        self.label: Final = "by ffmpeg, from its display and its sound server"
        self._folder = folder

    @property
    def has_begun(self) -> bool:
        return _state_file(self._folder).exists()

    async def find(self, page: Page | None) -> "DisplayRecorder | None":
        del page  # a recorder does without
        return DisplayRecorder(self._folder) if self.has_begun else None

    async def open(self, page: Page, start: Start) -> "DisplayRecorder":
        options, place = start.options, (0, 0)
        async with asyncio.timeout(OPEN_DEADLINE_S):
            if "video" in options.kinds:
                await fit(page, options.width, options.height)
                place = tuple(await page.evaluate(_PLACE))
            state = _State(options, start.buffer_s, start.chunk_ms, place, -1, start.parts, PAUSED, start.clock.ahead_s)
            recorder = DisplayRecorder(self._folder)
            await asyncio.to_thread(recorder.begin, state, start.cause, paused=start.paused)
        return recorder


class DisplayRecorder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._capture = folder / "capture"
        self._level = 1.0
        self._weighed_to = -1  # the number of the latest chunk that the level is of
        self._is_over = False
        self._unproven: int | None = None  # the run that was begun here and has recorded nothing yet

    async def pull(self, confirmed: int, wanted: int, cause: GapCause | None) -> Pulled:
        async with asyncio.timeout(CALL_DEADLINE_S):
            is_clock_set = await asyncio.to_thread(self._look_at_clock)
        if is_clock_set:
            async with asyncio.timeout(CALL_DEADLINE_S + 2 * END_S):
                await self._end(SET)
        async with asyncio.timeout(CALL_DEADLINE_S):
            return await asyncio.to_thread(self._pull, confirmed, wanted, cause)

    async def pause(self) -> None:
        await self._end(PAUSED)

    async def resume(self, cause: GapCause) -> None:
        state = self._read()
        if state.stopped == PAUSED:
            await asyncio.to_thread(self._begin_run, state, cause)

    async def stop(self) -> None:
        self._is_over = True
        await self._end(ASKED)

    async def close(self) -> None:
        with suppress(OSError):  # it is none any more, or its disk fails: whatever is there goes
            await self._end(ASKED)
        await asyncio.to_thread(shutil.rmtree, self._capture, ignore_errors=True)

    def begin(self, state: _State, cause: GapCause | None, *, paused: bool) -> None:
        """Begin anew. Raises: OSError."""
        shutil.rmtree(self._capture, ignore_errors=True)
        (self._capture / "chunks").mkdir(mode=0o700, parents=True)
        if paused:
            self._write(state)
        else:
            self._begin_run(state, cause)

    # Runs of ffmpeg

    def _begin_run(self, state: _State, cause: GapCause | None) -> None:
        number, clock = state.run + 1, Clock.of(state.ahead_s)
        run, part_at, wall_ahead_s = self._run(number), time.time(), clock.wall_ahead_s()
        run.mkdir(mode=0o700, parents=True)
        _keep(run / "run.json", msgspec.json.encode(_Run(state.parts, part_at - wall_ahead_s, cause, wall_ahead_s)))
        _keep(run / "fetched")
        command = shlex.join([shutil.which("ffmpeg") or "ffmpeg", *_arguments(state, run, part_at)])
        # The display's number is known to the worker's processes only.
        command = command.replace("DISPLAY+", '"$DISPLAY"+')
        look_s = max(0.5, state.buffer_s / 20)
        script = _SCRIPT.format(command=command, run=shlex.quote(str(run)), look_s=look_s, buffer_s=state.buffer_s)
        _keep(run / "script", script.encode())
        display.order(self._folder, run / "script")
        parts: dict[Kind, int] = {kind: part + 1 for kind, part in state.parts.items()}
        self._write(msgspec.structs.replace(state, run=number, parts=parts, stopped=""))
        self._unproven = number

    def _look_at_clock(self) -> bool:
        """Whether the wall clock was set since the run began; then the run is to end, and knows when."""
        state = self._read()
        if state.stopped:
            return False
        clock, said = Clock.of(state.ahead_s), self._said(state.run)
        if abs(clock.wall_ahead_s() - said.wall_ahead_s) <= MOST_SET_S:
            return False
        unfinished = self._run(state.run) / "run.new"
        _keep(unfinished, msgspec.json.encode(msgspec.structs.replace(said, ended_at=clock.now())))
        unfinished.rename(self._run(state.run) / "run.json")
        return True

    async def _end(self, why: str) -> None:
        """End ffmpeg, so that all that it recorded can be pulled."""
        state = self._read()
        if state.stopped:
            return
        self._look_at_clock()
        run, is_told = self._run(state.run), False
        if (run / "exit").exists():
            why = FULL if (run / "full").exists() else "recorder"
        self._write(msgspec.structs.replace(state, stopped=why))
        began = time.monotonic()
        deadline = began + 2 * END_S
        while not (run / "exit").exists() and (now := time.monotonic()) < deadline:
            pid = _pid(run)
            is_late = now > began + END_S
            if pid and not _is_ffmpeg(pid, run):  # perhaps it was killed together with the shell that notes its end
                deadline = min(deadline, now + NOTED_S)
                if not is_told and why == ASKED:
                    self._write(msgspec.structs.replace(state, stopped=GONE))
            elif pid and (is_late or not is_told):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if is_late else signal.SIGTERM)
                is_told = True
            await asyncio.sleep(END_POLL_S)

    # Chunks

    def _pull(self, confirmed: int, wanted: int, cause: GapCause | None) -> Pulled:
        state = self._read()
        waiting = self._number(state, confirmed)
        run = self._run(state.run)
        if wanted:
            with suppress(FileNotFoundError):
                os.utime(run / "fetched")
        if not state.stopped and (run / "exit").exists():
            if self._unproven == state.run:  # it would end so again
                _state_file(self._folder).unlink()
                raise OSError(f"ffmpeg ended at once: {_last_line(run / 'complaint')}")
            log.warning("ffmpeg_ended", exit=_number_in(run / "exit"), said=_last_line(run / "complaint"))
            state = msgspec.structs.replace(state, stopped=FULL if (run / "full").exists() else "recorder")
            self._write(state)
        stopped = state.stopped
        if stopped == SET and not self._is_over:
            self._begin_run(state, None)
            stopped = ""
        elif stopped == FULL and cause is not None and not self._is_over and len(waiting) <= _most(state) / 2:
            self._begin_run(state, cause)
        given = [self._chunk(numbered, state) for numbered in waiting[:wanted]]
        return Pulled(given, len(waiting), dict.fromkeys(state.options.kinds, stopped), self._heard(waiting, state))

    def _number(self, state: _State, confirmed: int) -> list[_Numbered]:
        """Give numbers to what is complete, and remove what is confirmed. Returns what waits, in order."""
        numbered = sorted(_Numbered.parse(name) for name in os.listdir(self._capture / "chunks"))
        for old in numbered:
            if old.seq < confirmed:
                (self._capture / "chunks" / old.name).unlink()
        waiting = [each for each in numbered if each.seq >= confirmed]
        seq = max(confirmed, numbered[-1].seq + 1 if numbered else 0)
        found = [each for run in range(state.run + 1) for each in self._complete(run, state)]
        for run, _, path, kind, index in sorted(found):
            new = _Numbered(seq, run, kind, index)
            path.rename(self._capture / "chunks" / new.name)
            waiting.append(new)
            seq += 1
            if run == self._unproven:
                self._unproven = None
        return waiting

    def _complete(self, number: int, state: _State) -> Iterator[tuple[int, float, Path, Kind, int]]:
        """The files of a run that will not change any more: its number, when each was complete, where
        it is, and what.
        """
        run = self._run(number)
        with suppress(FileNotFoundError):
            exit_code = _number_in(run / "exit")  # before the files are listed
            for kind in state.options.kinds:
                at = 0.0
                paths = sorted(run.glob(f"{kind}-*"))
                if exit_code not in ENDED and paths:
                    last = paths.pop()
                    if exit_code is not None:
                        last.unlink()
                for path in paths:
                    at = max(at, path.stat().st_mtime)  # in order, also where the clock was set back
                    yield number, at, path, kind, int(path.name.rpartition("-")[2])

    def _chunk(self, numbered: _Numbered, state: _State) -> Chunk:
        seq, number, kind, index = numbered
        path = self._capture / "chunks" / numbered.name
        run = self._said(number)
        media_s = index * (state.chunk_ms if kind == "audio" else PICTURES_MS) / 1000
        at = max(run.part_at + media_s, path.stat().st_mtime - run.wall_ahead_s)  # the clock may have been set back
        at = at if run.ended_at is None else min(at, run.ended_at)  # or forward
        times = run.part_at, at, media_s
        return Chunk(seq, kind, run.parts[kind], *times, path.read_bytes(), run.cause)

    def _heard(self, waiting: list[_Numbered], state: _State) -> float:
        """0 if all sound since the last pull is digital silence, 1 otherwise. Without new sound: as it was. The first
        chunk of a run says nothing: the file's header is in it.
        """
        new = [each for each in waiting if each.kind == "audio" and each.number > 0 and each.seq > self._weighed_to]
        if new:
            sizes = [(self._capture / "chunks" / each.name).stat().st_size for each in new]
            self._level = float(max(sizes) > SILENT_BYTES_PER_S * state.chunk_ms / 1000)
            self._weighed_to = new[-1].seq
        return self._level

    def _run(self, number: int) -> Path:
        return self._capture / "runs" / str(number)

    def _said(self, number: int) -> _Run:
        return msgspec.json.decode((self._run(number) / "run.json").read_bytes(), type=_Run)

    def _read(self) -> _State:
        return msgspec.json.decode(_state_file(self._folder).read_bytes(), type=_State)

    def _write(self, state: _State) -> None:
        unfinished = self._capture / "state.new"
        _keep(unfinished, msgspec.json.encode(state))
        unfinished.rename(_state_file(self._folder))


def _keep(path: Path, content: bytes = b"") -> None:
    """Write a file that only its owner may read."""
    path.touch(mode=0o600)
    path.write_bytes(content)


def _state_file(folder: Path) -> Path:
    return folder / "capture" / "state.json"


def _arguments(state: _State, run: Path, part_at: float) -> list[str]:
    """ffmpeg's, whose times are those of the wall clock (-copyts), written as seconds since `part_at`."""
    options = state.options
    quick = ["-probesize", "32", "-analyzeduration", "0"]
    of_sound = ["-f", "pulse", "-thread_queue_size", "1024", "-sample_rate", "48000", "-channels", "2"]
    of_sound += ["-fragment_size", "9600", *quick, "-i", display.MONITOR]
    size = f"{options.width}x{options.height}"
    of_pictures = ["-f", "x11grab", "-thread_queue_size", "8", "-framerate", str(options.fps), "-video_size", size]
    of_pictures += ["-draw_mouse", "0", *quick, "-i", f"DISPLAY+{state.place[0]},{state.place[1]}"]
    opus = ["-c:a", "libopus", "-b:a", f"{options.audio_kbps}k"]
    limit = ["-crf", "23", "-maxrate", f"{options.video_kbps}k", "-bufsize", f"{2 * options.video_kbps}k"]
    x264 = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", *limit]
    x264 += ["-threads", "1", "-fps_mode", "passthrough"]
    x264 += ["-force_key_frames", f"expr:if(isnan(prev_forced_t),1,gte(t,prev_forced_t+{KEY_S}))"]

    def files(kind: Kind, form: str, ms: int) -> list[str]:
        # Joined, they are one stream: only the first file has a head.
        cut = ["-f", "segment", "-segment_format", form, "-individual_header_trailer", "0", "-break_non_keyframes", "1"]
        return [*cut, "-segment_time", f"{ms / 1000}", "-output_ts_offset", f"-{part_at:.6f}", f"{run}/{kind}-%06d"]

    hears, sees = "audio" in options.kinds, "video" in options.kinds
    sound = ["-map", "0:a", *opus, *files("audio", "webm", state.chunk_ms)] if hears else []
    pictures = ["-map", f"{int(hears)}:v", *x264, *files("video", "matroska", PICTURES_MS)] if sees else []
    inputs = [*(of_sound if hears else []), *(of_pictures if sees else [])]
    return ["-nostdin", "-hide_banner", "-loglevel", "error", "-copyts", *inputs, *sound, *pictures]


def _most(state: _State) -> float:
    """How many chunks are kept while nobody fetches them."""
    each = {"audio": state.chunk_ms, "video": PICTURES_MS}
    return sum(state.buffer_s * 1000 / each[kind] for kind in state.options.kinds)


def _last_line(path: Path) -> str:
    return path.read_text(errors="replace").strip().rpartition("\n")[2][:200]


def _pid(run: Path) -> int | None:
    return _number_in(run / "pid")


def _number_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return None


def _is_ffmpeg(pid: int, run: Path) -> bool:
    """Whether the process of that id is still that run's ffmpeg."""
    return processes.bears(pid, f"{run}/audio-%06d", f"{run}/video-%06d")
