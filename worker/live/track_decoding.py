"""Decodes the packets of a meeting's sound tracks, each by itself, and works out whose each track is. It has a thread
of its own, as decoding.py has.
"""

import base64
import math
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import av
import av.error

from common.wire.minutes import Turn
from common.wire.packets import Line, Packets
from worker.live.decoding import Undecoded
from worker.live.frames import FRAME_S, RATE, SAMPLE_BYTES, Speaker
from worker.transcript.whose_track import SILENCE, STEP_S, Whose, level_of, whose

MOST_TRACKS: Final = 16
"""The packets of further tracks are dropped until one of these had none for GONE_S."""
GONE_S: Final = 60.0
MOST_WAITING: Final = 256
"""Lines that wait for decoding: a minute of sound. Further ones are dropped."""
REMEMBERED_S: Final = 300.0
"""Of so much sound at least is found out whose each track is."""
NAMED_EVERY_S: Final = 2.0
NAMED_SHARE: Final = 1 / 60
"""Of what is remembered, if that is more seldom: to compare more takes longer."""
_TURN: Final = 1 << 32
_LATE: Final = RATE
"""An RTP time that is before another by less than a second is one that came again, or too late."""
_LINE_MS: Final = 1000.0
"""At most so much earlier the packets of other tracks of a line came."""
_EVERY: Final = 8
"""Of so many samples one is looked at to see how loud they are."""
_PACKET_S: Final = 0.02
"""Of most senders."""
_FRAME_BYTES: Final = round(FRAME_S * RATE) * SAMPLE_BYTES


class TrackFrame(NamedTuple):
    """A tenth of a second of one track, or the last of it. `speaker`: whose track it is; its id while that is not
    known. `shared`: the names of those who take turns on it.
    """

    speaker: Speaker
    shared: frozenset[str]
    pcm: bytes


class _Track:
    def __init__(self, track_id: str) -> None:
        self.speaker = Speaker(track_id)
        self.shared: frozenset[str] = frozenset()
        self.came_ms = 0.0
        self.energy: list[float] = []  # of each step
        self._id = track_id
        self._newest: int | None = None
        self._pcm = b""
        self._codec = _opus()
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)

    def decode(self, came_ms: float, rtp: int, text: str, step: int) -> list[bytes]:
        """What is complete after this packet, of a tenth of a second each. `step`: when it came. An empty one is left
        out: the codec would take it for the end, and decode nothing after it.

        Raises: av.error.FFmpegError, ValueError: it is no base64. Then the next packet can be decoded.
        """
        data = base64.b64decode(text, validate=True)
        if not data:
            return []
        since = _LATE if self._newest is None else (rtp - self._newest + _TURN // 2) % _TURN - _TURN // 2
        if -_LATE < since <= 0:
            return []
        self._newest, self.came_ms = rtp, came_ms
        try:
            pcm = b"".join(
                bytes(part.planes[0])[: part.samples * SAMPLE_BYTES]
                for frame in self._codec.decode(av.Packet(data))
                for part in self._resampler.resample(frame)
            )
        except av.error.FFmpegError:
            self._codec = _opus()  # whatever state the error left the other one in
            raise
        self.energy.extend([0.0] * (step + 1 - len(self.energy)))
        self.energy[step] += sum(sample * sample for sample in memoryview(pcm).cast("h")[::_EVERY])
        self._pcm += pcm
        whole = len(self._pcm) // _FRAME_BYTES * _FRAME_BYTES
        done, self._pcm = self._pcm[:whole], self._pcm[whole:]
        return [done[at : at + _FRAME_BYTES] for at in range(0, whole, _FRAME_BYTES)]

    def name(self, found: Whose) -> None:
        """What was known is kept while nothing else is."""
        if found.speaker:
            self.speaker, self.shared = Speaker(found.speaker_id, found.speaker), frozenset()
        elif found.turns:
            self.speaker, self.shared = Speaker(self._id), frozenset(turn.speaker for turn in found.turns)

    @property
    def levels(self) -> bytes:
        looked_at = STEP_S * RATE / _EVERY * 32768**2
        return bytes(level_of(10 * math.log10(sum_ / looked_at)) if sum_ else SILENCE for sum_ in self.energy)


def _opus() -> Any:
    codec: Any = av.CodecContext.create("opus", "r")
    codec.sample_rate, codec.layout = RATE, "stereo"
    return codec


def _frames(of: Packets) -> int:
    return math.ceil(len(of.packets) * _PACKET_S / FRAME_S)


class TrackDecoder:
    """Call `begin` once, then `put` with what came, then `end`. None of them waits.

    `take` is called on the decoder's thread with each frame, and with None at the end.
    """

    def __init__(self, take: Callable[[TrackFrame | None], None]) -> None:
        self._take = take
        self._lines: queue.Queue[tuple[Line, Sequence[Turn]] | None] = queue.Queue()
        self._tracks: dict[tuple[int, str], _Track] = {}
        self._began_ms = 0.0
        self._named_ms = 0.0
        self._undecoded = Undecoded()
        self.dropped = 0  # frames

    def begin(self) -> None:
        threading.Thread(target=self._run, name="decode live tracks", daemon=True).start()

    def put(self, line: Line, turns: Sequence[Turn]) -> None:
        """`turns`: whom the page marked as speaking lately."""
        if self._lines.qsize() > MOST_WAITING:
            self.dropped += sum(map(_frames, line.tracks))
        else:
            self._lines.put((line, turns))

    def end(self) -> None:
        self._lines.put(None)

    def _run(self) -> None:
        while given := self._lines.get():
            line, turns = given
            for of in line.tracks:
                self._decode(of)
            if line.at - self._named_ms >= max(NAMED_EVERY_S * 1000, (line.at - self._began_ms) * NAMED_SHARE):
                self._named_ms = line.at
                self._name(turns)
        self._take(None)

    def _decode(self, of: Packets) -> None:
        track = self._track(of)
        if track is None:
            self.dropped += _frames(of)
            return
        for came_ms, rtp, text in sorted(of.packets, key=lambda packet: (packet[1] - of.packets[0][1] + _LATE) % _TURN):
            try:
                done = track.decode(came_ms, rtp, text, self._step(came_ms))
            except (av.error.FFmpegError, ValueError) as error:
                self._undecoded.note(type(error).__name__)
                continue
            for pcm in done:
                self._take(TrackFrame(track.speaker, track.shared, pcm))

    def _step(self, came_ms: float) -> int:
        """Where in what is remembered that is. A wall clock that was set has it begin anew."""
        step = int((came_ms - self._began_ms) / 1000 / STEP_S)
        if 0 <= step < 3 * REMEMBERED_S / STEP_S:
            return step
        self._began_ms = came_ms - _LINE_MS
        for track in self._tracks.values():
            track.energy.clear()
        return round(_LINE_MS / 1000 / STEP_S)

    def _track(self, of: Packets) -> _Track | None:
        """None: there are too many."""
        key = of.track, of.id
        if of.packets and key not in self._tracks:
            now_ms = of.packets[-1][0]
            gone = [each for each, track in self._tracks.items() if now_ms - track.came_ms > GONE_S * 1000]
            if len(self._tracks) >= MOST_TRACKS and gone:
                del self._tracks[gone[0]]
            if len(self._tracks) < MOST_TRACKS:
                self._tracks[key] = _Track(of.id)
        return self._tracks.get(key)

    def _name(self, turns: Sequence[Turn]) -> None:
        self._forget()
        tracks = list(self._tracks.values())
        for track, found in zip(
            tracks, whose([track.levels for track in tracks], self._began_ms / 1000, turns), strict=True
        ):
            track.name(found)

    def _forget(self) -> None:
        """Keep no more than twice REMEMBERED_S."""
        steps = round(REMEMBERED_S / STEP_S)
        if max((len(track.energy) for track in self._tracks.values()), default=0) > 2 * steps:
            self._began_ms += REMEMBERED_S * 1000
            for track in self._tracks.values():
                del track.energy[:steps]
