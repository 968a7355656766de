"""`probe`: tries a meeting with one bot from this machine, without Redis and without a manager."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import uvloop

from common.config.settings import LogSettings, Settings
from common.links.links import BadLinkError, recognise
from common.runtime import files, log
from common.runtime.cli import options
from common.runtime.cli.session import Session, fail, line_of_input, with_session
from common.runtime.cli.text import literal
from common.runtime.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED, EXIT_USAGE
from common.runtime.waiting import stop_on_signals
from common.wire.messages import (
    AutomaticLeave,
    BotEnded,
    BotMoved,
    BotSaw,
    Event,
    Join,
    JoinRefused,
    WorkerGone,
    WorkerWarm,
)
from common.wire.vocabulary import Attribution, GoneCause
from worker.agent import CannotStartError, read_rules
from worker.cli.root import PROGRAM
from worker.platforms import adapter_for
from worker.probe import WORKER_ID, CannotProbeError, Outcome
from worker.probe import probe as run_probe


@click.command
@click.argument("link")
@options.bot_name
@options.passcode
@options.stay
@options.save_seen
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="error",
    show_default=True,
    help="Of the agent's own log.",
)
@with_session
def probe(
    session: Session,
    link: str,
    *,
    bot_name: str,
    passcode: str | None,
    stay_s: int | None,
    folder: Path | None,
    log_level: str,
) -> None:
    """Try from this machine alone whether a bot gets into the meeting at LINK.

    Needs neither Redis nor a manager, and may run beside an agent. Starts one browser as the agent does, joins,
    prints each screen and the rule that recognised it, stays a few seconds, leaves, and leaves nothing behind. LINK
    may be `-`: it is then read from standard input.

    \b
    Examples:
      poolmgr-worker probe http://127.0.0.1:8090/r/standup --save /tmp/probe
      echo "$LINK" | poolmgr-worker probe - --stay 30

    Exit code 0 when it was in the meeting, 7 when the meeting did not take it, 1 when it failed, 2 for a link that is
    none. Ctrl-C makes it leave; before it was in the meeting the exit code is then 130.
    """
    settings = session.settings
    log.configure(LogSettings(level=log_level), program=PROGRAM)
    try:
        read_rules(settings.worker)
        if folder:
            _make_ready(folder)
        join = _join(settings, line_of_input().strip() if link == "-" else link, bot_name, passcode or "", stay_s)
        outcome = uvloop.run(_probe(settings, join, folder, session.as_json))
    except (BadLinkError, CannotProbeError, CannotStartError) as error:
        fail(str(error), EXIT_USAGE)
    sys.exit(_conclude(outcome, session.as_json))


def _join(settings: Settings, link: str, bot_name: str, passcode: str, stay_s: int | None) -> Join:
    """Raises: BadLinkError, CannotProbeError."""
    hosts = settings.meetings
    found = recognise(link, hosts.room_hosts, hosts.jitsi_hosts, hosts.other_hosts, guess_hosts=hosts.guess_hosts)
    if adapter_for(found.platform) is None:
        raise CannotProbeError(f"cannot join: there is no adapter for {found.platform}")
    leave = AutomaticLeave(in_call_recording_timeout=stay_s) if stay_s else AutomaticLeave()
    return Join(WORKER_ID, WORKER_ID, 1, found.platform, found.url, bot_name, leave, passcode=passcode, is_probe=True)


def _make_ready(folder: Path) -> None:
    """Raises: CannotProbeError."""
    try:
        files.make_ready(folder)
    except OSError as error:
        raise CannotProbeError(f"cannot write to {folder}: {error.strerror}") from error


async def _probe(settings: Settings, join: Join, folder: Path | None, as_json: bool) -> Outcome:
    stop = stop_on_signals()

    def keep(name: str, data: bytes) -> bool:
        if folder is None:
            return False
        path = folder / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S}.zip"
        files.write(path, data)
        click.echo(f"saved {path}", err=True)
        return True

    return await run_probe(settings, join, stop, lambda event: _tell(event, as_json=as_json), keep)


def _tell(event: Event, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(event))
    elif text := _sentence(event):
        click.echo(f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3] + f"  {literal(text)}")


def _sentence(event: Event) -> str:
    match event:
        case WorkerWarm(took_s=took_s):
            return f"a browser is warm, after {took_s:.2f} s"
        case BotSaw(screen=screen, rule=rule, did=did):
            return f"the bot did: {did}" if did else f"the page showed {screen}{f' (rule {rule})' if rule else ''}"
        case BotMoved(state=state):
            return f"now {state}"
        case JoinRefused(cause=cause):
            return f"refused: {cause}"
        case BotEnded(reason=reason, detail=detail):
            return f"ended: {reason}{f': {detail}' if detail else ''}"
        case WorkerGone(cause=cause, detail=detail) if cause is not GoneCause.SPENT:
            return f"the browser is gone: {cause}{f', {detail}' if detail else ''}"
        case _:
            return ""


def _conclude(outcome: Outcome, as_json: bool) -> int:
    """Print the result. Returns the exit code."""
    end = outcome.ended.reason.end if outcome.ended else None
    if outcome.joined:
        word, code = "joined", 0
    elif outcome.stopped:
        word, code = "stopped", EXIT_INTERRUPTED
    elif end and end.attribution in (Attribution.HOST, Attribution.USER):
        word, code = "refused", EXIT_REFUSED
    else:
        word, code = "failed", EXIT_FAILED
    if as_json:
        reason = outcome.ended.reason if outcome.ended else ""
        click.echo(msgspec.json.encode({"outcome": word, "reason": reason, "why": outcome.why}))
    else:
        click.echo(f"{word}{'' if outcome.ended or outcome.stopped else f': {outcome.why}'}", err=True)
    return code
