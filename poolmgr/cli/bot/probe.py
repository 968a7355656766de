"""`probe`: sends a bot to a meeting and shows each screen, to find out whether the fleet gets in."""

import asyncio
import json
import time
import uuid
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.text import Text

from common.jobs.job import BadJobError, JobRules, parse_job
from common.jobs.record import Record
from common.runtime.cli import options
from common.runtime.cli.session import fail, line_of_input, put_json, say
from common.runtime.cli.text import duration, literal
from common.runtime.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED, EXIT_TIMEOUT, EXIT_USAGE
from poolmgr.cli.bot.explain import make_ready, save
from poolmgr.cli.session import Session, cancelled_by_signals, say_if_unled, with_session
from poolmgr.cli.tables import console
from poolmgr.cli.text import clock_time, epoch_of
from poolmgr.core.events import LeaveRequested
from poolmgr.store.actions import By
from poolmgr.store.reading.views import Views
from poolmgr.store.story import Entry, What
from poolmgr.telling import narrative
from poolmgr.telling.history import BotHistory, look
from poolmgr.telling.meaning import meaning_of
from poolmgr.telling.probes import JOINED, REFUSED, outcome_of
from poolmgr.telling.secrecy import hide_links

_LOOK_S: Final = 0.1
_TAKEN_S: Final = 2.0
"""How long a job that was taken off the list may take to become a bot. Only a bot can be told to leave."""
_REJECTION_LOOKED_AT: Final = 50
_EVIDENCE_S: Final = 20.0
"""How long the evidence may take to come after the bot's end."""


@click.command
@click.argument("link")
@options.bot_name
@options.passcode
@options.stay
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=900.0,
    show_default=True,
    metavar="S",
    help="How long to watch; then it is told to leave.",
)
@options.save_seen
@with_session
def probe(
    session: Session,
    link: str,
    *,
    bot_name: str,
    passcode: str | None,
    stay_s: int | None,
    timeout_s: float,
    folder: Path | None,
) -> None:
    """Send a probe into the meeting at LINK: print each screen and rule as it comes, then leave.

    It takes the way of every bot, over Redis, a manager and an agent; `poolmgr-worker probe` tries a meeting from one
    machine alone. Once in, it stays a few seconds. What it saw is kept as evidence, whatever its end.

    LINK may be `-`: it is then read from standard input, and does not show in the list of processes. Nor does a
    passcode in the variable POOLMGR_PROBE_PASSCODE.

    Exit code 0 when it was in the meeting, 7 when the meeting did not take it (a person, or a passcode, a sign-in, a
    link that leads nowhere), 1 when it failed, 6 on --timeout. However this command ends, by Ctrl-C, SIGTERM or a
    terminal that is gone, the bot leaves.

    \b
    Examples:
      poolmgr probe http://127.0.0.1:8090/r/standup
      poolmgr probe http://127.0.0.1:8090/r/standup --save /tmp/probe --stay 30
      echo "$LINK" | poolmgr probe - --json
    """
    if link == "-":
        link = line_of_input().strip()
    job: dict[str, Any] = {"meeting_link": link, "bot_id": uuid.uuid4().hex, "bot_name": bot_name, "probe": True}
    if passcode:
        job["passcode"] = passcode
    if stay_s:
        job["automatic_leave"] = {"in_call_recording_timeout": stay_s}
    bot_id: str = job["bot_id"]
    payload = _checked(session, job)
    if folder:
        make_ready(folder)
    overdue = f"bot {bot_id} has not ended within {timeout_s:g} s; it was told to leave (`poolmgr explain {bot_id}`)"
    try:
        history = session.ask(lambda views: _probe(session, views, bot_id, payload, timeout_s, overdue))
    except (KeyboardInterrupt, asyncio.CancelledError):
        fail(f"stopped watching; bot {bot_id} has been asked to leave", EXIT_INTERRUPTED)
    if history is None:
        raise SystemExit(EXIT_FAILED)
    if folder:
        save(session, history, folder)
    code = exit_code(history.record)
    _conclude(session, history, code)
    raise SystemExit(code)


def _checked(session: Session, job: dict[str, Any]) -> bytes:
    payload = json.dumps(job).encode()
    try:
        parse_job(payload, time.time(), JobRules.of(session.settings))
    except BadJobError as error:
        fail(hide_links(str(error)), EXIT_USAGE)
    return payload


async def _probe(
    session: Session, views: Views, bot_id: str, payload: bytes, timeout_s: float, overdue: str
) -> BotHistory | None:
    """Push the job and follow its bot to the end. None when it was rejected; that is printed then."""
    ended = False
    with cancelled_by_signals():
        try:
            await views.submit(payload, bot_id=bot_id, by=session.by)
            if session.as_json:
                put_json({"bot_id": bot_id})
            else:
                say(f"bot {bot_id}")
            say_if_unled((await views.standing()).leader, "the probe waits")
            ended = await _follow(session, views, bot_id, time.monotonic() + timeout_s)
        finally:
            if not ended:
                await _call_off(views, bot_id, payload, session.by)
        if not ended:
            fail(overdue, EXIT_TIMEOUT)
        return await _history(session, views, bot_id)


async def _call_off(views: Views, bot_id: str, payload: bytes, by: By) -> None:
    """Take the job off the list, or ask its bot to leave."""
    if await views.take_back(payload):
        return
    until = time.monotonic() + _TAKEN_S
    while time.monotonic() < until:
        if await views.bot(bot_id):
            break
        await asyncio.sleep(_LOOK_S)
    await views.request(LeaveRequested(bot_id), by)


async def _follow(session: Session, views: Views, bot_id: str, deadline: float) -> bool:
    """Print what happens as it happens. Returns True when the bot ended, or its job was rejected."""
    began = time.monotonic()
    seen = 0
    while time.monotonic() < deadline:
        entries = await views.story(bot_id, seen)
        seen += len(entries)
        for entry in entries:
            _put(session, entry, time.monotonic() - began)
        if any(entry.what is What.ENDED for entry in entries):
            return True
        if not seen and await _rejection(views, bot_id):
            return True
        await asyncio.sleep(_LOOK_S)
    return False


async def _rejection(views: Views, bot_id: str) -> str:
    rejected = [job for job in await views.dead(most=_REJECTION_LOOKED_AT) if job.bot_id == bot_id]
    return f"the job was rejected: {hide_links(rejected[0].detail)}" if rejected else ""


async def _history(session: Session, views: Views, bot_id: str) -> BotHistory | None:
    """The bot's history, once its evidence is there or should be."""
    if why := await _rejection(views, bot_id):
        say(why)
        return None
    until = time.monotonic() + _EVIDENCE_S
    settings = session.settings
    while (history := await look(views, bot_id, settings)) and len(history.kept) < len(history.record.evidence.split()):
        if settings.evidence.upload_url or time.monotonic() >= until:
            break
        await asyncio.sleep(_LOOK_S)
    return history


def _put(session: Session, entry: Entry, elapsed_s: float) -> None:
    if session.as_json:
        put_json({**msgspec.to_builtins(entry), "elapsed_s": round(elapsed_s, 3)})
        return
    at = epoch_of(entry.at)
    line = Text(clock_time(at) if at else "", "dim")
    line.append(f"  {'+' + duration(elapsed_s):>9}  ", "default not dim")
    line.append(literal(hide_links(narrative.sentence(entry))), "default not dim")
    console().print(line, soft_wrap=True)


def exit_code(record: Record) -> int:
    """The exit code. 0: the bot was in the meeting."""
    return {JOINED: 0, REFUSED: EXIT_REFUSED}.get(outcome_of(record), EXIT_FAILED)


def _conclude(session: Session, history: BotHistory, code: int) -> None:
    record = history.record
    outcome = outcome_of(record)
    if session.as_json:
        facts = {
            name: getattr(record, name) for name in ("bot_id", "status", "status_reason", "attribution", "evidence")
        }
        put_json({"outcome": outcome, **facts})
        return
    reason = record.status_reason
    say(f"{outcome}: {reason}" if reason else outcome)
    if code and (meaning := meaning_of(reason)):
        say(f"{meaning.what}; what to do: {meaning.do or 'nothing'}")
    if history.kept:
        say(f"`poolmgr explain {record.bot_id} --save DIR` writes what it saw")
