"""Where the recorder has nothing, the file has what the tracks have; and nowhere else."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from tests.worker.capture.test_making_tracks import BEGAN_AT, STEP, line, loud, stored, tone
from worker.capture.making import mending, process
from worker.capture.making.mending import PLAYED_AFTER
from worker.capture.making.sound import RATE, SILENCE, Writer
from worker.capture.making.work import AudioReport, Stream, Work

LATE_S = PLAYED_AFTER / RATE
PACKET_S = 0.02


def recorded(path: Path, media_s: float, *, silent: tuple[tuple[float, float], ...] = (), seconds: float) -> Stream:
    """A part with a tone, by the wall clock, as from the sound of a display. `silent`: in seconds of the recording."""
    writer = Writer(str(path))
    writer.begin_anew()
    for number, data in enumerate(tone(seconds)):
        at = media_s + number * PACKET_S
        writer.put(SILENCE if any(begins - 0.001 <= at < ends - 0.001 for begins, ends in silent) else data)
    writer.close()
    return Stream(str(path), media_s, ends_s=seconds, keeps_time=True)


def of_track(path: Path, begins_s: float, seconds: float, *, silent: tuple[tuple[float, float], ...] = ()) -> Stream:
    """A track that is played where the recording has those seconds."""
    sent = [
        ((BEGAN_AT + begins_s - LATE_S + at * PACKET_S) * 1000, at * STEP, data)
        for at, data in enumerate(tone(seconds))
        if not any(begins <= begins_s + at * PACKET_S < ends for begins, ends in silent)
    ]
    return stored(path, line(0, sent))


def make(folder: Path, sound: list[Stream], packets: list[Stream]) -> tuple[AudioReport, list[tuple[float, float]]]:
    """What is reported, and from when to when the file is loud."""
    out = folder / "audio.ogg"
    made = process.make(Work(sound, [], str(out), "", 512, packets, str(folder), BEGAN_AT))
    assert made.audio
    return made.audio, loud(out)


@pytest.mark.parametrize("has_track", [pytest.param(True, marks=pytest.mark.long), False])
def test_what_came_while_the_recorder_was_away_is_in_its_place(tmp_path: Path, has_track: bool) -> None:
    sound = [recorded(tmp_path / "a", 0.0, seconds=2.0), recorded(tmp_path / "b", 14.0, seconds=2.0)]
    packets = [of_track(tmp_path / "t", 1.0, 12.0)] if has_track else []
    report, heard = make(tmp_path, sound, packets)
    mended_s = 11.0 if has_track else 0.0
    assert report.mended_s == pytest.approx(mended_s, abs=0.6)  # silence after sound has larger packets for a while
    assert report.mended_s + report.filled_s == pytest.approx(12.0, abs=0.03)
    assert report.duration_s == pytest.approx(16.0, abs=0.03)
    first = (0.0, 13.0) if has_track else (0.0, 2.0)
    assert heard == [pytest.approx(first, abs=0.05), pytest.approx((14.0, 16.0), abs=0.05)]


def test_a_hole_in_what_the_page_played_is_filled_where_somebody_speaks_through(tmp_path: Path) -> None:
    holes = ((2.0, 2.06), (4.0, 4.2))
    sound = [recorded(tmp_path / "a", 0.0, silent=holes, seconds=6.0)]
    report, heard = make(tmp_path, sound, [of_track(tmp_path / "t", 0.0, 6.0)])
    assert report.mended_s == pytest.approx(0.26, abs=0.01)
    assert heard == [pytest.approx((0.0, 6.0), abs=0.05)]
    assert make(tmp_path, sound, [])[0].mended_s == 0.0


def test_a_pause_stays_one_however_late_the_page_plays_it(tmp_path: Path) -> None:
    for late_s in (-0.1, 0.0, 0.25):
        pause = (2.0 + late_s, 2.6 + late_s)
        sound = [recorded(tmp_path / "a", 0.0, silent=(pause,), seconds=6.0)]
        report, heard = make(tmp_path, sound, [of_track(tmp_path / "t", 0.0, 6.0, silent=((2.0, 2.6),))])
        assert report.mended_s == 0.0
        assert heard == [pytest.approx((0.0, pause[0]), abs=0.05), pytest.approx((pause[1], 6.0), abs=0.05)]


def test_of_more_tracks_than_are_mixed_the_loudest_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending, "MOST_MIXED", 1)
    mixed: list[list[Path]] = []

    def note(paths: Sequence[Path], since: int, samples: int) -> Iterator[object]:
        del since, samples
        mixed.append(list(paths))
        return iter(())

    monkeypatch.setattr(mending, "_mixed", note)
    heard = [mending.Heard(Path(name), bytes([level] * 20)) for name, level in (("a", 90), ("b", 120), ("c", 0))]
    assert list(mending.Mender(heard).packets(RATE, 2)) == [SILENCE] * 2
    assert mixed == [[Path("b")]]


def test_two_who_speak_at_once_are_both_heard_and_a_track_that_is_no_sound_costs_nothing(tmp_path: Path) -> None:
    sound = [recorded(tmp_path / "a", 0.0, seconds=1.0), recorded(tmp_path / "b", 4.0, seconds=1.0)]
    both = [of_track(tmp_path / "t", 1.0, 2.0), of_track(tmp_path / "u", 2.0, 2.0)]
    report, heard = make(tmp_path, sound, both)
    assert report.mended_s == pytest.approx(3.0, abs=0.06)
    assert heard == [pytest.approx((0.0, 5.0), abs=0.05)]
    (tmp_path / "broken").write_bytes(msgspec.json.encode("no line") + b"\n")
    report, _ = make(tmp_path, sound, [Stream(str(tmp_path / "broken"), 0.0)])
    assert (report.mended_s, report.filled_s) == (0.0, pytest.approx(3.0, abs=0.03))
