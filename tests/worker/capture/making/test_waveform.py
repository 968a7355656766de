"""What of a sound file is seen at a glance: where it is loud, on which side."""

import math
from array import array
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import msgspec
import pytest

from common.wire.manifest import Peaks
from worker.capture.making.sound import listen
from worker.capture.making.waveform import MOST_COLUMNS, Waveform

RATE = 48_000


@cache
def piece(at: int, *levels: float) -> bytes:
    """20 ms, of tones that go up and down 44 and 100 times in 4,800 samples."""
    samples = array("h")
    for n in range(at, at + 960):
        samples.extend(
            round(32_767 * level * math.sin(math.tau * hz * n / RATE))
            for level, hz in zip(levels, (440, 1000), strict=True)
        )
    return samples.tobytes()


def ogg(path: Path, *stretches: tuple[float, float, float]) -> str:
    """An Ogg of Opus. `stretches`: how long, and how loud left (440 Hz) and right (1,000 Hz) are."""
    file: Any = av.open(str(path), "w", format="ogg")
    stream = file.add_stream("libopus", rate=RATE, layout="stereo")
    at = 0
    for seconds, *sides in stretches:
        for _ in range(round(seconds * 50)):
            frame: Any = av.AudioFrame(format="s16", layout="stereo", samples=960)
            frame.rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
            frame.planes[0].update(piece(at % 4800, *sides))
            file.mux(stream.encode(frame))
            at += 960
    file.mux(stream.encode(None))
    file.close()
    return str(path)


def peaks_of(sound: str, folder: Path) -> Peaks:
    waveform = Waveform()
    listen(sound, waveform.put)
    made = waveform.save(folder / "waveform.json")
    assert made
    peaks = msgspec.json.decode((folder / made.name).read_bytes(), type=Peaks)
    assert (made.columns, made.column_s) == (len(peaks.left), peaks.column_s)
    assert len(peaks.left) == len(peaks.right)
    return peaks


def test_each_side_is_as_loud_as_it_was_when_it_was(tmp_path: Path) -> None:
    sound = ogg(tmp_path / "sound.ogg", (2.0, 0.5, 0.0), (1.0, 0.0, 0.0), (2.05, 0.1, 0.8))
    peaks = peaks_of(sound, tmp_path)
    assert (peaks.column_s, len(peaks.left)) == (0.1, 51)
    for at, left, right in ((1.0, 0.5, 0.0), (2.5, 0.0, 0.0), (4.0, 0.1, 0.8)):
        seen = peaks.left[round(at / 0.1)], peaks.right[round(at / 0.1)]
        assert seen == pytest.approx((left, right), abs=0.04)


def frame_of(samples: bytes, at: int) -> Any:
    """Decoded sound."""
    frame: Any = av.AudioFrame(format="s16", layout="stereo", samples=len(samples) // 4)
    frame.rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
    frame.planes[0].update(samples)
    return frame


def seconds(tmp_path: Path, count: int, loud: int = -1) -> Peaks:
    """So many seconds of silence; in one of them 20 ms at the end are loud on the left."""
    waveform, silence = Waveform(), bytes(RATE * 4)
    for n in range(count):
        waveform.put(frame_of(silence[: -960 * 4] + piece(0, 0.6, 0.0) if n == loud else silence, n * RATE))
    waveform.put(None)
    made = waveform.save(tmp_path / "waveform.json")
    assert made
    return msgspec.json.decode((tmp_path / made.name).read_bytes(), type=Peaks)


def test_a_long_one_has_no_more_columns_and_no_peak_is_lost_between_them(tmp_path: Path) -> None:
    peaks = seconds(tmp_path, MOST_COLUMNS // 10 - 1)
    assert (peaks.column_s, len(peaks.left)) == (0.1, MOST_COLUMNS - 10)
    peaks = seconds(tmp_path, 163, loud=120)
    assert (peaks.column_s, len(peaks.left), len(peaks.right)) == (0.4, 408, 408)
    assert [at for at, peak in enumerate(peaks.left) if peak] == [302]
    assert peaks.left[302] == pytest.approx(0.6, abs=0.01)
    assert (tmp_path / "waveform.json").stat().st_size < 20_000


def test_of_what_cannot_be_measured_there_is_none(tmp_path: Path) -> None:
    waveform = Waveform()
    waveform.put(None)
    assert waveform.save(tmp_path / "waveform.json") is None
    for number in range(2):
        waveform.put(frame_of(bytes(960 * 4), number * 960))
    other: Any = av.AudioFrame(format="fltp", layout="5.1", samples=960)
    other.rate, other.pts, other.time_base = RATE, 1920, Fraction(1, RATE)
    waveform.put(other)  # what it measures changes on the way
    waveform.put(None)
    assert waveform.save(tmp_path / "waveform.json") is None
    assert list(tmp_path.iterdir()) == []
