"""`explain`: shows what happened to a bot, in order, and why, and what an operator can do about it."""

import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Group
from rich.text import Text

from common.jobs.record import Record
from common.runtime import files
from common.runtime.cli.session import fail, put_json, say
from common.runtime.cli.text import duration, literal
from common.runtime.exits import EXIT_FAILED, EXIT_NOT_FOUND
from common.wire.vocabulary import Attribution
from poolmgr.cli.names import bot_ids
from poolmgr.cli.session import Session, with_session
from poolmgr.cli.tables import console, status_cell, table
from poolmgr.cli.text import clock_time, epoch_of
from poolmgr.store.reading.evidence import Bundle
from poolmgr.store.reading.views import Views
from poolmgr.telling import narrative
from poolmgr.telling.history import BotHistory, evidence_of, look, rejected
from poolmgr.telling.meaning import meaning_of
from poolmgr.telling.secrecy import hide_links, hide_links_in_record

_DEAD_LOOKED_AT: Final = 10_000


@click.command
@click.argument("bot_id", metavar="BOT", shell_complete=bot_ids())
@click.option(
    "--save",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write what is kept as evidence there, a zip file for each attempt.",
)
@click.option("--show-link", is_flag=True, help="Show meeting links whole: whoever has one can join.")
@with_session
def explain(session: Session, bot_id: str, *, folder: Path | None, show_link: bool) -> None:
    """Say what happened to BOT, from the decision of the pool to the last screen, and what its end means.

    Of a bot that lives it says what it waits for; of a job that was rejected, why. Times are UTC; agents stamp what
    they saw by their own clocks. What is kept as evidence is described in docs/evidence.md.

    Exit code 0 when there is something to say, 4 when nothing is known of such a bot.

    \b
    Examples:
      poolmgr explain 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d
      poolmgr explain 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d --save /tmp/evidence
      poolmgr explain 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d --json | jq -r '.story[] | select(.screen) | .screen'
    """
    history = session.ask(lambda views: look(views, bot_id, session.settings))
    if history is None:
        _explain_unknown(session, bot_id)
        return
    record = history.record if show_link else hide_links_in_record(history.record)
    if session.as_json:
        put_json(_document(history, record))
    else:
        console().print(_page(session, history, record))
    if folder:
        save(session, history, folder)


def make_ready(folder: Path) -> None:
    """Check that files can be written in the folder. Ends the program if not."""
    try:
        files.make_ready(folder)
    except OSError as error:
        fail(f"cannot write to {folder}: {error.strerror}", EXIT_FAILED)


def save(session: Session, history: BotHistory, folder: Path) -> list[Path]:
    """Write the bundles that Redis has, and print where. Ends the program when they cannot be written."""
    bot_id = history.record.bot_id
    bundles = session.ask(lambda views: _bundles(views, bot_id, history.kept))
    if not bundles:
        say(f"there is no evidence of bot {bot_id} here to be saved")
    written: list[Path] = []
    for bundle in bundles:
        path = folder / f"{bundle.name}.zip"
        try:
            files.make_ready(folder)
            files.write(path, bundle.data)
        except OSError as error:
            fail(f"cannot write {path}: {error.strerror}", EXIT_FAILED)
        say(f"saved {path}")
        written.append(path)
    return written


async def _bundles(views: Views, bot_id: str, attempts: list[int]) -> list[Bundle]:
    found = [await views.evidence.bundle(bot_id, attempt) for attempt in attempts]
    return [bundle for bundle in found if bundle]


def _document(history: BotHistory, record: Record) -> dict[str, Any]:
    meaning = meaning_of(record.status_reason)
    return {
        "bot": record.texts(),
        "story": [msgspec.to_builtins(entry) for entry in history.entries],
        "means": {"what": meaning.what, "do": meaning.do} if meaning else None,
        "waits_for": history.waits_for,
        "evidence": [{"name": name, "is_here": is_here} for name, is_here in evidence_of(history)],
    }


def _page(session: Session, history: BotHistory, record: Record) -> Group:
    parts: list[Any] = [_head(record)]
    if history.waits_for:
        parts += [Text("It waits for", "bold"), *(Text(f"  {literal(reason)}") for reason in history.waits_for), Text()]
    parts += [lines_of(history), Text()]
    if evidence := evidence_of(history):
        elsewhere = "kept elsewhere" if session.settings.evidence.upload_url else "on its way, or its time is over"
        parts.append(Text("Evidence", "bold"))
        parts += [Text(f"  {literal(name)}: {'here' if here else elsewhere}") for name, here in evidence]
        if any(here for _, here in evidence):
            parts.append(Text(f"  poolmgr explain {literal(history.record.bot_id)} --save DIR", "dim"))
    return Group(*parts)


def _head(record: Record) -> Group:
    first = Text("bot ", "bold")
    first.append(literal(record.bot_id), "bold")
    first.append("  ")
    first.append(status_cell(record.status))
    reason = record.status_reason
    attribution = record.attribution
    if reason:
        first.append(f"  {literal(reason)}")
    if attribution in set(Attribution):
        first.append(f", {narrative.WHOSE[Attribution(attribution)]}")
    lines = [first, Text(f"  {literal(record.meeting_url)}", "dim")]
    if detail := record.reason_detail:
        lines.append(Text(f"  {literal(detail)}"))
    if record.is_over and (meaning := meaning_of(reason)):
        lines.append(Text(f"  What it means  {meaning.what}"))
        lines.append(Text(f"  What to do     {meaning.do or 'nothing'}"))
    return Group(*lines, Text())


def lines_of(history: BotHistory) -> Any:
    grid = table("WHEN (UTC)", "AFTER", "WHAT HAPPENED", right=("AFTER",), whole=("WHEN (UTC)", "AFTER"))
    before: float | None = None
    for at, text in narrative.sentences(history.entries, history.record):
        moment = epoch_of(at)
        after = "" if moment is None or before is None else f"+{duration(moment - before)}"
        grid.add_row(clock_time(moment) if moment is not None else "", after, Text(literal(hide_links(text))))
        before = moment
    return grid


def _explain_unknown(session: Session, bot_id: str) -> None:
    job = session.ask(lambda views: rejected(views, bot_id, most=_DEAD_LOOKED_AT))
    if job is None:
        waiting = session.ask(lambda views: views.standing()).jobs_waiting
        where = f" {waiting} jobs wait to be taken; it may be among them." if waiting else ""
        fail(f"nothing is known of a bot {bot_id}: never came, or its time is over.{where}", EXIT_NOT_FOUND)
    detail = hide_links(job.detail)
    if session.as_json:
        put_json({"rejected": {"at": job.at, "reason": job.reason, "detail": detail}})
        return
    shown = epoch_of(job.at) or time.time()
    console().print(Text(f"bot {literal(bot_id)}: its job was rejected", "bold"))
    console().print(Text(f"  {clock_time(shown)}  {literal(job.reason)}: {literal(detail)}"), soft_wrap=True)
    console().print(Text('  What to do: "Jobs in dead" in docs/operations.md; `poolmgr dead` shows what was pushed'))
