"""Makes a file of each sound track whose packets were taken: an Ogg of Opus. Packets are copied, not encoded again.
Each is placed by its RTP time, which is tied to the wall clock by when packets came. Silence is filled in where none
came.

All files begin when the recording does, so they are in step with each other. Then each is decoded, and by how loud it
is it is found out whose it is (worker/transcript/whose_track.py).
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import av
import msgspec

from common.wire.minutes import Turn
from common.wire.packets import Line, Packets
from worker.capture.making.levels import Levels
from worker.capture.making.sound import RATE, SILENCE_SAMPLES, Writer, samples_of
from worker.capture.making.work import Stream, TrackReport
from worker.transcript.whose_track import Whose, whose

MOST_FILES: Final = 256
_TURN: Final = 1 << 32
"""RTP times begin anew there: RFC 3550, 5.1."""
_FOLLOW: Final = 1 / 2000
"""How much of a packet's lateness the clock takes over: the clocks of senders are not quite ours. At 50 packets a
second it takes 40 s.
"""
_JUMP_MS: Final = 1000.0
"""A packet that is later than this by its RTP time shows that these times went on without packets, or began anew."""


class Heard(NamedTuple):
    """A track's file, which begins when the recording does, and how loud it is: levels of whose_track.py."""

    path: Path
    levels: bytes


class Made(NamedTuple):
    """`unread`: the indexes of streams that could not be read to their end, or have more tracks than there may be
    files.
    """

    reports: list[TrackReport]
    unread: list[int]
    heard: list[Heard]


class TrackClock:
    """Says of each packet when it was sent, in ms of the wall clock, without the jitter of the way here."""

    def __init__(self) -> None:
        self._zero_ms: float | None = None  # when RTP time 0 was, if these times began at the first packet
        self._first_rtp = 0
        self._newest = 0

    def ms_of(self, came_ms: float, rtp: int) -> float | None:
        """None: it is no later than one before it. It came again, or too late."""
        since = (rtp - self._first_rtp - self._newest + _TURN // 2) % _TURN - _TURN // 2 + self._newest
        late_ms = came_ms - self._zero_ms - _ms(since) if self._zero_ms is not None else float("inf")
        if abs(late_ms) > _JUMP_MS:
            self._first_rtp, self._newest, self._zero_ms = rtp, 0, came_ms
            return came_ms
        if since <= self._newest:
            return None
        self._newest = since
        begins_ms = came_ms - late_ms + (late_ms if late_ms < 0 else late_ms * _FOLLOW)
        self._zero_ms = begins_ms - _ms(since)
        return begins_ms


def _ms(rtp: int) -> float:
    return rtp * 1000 / RATE


class _File:
    def __init__(self, path: Path, of: Packets, began_at: float) -> None:
        self.path, self.id, self._began_at = path, of.id, began_at
        self.first_at = of.packets[0][0] / 1000
        self.packets = 0
        self.levels = b""  # as whose_track has them, once it is closed
        self.duration_s = 0.0
        self._clock = TrackClock()
        self._writer = Writer(str(path))
        self._writer.begin_anew()

    def put(self, packets: Sequence[tuple[float, int, str]]) -> None:
        """Raises: binascii.Error."""
        first = packets[0][1]
        for came_ms, rtp, text in sorted(packets, key=lambda each: (each[1] - first + _TURN // 2) % _TURN):
            data = base64.b64decode(text, validate=True)
            begins_ms = self._clock.ms_of(came_ms, rtp) if samples_of(data) else None
            if begins_ms is None:
                continue
            place = round((begins_ms / 1000 - self._began_at) * RATE)
            if place - self._writer.position >= SILENCE_SAMPLES:
                self._writer.fill(place)
            self._writer.put(data)
            self.packets += 1

    def close(self) -> None:
        """Complete the file, and decode it. Raises: av.error.FFmpegError."""
        self._writer.close()
        levels, samples = Levels(), 0
        with av.open(str(self.path)) as file:
            for frame in file.decode(audio=0) if self.packets else ():
                samples += frame.samples
                levels.put(frame)
        self.levels, self.duration_s = levels.levels, round(samples / RATE, 3)

    def report(self, whose: Whose) -> TrackReport:
        return TrackReport(
            *(self.path.name, self.id, self.first_at, self.duration_s, self.packets),
            *(whose.voice_s, whose.speaker_id, whose.speaker, whose.share, [*whose.turns]),
        )


def make(streams: Sequence[Stream], began_at: float, folder: Path, turns: Sequence[Turn] = ()) -> Made:
    """Write a file of each track into `folder`. `turns`: whom the page marked as speaking when.

    Raises: av.error.FFmpegError, OSError.
    """
    files: dict[tuple[int, int], _File] = {}
    unreadable: list[int] = []
    for place, stream in enumerate(streams):
        try:
            for of in _packets(Path(stream.path)):
                key = place, of.track
                if key not in files:
                    if len(files) >= MOST_FILES:
                        raise ValueError("too many tracks")
                    files[key] = _File(folder / f"track-{len(files):03d}.ogg", of, began_at)
                files[key].put(of.packets)
        except (msgspec.DecodeError, binascii.Error, ValueError):
            unreadable.append(place)
    for file in files.values():
        file.close()
    kept = [file for file in files.values() if file.packets]
    owners = whose([file.levels for file in kept], began_at, turns)
    reports = [file.report(owner) for file, owner in zip(kept, owners, strict=True)]
    return Made(reports, unreadable, [Heard(file.path, file.levels) for file in kept])


def _packets(path: Path) -> Iterator[Packets]:
    """Of each track, each second. Raises: msgspec.DecodeError."""
    with path.open("rb") as file:
        for line in file:
            yield from (of for of in msgspec.json.decode(line, type=Line).tracks if of.packets)
