"""What a finished file is like is found in it: sound that is late, silent for a while, or drifts."""

import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import msgspec
import pytest

from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, VIDEO, Audio, Gap, Manifest
from lab.recorded import found
from lab.recorded.call import NOTED, SAID, Noted, Window
from lab.recorded.seeing import HUSH_S, Box
from lab.speech import voice

BEGAN_AT: Final = 1000.0
LENGTH_S: Final = 14
OFFSET_S: Final = 0.25
SILENT: Final = (10.5, 10.9)
SAID_AT: Final = 6.0
SAID_S: Final = 1.0


def make(folder: Path, *, spoken: bool = False) -> None:
    """A file whose flashes are at each full second, and its beeps OFFSET_S later; once it is silent, unless a sentence
    is `spoken`.
    """
    hushed = f"between(t-{OFFSET_S},{SAID_AT - HUSH_S},{SAID_AT + SAID_S + HUSH_S})"
    silent = hushed if spoken else f"between(t,{SILENT[0]},{SILENT[1]})"
    volume = f"if({silent},0,if(lt(mod(t-{OFFSET_S},1),0.2),0.5,0.01))"
    speech = f"+between(t-{OFFSET_S},{SAID_AT},{SAID_AT + SAID_S})*0.3*sin(2*PI*300*t)" if spoken else ""
    sides = "|".join(f"({volume})*sin(2*PI*{hz}*t){speech}" for hz in found.TONES)
    sound = f"aevalsrc='{sides}':s=48000:d={LENGTH_S}"
    picture = f"color=black:s=320x180:r=15:d={LENGTH_S},drawbox=x=160:w=160:c=white:t=fill:enable='lt(mod(t,1),0.2)'"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", sound, "-f", "lavfi", "-i", picture, "-c:a", "libopus"]
    command += ["-b:a", "96k", "-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", str(folder / VIDEO)]
    subprocess.run(command, check=True)
    seconds = [BEGAN_AT + at for at in range(LENGTH_S)]
    windows = [Window(seconds[first:last], seconds[first:last]) for first, last in ((1, 5), (5, 13))]
    said = [BEGAN_AT + SAID_AT] if spoken else []
    noted = Noted("tab", Box(0, 0, 320, 180), seconds, windows, [1.0, 3.0], 2, said)
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"sine=300:r=22050:d={SAID_S}", str(folder / SAID)]
    subprocess.run(command, check=True)
    (folder / NOTED).write_bytes(msgspec.json.encode(noted))
    made = Manifest(1, "b1", 1, "room", BEGAN_AT, BEGAN_AT + LENGTH_S, finished=True)
    (folder / FINAL).write_bytes(manifest.encode(made))


def _keep_only_the_sound(folder: Path) -> None:
    command = ["ffmpeg", "-v", "error", "-i", str(folder / VIDEO), "-vn", "-c", "copy", str(folder / AUDIO)]
    subprocess.run(command, check=True)
    noted = msgspec.json.decode((folder / NOTED).read_bytes(), type=Noted)
    (folder / NOTED).write_bytes(msgspec.json.encode(msgspec.structs.replace(noted, way="sound", box=None, windows=[])))


@pytest.mark.long
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_pitch_level_separation_silence_and_offset_are_those_of_the_file(tmp_path: Path) -> None:
    make(tmp_path)
    said = dict(line.split(maxsplit=1) for line in found.lines(tmp_path)[1:])
    assert said["pitch"].startswith("440.0")
    assert "1000.0" in said["pitch"]
    assert "and -43." in said["level"]
    assert float(said["separation"].split()[2]) > 40
    lost_s = float(said["lost"].split()[1])
    assert lost_s == pytest.approx(SILENT[1] - SILENT[0], abs=0.05)
    assert "0 of 13 beeps are missing" in said["lost"] or "0 of 14 beeps are missing" in said["lost"]
    offset_ms = float(said["at"].split("ms in the file")[0].split()[-1])
    assert offset_ms == pytest.approx(OFFSET_S * 1000, abs=10)
    assert "+0 ms in the page" in said["at"]
    _keep_only_the_sound(tmp_path)
    of_sound = dict(line.split(maxsplit=1) for line in found.lines(tmp_path)[1:])
    assert {name: of_sound[name] for name in ("pitch", "level")} == {name: said[name] for name in ("pitch", "level")}
    assert "pictures" not in of_sound
    assert float(of_sound["drift"].split("sent: ")[1].split()[0]) == pytest.approx(OFFSET_S * 1000, abs=10)


@pytest.mark.long
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_a_sentence_is_found_where_it_is_and_no_tone_is_missing_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here another sound stands in for it, and nobody is there who understands one."""
    monkeypatch.setattr(voice, "missing", lambda: "engine")
    make(tmp_path, spoken=True)
    _keep_only_the_sound(tmp_path)
    said = dict(line.split(maxsplit=1) for line in found.lines(tmp_path)[1:])
    assert said["lost"].startswith("sound 0.00 s"), "neither the pauses around it nor itself are holes"
    assert re.search(r"\b0 of \d beeps are missing", said["lost"])
    assert "and -43." in said["level"]
    assert said["not"] == "understood here: there is no engine"
    late_ms = float(said["audio.ogg,"].removeprefix("at 6 s: ").split()[0])
    assert late_ms == pytest.approx(OFFSET_S * 1000, abs=20)


def test_words_are_wrong_that_have_to_be_put_in_left_out_or_replaced() -> None:
    said = voice.words("Shall we begin?")
    assert said == ["shall", "we", "begin"]
    for heard, wrong in (("shall we begin", 0), ("shall begin", 1), ("so shall we bin", 2), ("", 3)):
        assert voice.errors(said, heard.split()) == wrong
    for heard, wrong in (("for next year shall we begin good", 0), ("year shall began good", 2), ("good morning", 3)):
        assert voice.errors(said, heard.split(), anywhere=True) == wrong


@pytest.mark.parametrize("ms_an_hour", [0.0, 40.0, -500.0])
def test_the_drift_is_that_of_the_sound_against_the_picture(ms_an_hour: float) -> None:
    slope = ms_an_hour / 1000 / 3600
    beeps = [found.Late(at, 0.1 + at * slope) for at in map(float, range(3600))]
    flashes = [[found.Late(float(at), 0.05) for at in range(begins, begins + 30)] for begins in range(0, 3600, 600)]
    assert found.drift(beeps, flashes).startswith(f"{ms_an_hour:+.0f} ms an hour")
    assert found.drift_of_sound(beeps).startswith(f"{ms_an_hour:+.0f} ms an hour")


def test_what_is_missing_is_told_by_a_gap_or_it_is_said_that_it_is_not() -> None:
    silent = ((10.0, 13.0), (20.0, 22.0), (30.0, 30.5))
    blocks = [
        found.Block(at, *([-90.0 if any(begins <= at < ends for begins, ends in silent) else -43.0] * 2))
        for at in (step * found.BLOCK_S for step in range(8000))
    ]
    gaps = [Gap(BEGAN_AT + 9.8, BEGAN_AT + 13.1, "recorder_lost"), Gap(BEGAN_AT + 40, BEGAN_AT + 42, "late")]
    made = Manifest(
        1, "b1", 1, "room", BEGAN_AT, BEGAN_AT + 42, finished=True, gaps=gaps, audio=Audio(AUDIO, 1, "", 42.0)
    )
    told = "recorder_lost, 9.8 to 13.1 s, 3.0 s of it missing; late, 40.0 to 42.0 s, 2.0 s of it missing"
    assert found.told(made, blocks) == f"{told}; NOT TOLD: 20.0 to 22.0 s"
    assert "no gap" in found.told(msgspec.structs.replace(made, gaps=[]), blocks[:1900])


def test_a_pitch_is_found_to_a_hundredth_of_a_hertz() -> None:
    samples = [math.sin(2 * math.pi * 440.5 * at / found.RATE) for at in range(4800)]
    assert found.pitch(samples) == pytest.approx(440.5, abs=0.01)
