"""Thumbnails and screenshots of a video file, taken while it is decoded."""

from pathlib import Path

import av
import pytest

from tests.worker.capture.making.test_picture import FPS, film
from worker.capture.making.picture import make
from worker.capture.making.stills import (
    MOST_SCREENSHOTS,
    MOST_THUMBNAILS,
    SCREENSHOT_BYTES,
    STRIP_BYTES,
    Screenshots,
    Stills,
    Strip,
)
from worker.capture.making.work import Stream


def brightness(picture: Path) -> list[int]:
    """Of the middle of each square of a strip of squares 160 wide."""
    with av.open(str(picture)) as file:
        [frame] = file.decode(video=0)
        plane = frame.reformat(format="gray").planes[0]
        row = bytes(plane)[plane.line_size * (frame.height // 2) :][: frame.width]
        return list(row[80::160])


def strip_of(parts: list[Stream], out: Path) -> Strip:
    strips: list[Strip] = []

    def seen_by(duration_s: float) -> list[Stills]:
        strips.append(Strip(duration_s))
        return [strips[0].stills]

    make(parts, "", str(out), seen_by)
    [strip] = strips
    return strip


def test_each_thumbnail_shows_what_a_player_shows_then_also_over_a_gap(tmp_path: Path) -> None:
    """Picture n of a film has the brightness n + 20, so that the strip says which ones were taken."""
    parts = [Stream(film(tmp_path / "0", 150), 0.0, [], 15.0), Stream(film(tmp_path / "1", 60), 24.0, [], 6.0)]
    made = strip_of(parts, tmp_path / "out.mp4").save(tmp_path / "strip.jpg")
    assert made
    assert (made.count, made.width, made.height, made.every_s) == (10, 160, 120, 3.0)
    assert (tmp_path / "strip.jpg").stat().st_size <= STRIP_BYTES
    shown = [1.5, 4.5, 7.5, 10.5, 13.5, 14.9, 14.9, 14.9, 1.5, 4.5]
    assert brightness(tmp_path / "strip.jpg") == pytest.approx([at * FPS + 20 for at in shown], abs=3)


def test_there_are_so_many_at_most_and_one_of_the_shortest(tmp_path: Path) -> None:
    long = strip_of([Stream(film(tmp_path / "0", 10), 0.0, [], 70.0)], tmp_path / "long.mp4")
    made = long.save(tmp_path / "long.jpg")
    assert made
    assert (made.count, made.every_s) == (MOST_THUMBNAILS, 3.5)
    short = strip_of([Stream(film(tmp_path / "1", 1), 0.0, [], 0.1)], tmp_path / "short.mp4")
    made = short.save(tmp_path / "short.jpg")
    assert made
    assert len(brightness(tmp_path / "short.jpg")) == made.count == 1


def test_there_is_a_screenshot_a_minute_and_no_more_than_thirty(tmp_path: Path) -> None:
    shots: list[Screenshots] = []

    def seen_by(duration_s: float) -> list[Stills]:
        shots.append(Screenshots(duration_s, tmp_path))
        return [shots[-1].stills]

    for length_s in (30.0, 180.0, 3600.0):
        make([Stream(film(tmp_path / "0", 20), 0.0, [], length_s)], "", str(tmp_path / "out.mp4"), seen_by)
    short, some, long = [[shot.at_s for shot in each.taken] for each in shots]
    assert (short, some) == ([15.0], [30.0, 90.0, 150.0])
    assert (len(long), long[0], long[-1]) == (MOST_SCREENSHOTS, 60.0, 3540.0)
    assert {(shot.width, shot.height) for shot in shots[-1].taken} == {(640, 480)}
    sizes = [(tmp_path / shot.name).stat().st_size for shot in shots[-1].taken]
    assert 0 < min(sizes) <= max(sizes) <= SCREENSHOT_BYTES


def test_what_cannot_be_taken_costs_the_video_nothing(tmp_path: Path) -> None:
    taken: list[float] = []

    def fail(_frame: object, at_s: float) -> None:
        taken.append(at_s)
        raise OSError(28, "No space left on device")

    watched, _ = make(
        [Stream(film(tmp_path / "0", 20), 0.0, [], 2.0)],
        "",
        str(tmp_path / "out.mp4"),
        lambda _: [Stills([0.5, 1.0], fail)],
    )
    assert watched
    assert (watched.pictures, watched.damaged, taken) == (20, 0, [0.5])
    assert Strip(10.0).save(tmp_path / "strip.jpg") is None
