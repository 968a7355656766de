"""Cuts the sound of a recording into files that a provider accepts: limited in size and length, each cut at the
quietest moment before the limit. Packets are copied, not encoded again. To be called in a thread.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple

import av
import av.error

from common.speech.provider import SpeechError

MOST_S: Final = 1200.0
"""The longest piece in seconds: twenty minutes, so that an answer, and what has to be kept of it, stays small."""
LOOKED_BACK_S: Final = 20.0
QUIET_PACKETS: Final = 25
"""The window in which loudness is compared, in seconds."""
_HEAD_SHARE: Final = 0.97
"""The share of the size limit for packets; the rest is for the frames of the file."""
_CLOCK: Final = 48_000


class Piece(NamedTuple):
    """A piece, and where in the recording it begins and ends."""

    path: Path
    begins_s: float
    ends_s: float


class _Packet(NamedTuple):
    size: int
    begins: int
    samples: int


def cut(sound: Path, folder: Path, most_bytes: int, most_s: float = MOST_S) -> list[Piece]:
    """The pieces, in order; the file itself if it is small enough. New files are made in `folder`. Raises: SpeechError
    for a file that is not sound, OSError.
    """
    try:
        packets = _packets(sound)
        places = cuts(packets, most_bytes, round(most_s * _CLOCK))
        return _write(sound, folder, packets, places) if places else [Piece(sound, 0.0, _ends_s(packets[-1]))]
    except (av.error.FFmpegError, IndexError, ValueError) as error:
        raise SpeechError("sound_unreadable", lasts=True) from error


def _packets(sound: Path) -> list[_Packet]:
    with av.open(str(sound)) as file:
        return [
            _Packet(packet.size, round(packet.pts * packet.time_base * _CLOCK), round(_samples(packet)))
            for packet in file.demux(audio=0)
            if packet.pts is not None and packet.time_base and packet.size
        ]


def _ends_s(packet: _Packet) -> float:
    return (packet.begins + packet.samples) / _CLOCK


def _samples(packet: Any) -> Fraction:
    return Fraction(packet.duration or 0) * packet.time_base * _CLOCK


def cuts(packets: Sequence[_Packet], most_bytes: int, most_samples: int) -> list[int]:
    """The packets before which the sound is cut; none if it need not be cut. Opus needs fewer bytes for quieter
    sound.
    """
    limit = round(most_bytes * _HEAD_SHARE)
    found: list[int] = []
    first = size = 0
    place = 0
    while place < len(packets):
        size += packets[place].size
        length = packets[place].begins + packets[place].samples - packets[first].begins
        if (size > limit or length > most_samples) and place > first:
            first = _quietest(packets, first, place)
            found.append(first)
            place, size = first, 0
        else:
            place += 1
    return found


def _quietest(packets: Sequence[_Packet], first: int, end: int) -> int:
    """The middle of the quietest half second before `end`, not far before, and after `first`."""
    begins = max(first + (end - first) // 2, end - round(LOOKED_BACK_S * 50))
    window = sum(packet.size for packet in packets[begins : begins + QUIET_PACKETS])
    best, least = end, window + 1
    for place in range(begins, end - QUIET_PACKETS):
        if window < least:
            best, least = place + QUIET_PACKETS // 2, window
        window += packets[place + QUIET_PACKETS].size - packets[place].size
    return max(best, first + 1)


def _write(sound: Path, folder: Path, packets: Sequence[_Packet], places: Sequence[int]) -> list[Piece]:
    starts, ends = [0, *places], [*places, len(packets)]
    pieces = [
        Piece(folder / f"piece-{number}.ogg", packets[first].begins / _CLOCK, _ends_s(packets[end - 1]))
        for number, (first, end) in enumerate(zip(starts, ends, strict=True))
    ]
    number, place = -1, 0
    out: Any = None
    stream: Any = None
    opened: Any = av.open(str(sound))
    with opened as file:
        template = file.streams.audio[0]
        for packet in file.demux(audio=0):
            if packet.pts is None or not packet.size:
                continue
            if out is None or place == ends[number]:
                if out is not None:
                    out.close()
                number += 1
                out = av.open(str(pieces[number].path), "w", format="ogg")
                stream = out.add_stream_from_template(template)
            known = packets[place]
            packet.stream = stream
            packet.time_base = Fraction(1, _CLOCK)
            packet.pts = packet.dts = known.begins - packets[starts[number]].begins
            packet.duration = known.samples
            out.mux_one(packet)
            place += 1
    if out is not None:
        out.close()
    return pieces
