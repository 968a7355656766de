"""What the one file of a picture is made of: packets as they are, each shown until the next one."""

import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import pytest

from worker.capture.making.picture import make
from worker.capture.making.work import Stream

FPS: Final = 10


VP9: Final = {"deadline": "realtime", "cpu-used": "8", "g": "10"}


def frames(pictures: int, first: int = 20) -> Iterator[Any]:
    """Each a little brighter than the one before it, from `first` on."""
    for n in range(pictures):
        frame: Any = av.VideoFrame(64, 48, "gray")
        frame.planes[0].update(bytes([n % 200 + first]) * frame.planes[0].buffer_size)
        frame = frame.reformat(format="yuv420p")
        frame.pts, frame.time_base = n, Fraction(1, FPS)
        yield frame


def film(
    path: Path, pictures: int, first: int = 20, *, codec: str = "libvpx-vp9", form: str = "ivf", options: Any = VP9
) -> str:
    """An IVF of VP9, as a browser makes it: a key picture every second."""
    file: Any = av.open(str(path), "w", format=form)
    stream = file.add_stream(codec, rate=FPS, options=options)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for frame in frames(pictures, first):
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))
    file.close()
    return str(path)


def display_film(path: Path, pictures: int, first: int) -> str:
    """A Matroska file of H.264, as ffmpeg makes it of a display: only its head says how to decode it."""
    options = {"preset": "ultrafast", "tune": "zerolatency", "g": "10", "crf": "10"}
    return film(path, pictures, first, codec="libx264", form="matroska", options=options)


def tab_film(path: Path, pictures: int, first: int) -> str:
    """An IVF of H.264, as a browser makes it: each key picture says how to decode it, otherwise than a display's."""
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "yuv420p", Fraction(1, FPS)
    encoder.options = {"preset": "medium", "tune": "zerolatency", "g": "10", "crf": "10", "sc_threshold": "0"}
    packets = [packet for frame in [*frames(pictures, first), None] for packet in encoder.encode(frame)]
    head = b"DKIF" + struct.pack("<HH4sHHIIII", 0, 32, b"H264", 64, 48, 1000, 1, 0, 0)
    pieces = [struct.pack("<IQ", packet.size, packet.pts * 1000 // FPS) + bytes(packet) for packet in packets]
    path.write_bytes(head + b"".join(pieces))
    return str(path)


def brightness(path: Path, since_s: float = 0.0) -> list[int]:
    """Of each picture from the key picture at that time on, as a player shows it that looks for it."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        file.seek(round(since_s * av.time_base))
        shown: list[Any] = list(file.decode(stream))
        return [bytes(frame.reformat(format="gray").planes[0])[100] for frame in shown]


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


@pytest.mark.parametrize("of_tab", [tab_film, film])
def test_a_display_and_then_a_tab_are_one_film_whatever_codec_the_browser_has(
    tmp_path: Path, of_tab: Callable[[Path, int, int], str]
) -> None:
    parts = [
        Stream(display_film(tmp_path / "0", 20, 20), 0.0, [], 2.0),
        Stream(of_tab(tmp_path / "1", 20, 100), 3.0, [], 2.0),
        Stream(of_tab(tmp_path / "2", 10, 150), 6.0, [], 1.0),
    ]
    out = tmp_path / "out.mp4"
    watched, unread = make(parts, "", str(out))
    assert unread == []
    assert watched
    assert (watched.codec, watched.width, watched.height, watched.pictures, watched.damaged) == ("h264", 64, 48, 50, 0)
    assert shown(out) == pytest.approx([begins + n / FPS for begins in (0, 1, 3, 4, 6) for n in range(10)])
    bright = [*range(20, 40), *range(100, 120), *range(150, 160)]
    for since_s, left_out in ((0.0, 0), (1.0, 10), (3.0, 20), (4.0, 30), (6.0, 40)):
        assert brightness(out, since_s) == pytest.approx(bright[left_out:], abs=3)


def test_a_tab_with_h264_alone_is_a_film(tmp_path: Path) -> None:
    parts = [Stream(tab_film(tmp_path / str(n), 20, 20 + 60 * n), 3.0 * n, [], 2.0) for n in range(2)]
    out = tmp_path / "out.mp4"
    watched, unread = make(parts, "", str(out))
    assert unread == []
    assert watched
    assert (watched.codec, watched.pictures, watched.damaged) == ("h264", 40, 0)
    assert brightness(out) == pytest.approx([*range(20, 40), *range(80, 100)], abs=3)


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
