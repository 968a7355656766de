"""What the one file of a picture is made of: packets as they are, each shown until the next one."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import pytest

from worker.capture.making.picture import make
from worker.capture.making.work import Stream

FPS: Final = 10


def film(path: Path, pictures: int) -> str:
    """An IVF of VP9, as a browser makes it: a key picture every second."""
    file: Any = av.open(str(path), "w", format="ivf")
    stream = file.add_stream("libvpx-vp9", rate=FPS, options={"deadline": "realtime", "cpu-used": "8", "g": "10"})
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for n in range(pictures):
        frame: Any = av.VideoFrame(64, 48, "gray")
        frame.planes[0].update(bytes([n % 200 + 20]) * frame.planes[0].buffer_size)
        frame = frame.reformat(format="yuv420p")
        frame.pts, frame.time_base = n, Fraction(1, FPS)
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))
    file.close()
    return str(path)


def shown(path: Path) -> list[float]:
    """When each picture is shown."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        packets = [packet for packet in file.demux(stream) if packet.pts is not None]
        clock = stream.time_base
        assert clock
        return [float(each.pts * clock) for each in packets if each.pts is not None]


def test_parts_stand_where_they_were_taken_and_the_last_picture_of_one_stands_over_what_is_missing(
    tmp_path: Path,
) -> None:
    parts = [
        Stream(film(tmp_path / "0", 10), 0.4, [], 1.0),
        Stream(film(tmp_path / "1", 20), 5.0, [], 2.0),
    ]
    out = tmp_path / "out.mp4"
    watched, unread = make(parts, "", str(out))
    assert unread == []
    assert watched
    assert (watched.codec, watched.width, watched.height, watched.pictures, watched.damaged) == ("vp9", 64, 48, 30, 0)
    assert (watched.duration_s, watched.recorded_s) == (7.0, 3.0)
    times = shown(out)
    assert times == pytest.approx([0.0, *(0.4 + n / FPS for n in range(1, 10)), *(5.0 + n / FPS for n in range(20))])


def at_ms(film: bytes, times: list[int]) -> bytes:
    """The same pictures at other times, as a recorder writes them."""
    head = film[:16] + struct.pack("<II", 1000, 1) + film[24:32]
    pieces, at = [head], 32
    for ms in times:
        (size,) = struct.unpack_from("<I", film, at)
        pieces.append(struct.pack("<IQ", size, ms) + film[at + 12 : at + 12 + size])
        at += 12 + size
    return b"".join(pieces)


def test_pictures_of_the_same_millisecond_are_all_there_in_order(tmp_path: Path) -> None:
    whole = Path(film(tmp_path / "0", 5)).read_bytes()
    (tmp_path / "1").write_bytes(at_ms(whole, [0, 20, 20, 19, 60]))
    out = tmp_path / "out.mp4"
    watched, unread = make([Stream(str(tmp_path / "1"), 0.0, [], 0.06)], "", str(out))
    assert watched
    assert (watched.pictures, watched.damaged, unread) == (5, 0, [])
    times = shown(out)
    assert times == sorted(set(times))
    assert times == pytest.approx([0.0, 0.02, 0.02, 0.02, 0.06], abs=0.001)


def test_what_is_spoiled_costs_its_own_pictures_only(tmp_path: Path) -> None:
    whole = Path(film(tmp_path / "0", 20)).read_bytes()
    (tmp_path / "1").write_bytes(b"DKIF and nothing that is any good" * 10)
    (tmp_path / "2").write_bytes(whole[: len(whole) * 2 // 3])
    streams = [Stream(str(tmp_path / name), at, [], 2.0) for name, at in (("1", 0.0), ("0", 2.0), ("2", 4.0))]
    watched, unread = make(streams, "", str(tmp_path / "out.mp4"))
    assert unread == [0]
    assert watched
    assert 30 <= watched.pictures < 40


def test_pictures_that_need_another_one_are_left_out_at_the_beginning(tmp_path: Path) -> None:
    whole = Path(film(tmp_path / "0", 20)).read_bytes()
    head, first = whole[:32], 32 + 12 + int.from_bytes(whole[32:36], "little")
    (tmp_path / "1").write_bytes(head + whole[first:])
    watched, _ = make([Stream(str(tmp_path / "1"), 0.0, [], 2.0)], "", str(tmp_path / "out.mp4"))
    assert watched
    assert (watched.pictures, watched.damaged) == (10, 0)


def test_of_nothing_no_file_is_made(tmp_path: Path) -> None:
    assert make([], "", str(tmp_path / "out.mp4")) == (None, [])
