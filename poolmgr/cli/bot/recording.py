"""`recording`: shows what is recorded of a meeting, and saves the file. It asks the store, not Redis."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from common.jobs.job import BOT_ID
from common.runtime import files, recordings
from common.runtime.cli.session import fail, put_json, say
from common.runtime.cli.text import duration
from common.runtime.exits import EXIT_FAILED, EXIT_NOT_FOUND, EXIT_USAGE
from common.runtime.store import AbsentError, Store, StoreError
from common.wire import manifest
from common.wire.manifest import Audio, Manifest
from common.wire.minutes import TRANSCRIPT
from poolmgr.cli.names import bot_ids
from poolmgr.cli.session import Session, with_session
from poolmgr.cli.tables import console
from poolmgr.cli.text import clock_time

_T = TypeVar("_T")


@click.command
@click.argument("bot_id", metavar="BOT", shell_complete=bot_ids())
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Of which attempt; the latest without.")
@click.option(
    "--save",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the file and its manifest there.",
)
@click.option("--manifest", "whole", is_flag=True, help="Print the manifest, as the store has it.")
@click.option("--transcript", "words", is_flag=True, help="Print what was said, by whom and when.")
@with_session
def recording(
    session: Session, bot_id: str, *, attempt: int | None, folder: Path | None, whole: bool, words: bool
) -> None:
    """Say what is recorded of BOT's meeting: how long, how loud, what is missing and why.

    It is read from capture.store, so this machine must be able to. While the meeting runs, and until the file is made,
    it says what there is so far. What a manifest holds is described in docs/recording.md.

    Exit code 0 when there is a recording, 4 when there is none.

    \b
    Examples:
      poolmgr recording 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d
      poolmgr recording 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d --save /tmp/recordings
      poolmgr recording 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d --json | jq .gaps
      poolmgr recording 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d --transcript
    """
    if not session.settings.capture.store:
        fail("nothing is recorded, because there is no store: set capture.store", EXIT_USAGE)
    if not BOT_ID.fullmatch(bot_id):
        raise click.BadParameter("no bot can have that id", param_hint="BOT")
    if words:
        _print_words(session, bot_id, attempt)
        return
    found = _ask(session, lambda store: recordings.find(store, bot_id, attempt))
    if found is None:
        fail(f"there is no recording of bot {bot_id} in the store", EXIT_NOT_FOUND)
    if whole or session.as_json:
        put_json(msgspec.to_builtins(found))
    else:
        for line in _lines(found):
            console().print(line)
    if folder:
        _save(session, found, folder)


def _print_words(session: Session, bot_id: str, attempt: int | None) -> None:
    """Ends the program when there is no transcript."""
    found = _ask(session, lambda store: recordings.find_minutes(store, bot_id, TRANSCRIPT, attempt))
    if found is None:
        fail(f"there is no transcript of bot {bot_id} in the store", EXIT_NOT_FOUND)
    if session.as_json:
        put_json(msgspec.to_builtins(found))
    for one in () if session.as_json else found.utterances:
        click.echo(f"{clock_time(one.began_at)}  {one.speaker or 'somebody'}: {one.text}")


def _ask(session: Session, question: Callable[[Store], Awaitable[_T]]) -> _T:
    """The manifest in the store. Ends the program when the store does not answer, or the manifest is damaged."""

    async def asked() -> _T:
        store = Store(session.settings.capture)
        try:
            return await question(store)
        finally:
            store.close()

    try:
        return asyncio.run(asked())
    except AbsentError:
        fail("the store does not have the file that the manifest names", EXIT_NOT_FOUND)
    except StoreError as error:
        fail(f"cannot read capture.store: {error}", EXIT_FAILED)
    except ValueError as error:
        fail(f"the store holds a manifest that this release cannot read: {error}", EXIT_FAILED)


def _lines(found: Manifest) -> Iterator[str]:
    since = f"{datetime.fromtimestamp(found.began_at, UTC):%Y-%m-%d} {clock_time(found.began_at)} UTC"
    yield f"bot {found.bot_id}, attempt {found.attempt}: sound, by {found.way}, from {since}"
    seconds = sum(segment.ended_at - segment.began_at for segment in found.segments)
    size = sum(segment.bytes for segment in found.segments)
    yield f"{len(found.segments)} segments in {len(found.parts)} parts, {duration(seconds)}, {size / 1e6:.1f} MB"
    if found.audio:
        yield _heard(found.audio)
    elif found.finished:
        yield "there is no file: nothing was recorded"
    else:
        yield "not finished: the meeting goes on, or no agent has made the file yet"
    for gap in found.gaps:
        yield f"missing from {clock_time(gap.began_at)}, for {duration(gap.ended_at - gap.began_at)}: {gap.cause}"
    if not found.gaps:
        yield "no gap"


def _heard(audio: Audio) -> str:
    loud = "silent" if audio.loudness_lufs is None else f"{audio.loudness_lufs:g} LUFS"
    sides = ", ".join(
        f"{side} {'silent' if level is None else f'{level:g} dBFS'}"
        for side, level in (("left", audio.left_dbfs), ("right", audio.right_dbfs))
    )
    filled = f", {duration(audio.filled_s)} of it filled with silence" if audio.filled_s else ""
    return f"{audio.path}: {duration(audio.duration_s)}, {audio.bytes / 1e6:.1f} MB, {loud}, {sides}{filled}"


def _save(session: Session, found: Manifest, folder: Path) -> None:
    """Save the file. Ends the program when that fails, or when the file does not match the manifest."""
    named = f"{found.bot_id}-{found.attempt}"
    parts = {f"{named}.manifest.json": manifest.encode(found)}
    if audio := found.audio:
        where = manifest.folder(found.bot_id, found.attempt)
        data = _ask(session, lambda store: store.get(f"{where}/{audio.path}"))
        if hashlib.sha256(data).hexdigest() != audio.sha256:
            fail("cannot save it: the file in the store is not what its manifest says", EXIT_FAILED)
        parts[f"{named}.ogg"] = data
    else:
        say("there is no file yet: only the manifest is saved")
    for name, data in parts.items():
        try:
            files.make_ready(folder)
            files.write(folder / name, data)
        except OSError as error:
            fail(f"cannot write {folder / name}: {error.strerror}", EXIT_FAILED)
        say(f"saved {folder / name}")
