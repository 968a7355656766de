"""`recording`: what there is of a meeting's sound and picture, and the files themselves. Asks the store, not Redis."""

import asyncio
import hashlib
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from common.jobs.job import BOT_ID
from common.runtime import files
from common.runtime.cli.session import fail, put_json, say
from common.runtime.cli.text import duration
from common.runtime.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NOT_FOUND, EXIT_USAGE
from common.runtime.recordings import manifests
from common.runtime.recordings.sound.m4a import UnencodedError, encode
from common.runtime.recordings.store import AbsentError, Store, StoreError
from common.wire import manifest
from common.wire.manifest import Audio, Kind, Manifest, SoundTrack, Stored, Video
from common.wire.minutes import TRANSCRIPT
from poolmgr.cli.bot import player
from poolmgr.cli.names import bot_ids
from poolmgr.cli.session import Session, cancelled_by_signals, in_time, with_session, with_waiting
from poolmgr.cli.tables import console
from poolmgr.cli.text import clock_time
from poolmgr.store.lives import MADE_WITHIN_S

_T = TypeVar("_T")
_PLAYERS: Final = f"{', '.join(player.PLAYERS[:-1])} or {player.PLAYERS[-1]}"
_LOOK_S: Final = 1.0
_NOTHING_NEW_S: Final = MADE_WITHIN_S
"""An agent that makes files puts something into the store before that."""
_NAMED: Final[dict[Kind, str]] = {"audio": "sound", "video": "picture", "tracks": "sound tracks"}


@click.command
@click.argument("bot_id", metavar="BOT", shell_complete=bot_ids())
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Of which attempt; the latest without.")
@click.option(
    "--save",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the files and their manifest there.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["ogg", "m4a"]),
    default="ogg",
    show_default=True,
    help="With --save: the sound as it is, Opus in an Ogg, or as AAC in an M4A.",
)
@click.option("--play", "plays", is_flag=True, help=f"Play the picture, or else the sound: by {_PLAYERS}.")
@click.option("--manifest", "whole", is_flag=True, help="Print the manifest, as the store has it.")
@click.option("--transcript", "words", is_flag=True, help="Print what was said, by whom and when.")
@with_waiting("until the files are made; say what is waited for. It ends when nothing more came in an hour after it")
@with_session
def recording(
    session: Session,
    bot_id: str,
    *,
    attempt: int | None,
    folder: Path | None,
    form: str,
    plays: bool,
    whole: bool,
    words: bool,
    wait: bool,
    timeout_s: float | None,
) -> None:
    """Say what is recorded of BOT's meeting: how long, how loud, how large, what is missing and why.

    It is read from capture.store, so this machine must be able to. While the meeting runs, and until the files are
    made, it says what there is so far. What a manifest holds is described in docs/recording.md.

    --play fetches the file into a temporary folder, which is removed afterwards, also after Ctrl-C.

    Exit code 0 when there is a recording, 4 when there is none, or no file to play, 6 on --timeout.

    \b
    Examples:
      poolmgr recording 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d
      poolmgr recording 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d --save /tmp/recordings
      poolmgr recording 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d --save /tmp/recordings --format m4a
      poolmgr recording 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d --save /tmp/recordings --wait --timeout 600
      poolmgr recording 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d --play
      poolmgr recording 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d --json | jq .gaps
      poolmgr recording 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d --transcript
    """
    if plays and (whole or words or folder):
        raise click.UsageError("--play goes with none of --manifest, --transcript and --save")
    if wait and words:
        raise click.UsageError("--wait is for the files, not for --transcript")
    if not session.settings.capture.store:
        fail("nothing is recorded, because there is no store: set capture.store", EXIT_USAGE)
    if not BOT_ID.fullmatch(bot_id):
        raise click.BadParameter("no bot can have that id", param_hint="BOT")
    if words:
        _print_words(session, bot_id, attempt)
        return
    found = _ask(session, lambda store: manifests.find(store, bot_id, attempt, whole=True))
    if found is None:
        fail(f"there is no recording of bot {bot_id} in the store", EXIT_NOT_FOUND)
    if wait and not found.finished:
        found = _wait(session, found, timeout_s)
    if whole or session.as_json:
        put_json(msgspec.to_builtins(found))
    else:
        for line in _lines(found):
            console().print(line)
    if folder:
        _save(session, found, folder, form)
    if plays:
        _play(session, found)


def _wait(session: Session, found: Manifest, timeout_s: float | None) -> Manifest:
    """The finished recording. Ends the program when its files are not made in time."""
    overdue = f"the files of bot {found.bot_id} were not made within {timeout_s or 0:g} s: ask again later"
    try:
        return asyncio.run(in_time(timeout_s, _made(session, found), overdue=overdue))
    except KeyboardInterrupt:
        fail("stopped waiting; the files are made without this command", EXIT_INTERRUPTED)


async def _made(session: Session, found: Manifest) -> Manifest:
    """Look for the final manifest until it is there, and tell what is waited for, on a terminal with the time."""

    async def look(store: Store) -> Manifest | None:
        with suppress(StoreError):  # it may be back before the time is over
            return await manifests.find(store, found.bot_id, found.attempt)
        return found

    columns = (TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    on_terminal = sys.stderr.isatty()
    changed_at, told = time.monotonic(), ""
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not on_terminal) as line:
        task = line.add_task("", total=None)
        while not found.finished:
            if found.ended_at is not None and time.monotonic() - changed_at > _NOTHING_NEW_S:
                fail("nothing more came for an hour: see `poolmgr explain`", EXIT_FAILED)
            waits_for = "the meeting goes on" if found.ended_at is None else "the files are being made"
            if told != waits_for and not on_terminal:
                say(f"{waits_for}: waiting")
            line.update(task, description=f"{waits_for}: waiting")
            told = waits_for
            await asyncio.sleep(_LOOK_S)
            latest = await _asked(session, look)
            if latest is None:
                fail("it was deleted meanwhile", EXIT_NOT_FOUND)
            if latest != found:
                found, changed_at = latest, time.monotonic()
    return found


def _print_words(session: Session, bot_id: str, attempt: int | None) -> None:
    """Ends the program when there is no transcript."""
    found = _ask(session, lambda store: manifests.find_minutes(store, bot_id, TRANSCRIPT, attempt))
    if found is None:
        fail(f"there is no transcript of bot {bot_id} in the store", EXIT_NOT_FOUND)
    if session.as_json:
        put_json(msgspec.to_builtins(found))
    for utterance in () if session.as_json else found.utterances:
        click.echo(f"{clock_time(utterance.began_at)}  {utterance.speaker or 'somebody'}: {utterance.text}")


def _ask(session: Session, question: Callable[[Store], Awaitable[_T]]) -> _T:
    return asyncio.run(_asked(session, question))


async def _asked(session: Session, question: Callable[[Store], Awaitable[_T]]) -> _T:
    """What the store answers. Ends the program when it does not, or when a manifest is damaged."""
    try:
        store = Store(session.settings.capture)
        try:
            return await question(store)
        finally:
            store.close()
    except AbsentError:
        fail("the store does not have the file that the manifest names", EXIT_NOT_FOUND)
    except StoreError as error:
        fail(f"cannot read capture.store: {error}", EXIT_FAILED)
    except ValueError as error:
        fail(f"the store holds a manifest that this release cannot read: {error}", EXIT_FAILED)


def _lines(found: Manifest) -> Iterator[str]:
    since = f"{datetime.fromtimestamp(found.began_at, UTC):%Y-%m-%d} {clock_time(found.began_at)} UTC"
    what = " and ".join(_NAMED[kind] for kind in found.kinds)
    yield f"bot {found.bot_id}, attempt {found.attempt}: {what}, by {_ways(found)}, from {since}"
    for kind in found.kinds:
        segments = [segment for segment in found.segments if segment.kind == kind]
        seconds = sum(segment.ended_at - segment.began_at for segment in segments)
        size = sum(segment.bytes for segment in segments)
        parts = sum(part.kind == kind for part in found.parts)
        yield f"{_NAMED[kind]}: {len(segments)} segments in {parts} parts, {duration(seconds)}, {size / 1e6:.1f} MB"
    if found.audio:
        yield _heard(found.audio)
    if found.video:
        yield _seen(found.video)
    for track in found.tracks:
        size = f"{duration(track.duration_s)}, {track.bytes / 1e6:.1f} MB, {track.packets} packets"
        since = f"of the track {track.id} from {clock_time(track.began_at)}"
        yield f"{track.path}: {_whose(track)}, {duration(track.voice_s)} of voice; {size}, {since}"
    if not found.finished:
        yield "not finished: the meeting goes on, or no agent has made the file yet"
    elif not (found.audio or found.video):
        yield "there is no file: nothing was recorded"
    for gap in found.gaps:
        missing = f"{_NAMED[gap.kind]} missing" if len(found.kinds) > 1 else "missing"
        yield f"{missing} from {clock_time(gap.began_at)}, for {duration(gap.ended_at - gap.began_at)}: {gap.cause}"
    if not found.gaps:
        yield "no gap"


def _ways(found: Manifest) -> str:
    """How it was captured, in order. Packets of tracks are not."""
    captured = sorted((part for part in found.parts if part.kind != "tracks"), key=lambda part: part.began_at)
    return ", then by ".join(dict.fromkeys(part.way or found.way for part in captured)) or found.way


def _heard(audio: Audio) -> str:
    loud = "silent" if audio.loudness_lufs is None else f"{audio.loudness_lufs:g} LUFS"
    sides = ", ".join(
        f"{side} {'silent' if level is None else f'{level:g} dBFS'}"
        for side, level in (("left", audio.left_dbfs), ("right", audio.right_dbfs))
    )
    filled = f", {duration(audio.filled_s)} of it filled with silence" if audio.filled_s else ""
    mended = f", {duration(audio.mended_s)} with the tracks' sound" if audio.mended_s else ""
    return f"{audio.path}: {duration(audio.duration_s)}, {audio.bytes / 1e6:.1f} MB, {loud}, {sides}{filled}{mended}"


def _whose(track: SoundTrack) -> str:
    names = track.speaker or " and ".join(dict.fromkeys(turn.speaker for turn in track.turns))
    if not names:
        return "not known whose"
    return f"{names}{' in turn' if track.turns else ''}, marked for {track.share:.0%}"


def _seen(video: Video) -> str:
    size = f"{video.width}x{video.height}, {video.codec}, {video.fps:g} pictures a second"
    damaged = f", {video.damaged} of {video.pictures} pictures damaged" if video.damaged else ""
    return f"{video.path}: {duration(video.duration_s)}, {video.bytes / 1e6:.1f} MB, {size}{damaged}"


def _save(session: Session, found: Manifest, folder: Path, form: str) -> None:
    """Ends the program if a file cannot be saved, or does not match the manifest."""
    named = f"{found.bot_id}-{found.attempt}"
    if not (found.audio or found.video):
        say(f"there is no file{'' if found.finished else ' yet'}: only the manifest is saved{_waiting(found)}")
    try:
        files.make_ready(folder)
        files.write(folder / f"{named}.manifest.json", manifest.encode(found))
        say(f"saved {folder / named}.manifest.json")
        for file in filter(None, (found.audio, found.video)):
            if isinstance(file, Audio) and form == "m4a":
                _save_as_m4a(session, found, file, folder / f"{named}.m4a")
            else:
                _save_file(session, found, file, folder / f"{named}{Path(file.path).suffix}")
        for file in filter(None, (*found.tracks, found.waveform, found.thumbnails, *found.screenshots)):
            _save_file(session, found, file, folder / f"{named}-{file.path}")
    except OSError as error:
        fail(f"cannot write into {folder}: {error.strerror}", EXIT_FAILED)
    except KeyboardInterrupt:
        fail("stopped saving; what is said to be saved is complete", EXIT_INTERRUPTED)


def _waiting(found: Manifest) -> str:
    return "" if found.finished else "; --wait waits until it is made"


def _save_file(session: Session, found: Manifest, file: Stored, path: Path) -> None:
    asyncio.run(_fetch(session, found, file, path))
    say(f"saved {path}")


def _save_as_m4a(session: Session, found: Manifest, audio: Audio, path: Path) -> None:
    """Raises: OSError."""
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as workshop:
        ogg, made = Path(workshop, audio.path), Path(workshop, path.name)
        asyncio.run(_fetch(session, found, audio, ogg))
        try:
            with _progress(f"encode {path.name}", None):
                asyncio.run(encode(ogg, made, audio.duration_s, session.settings.capture))
        except UnencodedError as error:
            fail(str(error), EXIT_FAILED)
        made.rename(path)
    say(f"saved {path}")


def _play(session: Session, found: Manifest) -> None:
    """Ends the program if there is nothing to play, or nothing to play it with."""
    file = found.video or found.audio
    if file is None:
        fail(f"there is no file to play{_waiting(found)}", EXIT_NOT_FOUND)
    name = player.find()
    if name is None:
        fail(f"cannot play it: none of {', '.join(player.PLAYERS)} is here; --save DIR writes the file", EXIT_USAGE)
    try:
        code = asyncio.run(_fetch_and_play(session, found, file, name))
    except OSError as error:
        fail(f"cannot play it: {error}", EXIT_FAILED)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise SystemExit(EXIT_INTERRUPTED) from None
    if code:
        fail(f"{name} did not play it: exit code {code}", EXIT_FAILED)


async def _fetch_and_play(session: Session, found: Manifest, file: Audio | Video, name: str) -> int:
    """The player's exit code. Raises: OSError."""
    with cancelled_by_signals(), tempfile.TemporaryDirectory(prefix="poolmgr-") as place:
        path = Path(place, f"{found.bot_id}-{found.attempt}{Path(file.path).suffix}")
        await _fetch(session, found, file, path)
        return await player.play(name, path, only_sound=isinstance(file, Audio))


async def _fetch(session: Session, found: Manifest, file: Stored, path: Path) -> None:
    """Save the file under another name, and rename it when it is complete. Raises: OSError."""
    unfinished = path.with_name(f"{path.name}.part")
    files.write(unfinished, b"")
    where = f"{manifest.folder(found.bot_id, found.attempt)}/{file.path}"
    try:
        with _progress(path.name, file.bytes) as came:
            await _asked(session, lambda store: store.save(where, unfinished, came))
        with unfinished.open("rb") as whole:
            if hashlib.file_digest(whole, "sha256").hexdigest() != file.sha256:
                fail("cannot save it: the file in the store is not what its manifest says", EXIT_FAILED)
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _progress(what: str, size: int | None) -> Generator[Callable[[int], None]]:
    """A progress bar on standard error, only on a terminal. Gives a function that takes the size of each piece that
    came. `size` None: it is unknown.
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=size)
        yield lambda came: bar.advance(task, came)
