"""What is recorded of a meeting, as its operator meets it: from a folder that an agent has put it into."""

import hashlib
import json
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jsonschema
import msgspec
import pytest

from common.runtime.recordings.store import StoreError
from common.wire import manifest
from common.wire.manifest import (
    AUDIO,
    FINAL,
    PROGRESS,
    THUMBNAILS,
    VIDEO,
    Audio,
    Gap,
    Manifest,
    Part,
    Screenshot,
    Segment,
    SoundTrack,
    Thumbnails,
    Video,
    progress_after,
)
from common.wire.minutes import Turn
from tests.cli.conftest import ROOT, CommandLine, wait_for
from tests.common.runtime.recordings.test_sound import write_ogg
from tests.fork_server import Forked
from tests.waiting import PATIENCE_S

SOUND: Final = b"OggS and so on"
SO_FAR: Final = Manifest(
    *(1, "b1", 1, "room", 1000.0, None, False),
    parts=[Part(0, 1000.5)],
    segments=[Segment(0, 0, "segment-000000.webm", 0.5, 1000.5, 1005.5, 60_000, "0f" * 32)],
)
WHOLE: Final = Manifest(
    *(1, "b1", 2, "room", 2000.0, 2065.0, True),
    parts=[Part(0, 2000.5)],
    segments=[Segment(0, 0, "segment-000000.webm", 0.5, 2000.5, 2062.5, 750_000, "0f" * 32)],
    gaps=[Gap(2062.5, 2065.0, "browser_gone")],
    audio=Audio(AUDIO, len(SOUND), hashlib.sha256(SOUND).hexdigest(), 62.5, 1.2, -23.5, -30.0, mended_s=4.25),
)


PICTURE: Final = b"ftyp and so on"
BOTH: Final = msgspec.structs.replace(
    WHOLE,
    bot_id="b2",
    kinds=("audio", "video"),
    parts=[*WHOLE.parts, Part(0, 2000.7, "video")],
    segments=[*WHOLE.segments, Segment(0, 0, "picture-000000.ivf", 0.7, 2000.7, 2062.7, 7_500_000, "0f" * 32, "video")],
    gaps=[*WHOLE.gaps, Gap(2062.7, 2065.0, "browser_gone", "video")],
    video=Video(VIDEO, len(PICTURE), hashlib.sha256(PICTURE).hexdigest(), 62.5, "vp9", 1280, 720, 930, 15.0, 2),
    thumbnails=Thumbnails(THUMBNAILS, len(PICTURE), hashlib.sha256(PICTURE).hexdigest(), 20, 160, 90, 3.1),
    screenshots=[Screenshot("screenshot-000.jpg", len(PICTURE), hashlib.sha256(PICTURE).hexdigest(), 31.2, 640, 360)],
)


TRACKS: Final = [
    SoundTrack("track-000.ogg", 7, "0f" * 32, "id-0", 2001.0, 62.5, 3000, 12.3, "p1", "Ann", 0.93),
    SoundTrack(
        *("track-001.ogg", 7, "0f" * 32, "id-1", 2001.0, 62.5, 3000, 40.0),
        share=0.8,
        turns=[Turn("p1", "Ann", 2002.0, 2010.0), Turn("p2", "Ben", 2011.0, 2020.0), Turn("p1", "Ann", 2021.0, 2030.0)],
    ),
    SoundTrack("track-002.ogg", 7, "0f" * 32, "id-2", 2001.0, 62.5, 3000),
]


def put(store: Path, name: str, made: Manifest) -> Path:
    folder = store / manifest.folder(made.bot_id, made.attempt)
    folder.mkdir(parents=True)
    (folder / name).write_bytes(manifest.encode(made))
    return folder


@pytest.fixture
def reset_tempdir(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where temporary files go is asked of the environment anew."""
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.fixture
def store(tmp_path: Path, poolmgr: CommandLine) -> Path:
    folder = tmp_path / "store"
    poolmgr.environment["POOLMGR_CAPTURE__STORE"] = str(folder)
    put(folder, PROGRESS, SO_FAR)
    (put(folder, FINAL, WHOLE) / AUDIO).write_bytes(SOUND)
    return folder


def test_it_is_said_how_long_how_loud_and_what_is_missing(poolmgr: CommandLine, store: Path) -> None:
    shown = poolmgr("recording", "b1").stdout
    assert "attempt 2: sound, by recorder_tab" in shown
    assert "audio.ogg: 1m 02s" in shown
    told = " ".join(shown.split())
    assert (
        "-23.5 LUFS, left -30 dBFS, right silent, 1.20 s of it filled with silence, 4.25 s with the tracks' sound"
        in told
    )
    assert "missing from 00:34:22.500, for 2.50 s: browser_gone" in shown
    before = poolmgr("recording", "b1", "--attempt", "1").stdout
    assert "not finished" in before
    assert "no gap" in before


def test_in_mid_call_all_that_the_store_has_is_said(poolmgr: CommandLine, store: Path) -> None:
    later = [msgspec.structs.replace(each, sequence=1, ended_at=1010.5) for each in SO_FAR.segments]
    new = msgspec.structs.replace(SO_FAR, segments=later, gaps=[Gap(1006.0, 1007.0, "paused")])
    (store / "b1" / "1" / progress_after(1)).write_bytes(manifest.encode(new))
    shown = poolmgr("recording", "b1", "--attempt", "1").stdout
    assert "2 segments in 1 parts" in shown
    assert "for 1.00 s: paused" in shown
    (store / "b1" / "1" / progress_after(1)).write_bytes(manifest.encode(msgspec.structs.replace(new, segments=[])))
    spoilt = poolmgr("recording", "b1", "--attempt", "1")
    assert (spoilt.exit_code, "progress-000001.json has no segments" in spoilt.stderr) == (1, True)


@pytest.mark.parametrize("options", [[], ["--save", "there", "--wait", "--timeout", "5"], ["--play"], ["--manifest"]])
def test_a_manifest_that_cannot_be_read_is_said(poolmgr: CommandLine, store: Path, options: list[str]) -> None:
    (store / "b1" / "2" / FINAL).write_bytes(b"nothing")
    unread = poolmgr("recording", "b1", *options)
    assert (unread.exit_code, unread.stdout) == (1, "")
    assert unread.stderr.startswith("poolmgr: the store holds a manifest that this release cannot read: ")


def test_a_save_that_is_interrupted_stops_and_leaves_no_half_file(
    poolmgr: CommandLine, store: Path, tmp_path: Path, start: Callable[..., Forked]
) -> None:
    with (store / "b1" / "2" / AUDIO).open("wb") as file:
        file.truncate(20 * 1024**3)  # takes no room there
    saved = tmp_path / "saved"
    saving = start("recording", "b1", "--save", str(saved))
    wait_for(lambda: (part := saved / "b1-2.ogg.part").exists() and part.stat().st_size)
    saving.send_signal(signal.SIGINT)
    assert saving.wait(PATIENCE_S) == 130
    _, said = saving.communicate(PATIENCE_S)
    assert said.splitlines()[-1] == "poolmgr: stopped saving; what is said to be saved is complete"
    assert "Traceback" not in said
    assert [path.name for path in saved.iterdir()] == ["b1-2.manifest.json"]


def test_of_one_that_was_recorded_in_two_ways_it_is_said_by_which_and_then_by_which(
    poolmgr: CommandLine, store: Path
) -> None:
    parts = [
        *(Part(0, 2000.5), Part(1, 2030.0, way="recorder_tab")),
        *(Part(0, 2000.7, "video"), Part(1, 2030.2, "video", "recorder_tab"), Part(0, 2000.1, "tracks")),
    ]
    put(store, FINAL, msgspec.structs.replace(BOTH, way="display", parts=parts))
    assert "sound and picture, by display, then by recorder_tab, from" in " ".join(
        poolmgr("recording", "b2").stdout.split()
    )


def test_of_a_picture_it_is_said_how_large_and_it_is_saved_beside_the_sound(
    poolmgr: CommandLine, store: Path, tmp_path: Path
) -> None:
    folder = put(store, FINAL, BOTH)
    (folder / AUDIO).write_bytes(SOUND)
    (folder / VIDEO).write_bytes(PICTURE)
    (folder / THUMBNAILS).write_bytes(PICTURE)
    (folder / "screenshot-000.jpg").write_bytes(PICTURE)
    shown = poolmgr("recording", "b2", "--save", str(tmp_path)).stdout
    assert "attempt 2: sound and picture, by recorder_tab" in shown
    assert "picture: 1 segments in 1 parts, 1m 02s, 7.5 MB" in shown
    assert "video.mp4: 1m 02s, 0.0 MB, 1280x720, vp9, 15 pictures a second, 2 of 930 pictures damaged" in shown
    assert "sound missing from 00:34:22.500" in shown
    assert "picture missing from 00:34:22.700, for 2.30 s: browser_gone" in shown
    names = ["b2-2-screenshot-000.jpg", f"b2-2-{THUMBNAILS}", "b2-2.manifest.json", "b2-2.mp4", "b2-2.ogg"]
    assert sorted(path.name for path in tmp_path.glob("b2-*")) == names
    assert (tmp_path / "b2-2.mp4").read_bytes() == PICTURE
    assert manifest.decode((tmp_path / "b2-2.manifest.json").read_bytes()) == BOTH


def test_of_each_track_it_is_said_whose_it_is(poolmgr: CommandLine, store: Path) -> None:
    made = msgspec.structs.replace(WHOLE, kinds=("audio", "tracks"), tracks=TRACKS)
    (store / "b1" / "2" / FINAL).write_bytes(manifest.encode(made))
    shown = poolmgr("recording", "b1").stdout
    assert "track-000.ogg: Ann, marked for 93%, 12.3 s of voice; 1m 02s" in shown
    assert "track-001.ogg: Ann and Ben in turn, marked for 80%, 40.0 s of voice" in shown
    assert "track-002.ogg: not known whose" in shown
    said = json.loads(poolmgr("recording", "b1", "--json").stdout)
    jsonschema.validate(said, json.loads((ROOT / "docs" / "manifest.schema.json").read_text()))


@pytest.mark.parametrize("how", ["--json", "--manifest"])
def test_the_manifest_is_one_by_its_schema(poolmgr: CommandLine, store: Path, how: str) -> None:
    shown: Any = json.loads(poolmgr("recording", "b1", how).stdout)
    jsonschema.validate(shown, json.loads((ROOT / "docs" / "manifest.schema.json").read_text()))
    assert manifest.decode(json.dumps(shown).encode()) == WHOLE


def test_the_file_is_saved_with_its_manifest_if_it_is_what_that_says(
    poolmgr: CommandLine, store: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "deep" / "er"
    assert poolmgr("recording", "b1", "--save", str(saved)).exit_code == 0
    assert (saved / "b1-2.ogg").read_bytes() == SOUND
    assert manifest.decode((saved / "b1-2.manifest.json").read_bytes()) == WHOLE
    assert oct((saved / "b1-2.ogg").stat().st_mode)[-3:] == "600"
    only = poolmgr("recording", "b1", "--attempt", "1", "--save", str(saved))
    assert "no file yet: only the manifest is saved; --wait waits until it is made" in only.stderr
    (store / "b1" / "2" / AUDIO).write_bytes(b"another")
    spoilt = poolmgr("recording", "b1", "--save", str(saved))
    assert (spoilt.exit_code, "not what its manifest says" in spoilt.stderr) == (1, True)
    (store / "b1" / "2" / AUDIO).unlink()
    assert poolmgr("recording", "b1", "--save", str(saved)).exit_code == 4
    (tmp_path / "file").write_text("")
    assert poolmgr("recording", "b1", "--attempt", "1", "--save", str(tmp_path / "file" / "below")).exit_code == 1


@pytest.mark.long
def test_it_is_saved_as_an_m4a_where_one_is_asked_for(poolmgr: CommandLine, store: Path, tmp_path: Path) -> None:
    file, saved = store / "b1" / "2" / AUDIO, tmp_path / "saved"
    write_ogg(file, seconds=1)
    sound = Audio(AUDIO, file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest(), 1.0)
    (file.parent / FINAL).write_bytes(manifest.encode(msgspec.structs.replace(WHOLE, audio=sound)))
    assert poolmgr("recording", "b1", "--save", str(saved), "--format", "m4a").exit_code == 0
    assert (saved / "b1-2.m4a").read_bytes()[4:11] == b"ftypM4A"
    assert sorted(path.name for path in saved.iterdir()) == ["b1-2.m4a", "b1-2.manifest.json"]
    longer = msgspec.structs.replace(sound, duration_s=62.5)
    (file.parent / FINAL).write_bytes(manifest.encode(msgspec.structs.replace(WHOLE, audio=longer)))
    refused = poolmgr("recording", "b1", "--save", str(tmp_path / "other"), "--format", "m4a")
    assert (refused.exit_code, "only 1.0 of 62.5 s" in refused.stderr) == (1, True)
    assert not list((tmp_path / "other").glob("*.m4a"))


def test_it_waits_for_the_files_and_says_what_for(
    poolmgr: CommandLine, store: Path, tmp_path: Path, start: Callable[..., Forked]
) -> None:
    waiting = start("recording", "b1", "--attempt", "1", "--save", str(tmp_path / "saved"), "--wait", "--json")
    assert waiting.stderr
    assert waiting.stdout
    assert waiting.stderr.readline() == "poolmgr: the meeting goes on: waiting\n"
    folder = store / "b1" / "1"
    ended = msgspec.structs.replace(SO_FAR, ended_at=1006.0)
    write_whole(folder / PROGRESS, manifest.encode(ended))
    assert waiting.stderr.readline() == "poolmgr: the files are being made: waiting\n"
    (folder / AUDIO).write_bytes(SOUND)
    write_whole(folder / FINAL, manifest.encode(msgspec.structs.replace(ended, finished=True, audio=WHOLE.audio)))
    assert json.loads(waiting.stdout.readline())["finished"]
    assert waiting.wait(PATIENCE_S) == 0
    assert (tmp_path / "saved" / "b1-1.ogg").read_bytes() == SOUND


def write_whole(path: Path, content: bytes) -> None:
    other = path.with_suffix(".other")
    other.write_bytes(content)
    other.rename(path)


def test_what_is_waited_for_in_vain_is_said(poolmgr: CommandLine, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "poolmgr.cli.bot.recording"
    monkeypatch.setattr(f"{module}._LOOK_S", 0.01)
    of_first = ("recording", "b1", "--attempt", "1", "--wait")
    overdue = poolmgr(*of_first, "--timeout", "0.2")
    assert (overdue.exit_code, "not made within 0.2 s" in overdue.stderr) == (6, True)
    assert poolmgr("recording", "b1", "--wait", "--timeout", "9").exit_code == 0, "there is nothing to wait for"
    assert poolmgr("recording", "nobody", "--wait").exit_code == 4
    assert poolmgr("recording", "b1", "--wait", "--transcript").exit_code == 2
    monkeypatch.setattr(f"{module}._NOTHING_NEW_S", 0.1)
    path = store / "b1" / "1" / PROGRESS
    path.write_bytes(manifest.encode(msgspec.structs.replace(SO_FAR, ended_at=1006.0)))
    given_up = poolmgr(*of_first)
    assert (given_up.exit_code, "nothing more came" in given_up.stderr) == (1, True)
    monkeypatch.setattr(f"{module}._NOTHING_NEW_S", PATIENCE_S)

    def deletes(_: str) -> None:
        (store / "b1" / "1" / PROGRESS).unlink()

    monkeypatch.setattr(f"{module}.say", deletes)
    deleted = poolmgr(*of_first)
    assert (deleted.exit_code, "deleted meanwhile" in deleted.stderr) == (4, True)


def test_a_store_that_is_away_for_a_moment_ends_no_wait(
    poolmgr: CommandLine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def find(*_: object, whole: bool = False) -> Manifest:
        asked.append(1)
        if len(asked) == 2:
            raise StoreError("away")
        return SO_FAR if len(asked) < 4 else WHOLE

    monkeypatch.setattr("common.runtime.recordings.manifests.find", find)
    monkeypatch.setattr("poolmgr.cli.bot.recording._LOOK_S", 0.01)
    waited = poolmgr("recording", "b1", "--wait")
    assert (waited.exit_code, len(asked), "audio.ogg" in waited.stdout) == (0, 4, True)


PLAYER: Final = """#!/bin/sh
for file; do :; done
echo "${0##*/} $@" > "$NOTES"
cat "$file" >> "$NOTES"
echo "playing"
exec sh -c "$THEN"
"""
"""Notes how it was called, and what is in the file."""


def be_played_by(name: str, poolmgr: CommandLine, tmp_path: Path, *, then: str = "exit 0") -> Path:
    """Have a stand-in for a player as the only one that is there. Returns where it notes what it was given."""
    programs, temporary, notes = tmp_path / "bin", tmp_path / "temporary", tmp_path / "notes"
    for folder in (programs, temporary):
        folder.mkdir(exist_ok=True)
    for program in ("sh", "cat", "sleep"):
        if not (programs / program).exists():
            (programs / program).symlink_to(f"/bin/{program}")
    (programs / name).write_text(PLAYER)
    (programs / name).chmod(0o700)
    poolmgr.environment |= {"PATH": str(programs), "TMPDIR": str(temporary), "NOTES": str(notes), "THEN": then}
    return notes


@pytest.mark.parametrize(
    ("name", "of_sound", "of_picture"),
    [
        ("ffplay", "-hide_banner -loglevel warning -stats -autoexit -nodisp", "-autoexit"),
        ("mpv", "--no-video", ""),
        ("vlc", "--play-and-exit --intf dummy", "--play-and-exit"),
    ],
)
def test_the_picture_or_else_the_sound_is_played(
    name: str, of_sound: str, of_picture: str, poolmgr: CommandLine, store: Path, tmp_path: Path, reset_tempdir: None
) -> None:
    folder = put(store, FINAL, BOTH)
    (folder / AUDIO).write_bytes(SOUND)
    (folder / VIDEO).write_bytes(PICTURE)
    notes = be_played_by(name, poolmgr, tmp_path)
    shown = poolmgr("recording", "b1", "--play")
    assert (shown.exit_code, "attempt 2: sound" in shown.stdout) == (0, True)
    called, _, played = notes.read_text().partition("\n")
    assert called.startswith(f"{name} {of_sound} ")
    assert (called.endswith("/b1-2.ogg"), played) == (True, SOUND.decode())
    assert poolmgr("recording", "b2", "--play").exit_code == 0
    called, _, played = notes.read_text().partition("\n")
    assert of_picture in called
    assert called.endswith("/b2-2.mp4")
    assert not {"-nodisp", "--no-video", "dummy"} & set(called.split())
    assert played == PICTURE.decode()
    assert not list((tmp_path / "temporary").iterdir())


def test_without_a_player_or_a_file_it_is_said_what_can_be_done(
    poolmgr: CommandLine, store: Path, tmp_path: Path, reset_tempdir: None
) -> None:
    be_played_by("another", poolmgr, tmp_path)
    refused = poolmgr("recording", "b1", "--play")
    assert refused.exit_code == 2
    assert "none of ffplay, mpv, vlc is here; --save DIR writes the file" in refused.stderr
    be_played_by("mpv", poolmgr, tmp_path, then="exit 3")
    assert "mpv did not play it: exit code 3" in poolmgr("recording", "b1", "--play").stderr
    (tmp_path / "bin" / "mpv").write_text("of no kind that can be run")
    failed = poolmgr("recording", "b1", "--play")
    assert (failed.exit_code, "cannot play it" in failed.stderr) == (1, True)
    unfinished = poolmgr("recording", "b1", "--attempt", "1", "--play")
    assert (unfinished.exit_code, "no file to play; --wait waits" in unfinished.stderr) == (4, True)
    (store / "b1" / "2" / AUDIO).write_bytes(b"another")
    assert "not what its manifest says" in poolmgr("recording", "b1", "--play").stderr
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("other", [("--manifest",), ("--transcript",), ("--save", "somewhere")])
def test_what_is_played_is_not_also_saved_or_printed(other: tuple[str, ...], poolmgr: CommandLine, store: Path) -> None:
    refused = poolmgr("recording", "b1", "--play", *other)
    assert (refused.exit_code, "--play goes with none of" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("number", "before"),
    [(signal.SIGINT, ""), (signal.SIGTERM, ""), (signal.SIGHUP, ""), (signal.SIGINT, "trap '' TERM INT; ")],
)
def test_nothing_is_left_of_what_was_played_when_it_is_interrupted(
    number: signal.Signals,
    before: str,
    poolmgr: CommandLine,
    store: Path,
    tmp_path: Path,
    start: Callable[..., Forked],
) -> None:
    notes = be_played_by("mpv", poolmgr, tmp_path, then=f"{before}echo $$ > $NOTES.pid; exec sleep 100")
    playing = start("recording", "b1", "--play", "--json")
    pid = int(wait_for(lambda: (path := notes.with_name("notes.pid")).exists() and path.read_text()))
    assert list((tmp_path / "temporary").iterdir())
    playing.send_signal(number)
    assert playing.wait(PATIENCE_S) == 130
    said, _ = playing.communicate(PATIENCE_S)
    assert json.loads(said)["bot_id"] == "b1"
    assert not list((tmp_path / "temporary").iterdir())
    assert not Path("/proc", str(pid)).exists()


def test_what_there_is_not_is_said_with_the_reason(poolmgr: CommandLine, store: Path) -> None:
    assert poolmgr("recording", "nobody").exit_code == 4
    assert poolmgr("recording", "../b1").exit_code == 2
    unset = poolmgr("recording", "b1", POOLMGR_CAPTURE__STORE="")
    assert (unset.exit_code, "capture.store" in unset.stderr) == (2, True)
    (store / "b1" / "2" / FINAL).write_text("{}")
    assert "cannot read" in poolmgr("recording", "b1").stderr
    assert poolmgr("recording", "b1", POOLMGR_CAPTURE__STORE=str(store / "b1" / "2" / FINAL)).exit_code == 1
    silent = Manifest(*(1, "b9", 1, "room", 1000.0, 1001.0, True))
    put(store, FINAL, silent)
    assert "nothing was recorded" in poolmgr("recording", "b9").stdout
