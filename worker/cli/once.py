"""`once`: one bot from its job to its end, without a manager and without Redis."""

import sys
import time
import uuid
from pathlib import Path
from typing import Final

import click
import msgspec
import uvloop

from common.config.settings import Settings
from common.jobs.job import MAX_JOB_BYTES, BadJobError, JobRules, parse_job
from common.jobs.record import Job
from common.runtime import files
from common.runtime.cli.session import Session, fail, put_json, say, with_session
from common.runtime.cli.start import begin
from common.runtime.cli.text import literal
from common.runtime.cli.version import release
from common.runtime.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED, EXIT_USAGE
from common.runtime.waiting import stop_on_signals
from common.wire.vocabulary import Attribution, Status
from worker.agent import CannotStartError, read_rules
from worker.cli.root import PROGRAM
from worker.once import CannotJoinError, Outcome
from worker.once import once as run_once
from worker.receiver import Receiver

_STDIN: Final = "-"


@click.command
@click.option(
    "--job",
    "job_text",
    metavar="JSON|FILE|-",
    required=True,
    help="The job, as it is pushed to Redis: itself, a file that holds it, or - for standard input.",
)
@click.option(
    "--save",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write evidence of an end that nobody wished for there.",
)
@click.option(
    "--webhooks-s",
    type=click.FloatRange(min=0, max=86400),
    default=300.0,
    show_default=True,
    help="How long after its end a receiver that does not answer is called, in seconds.",
)
@with_session
def once(session: Session, job_text: str, *, folder: Path | None, webhooks_s: float) -> None:
    """Join the meeting of one job, stay until the end, and end: for a machine or a container for each bot.

    Needs neither Redis nor a manager. Starts one browser as the agent does, waits for `join_at` if the job has one,
    joins, and sends the job's webhooks itself, in order and signed as a manager's are ([webhooks]). Evidence goes to
    `evidence.upload_url` or to --save, recordings to `capture.store`. It is tried once: nothing sends the bot in
    again, and nothing is left of it when the process dies. SIGTERM and Ctrl-C make the bot leave in good order.

    \b
    Examples:
      poolmgr-worker once --job '{"meeting_link": "http://127.0.0.1:8090/r/standup"}'
      poolmgr-worker once --job /etc/job/job.json --config /etc/poolmgr/config.toml
      echo "$JOB" | poolmgr-worker once --job - --json

    Exit code 0 when it was in the meeting and came to its end there, 7 when the meeting did not take it, 1 when it
    failed, 2 for a job or a configuration that is none, 130 when it was stopped before it was in the meeting.
    """
    settings = begin(session, PROGRAM)
    try:
        read_rules(settings.worker)
        if folder:
            files.make_ready(folder)
        job = _job(settings, _payload(job_text))
        for warning in job.warnings:
            say(f"note: {warning}")
        outcome = uvloop.run(_once(settings, job, folder, webhooks_s))
    except BadJobError as error:
        fail(f"cannot take the job: {error.reason}: {error}", EXIT_USAGE)
    except OSError as error:
        fail(f"cannot write to {folder}: {error.strerror}", EXIT_USAGE)
    except (CannotJoinError, CannotStartError) as error:
        fail(str(error), EXIT_USAGE)
    sys.exit(_conclude(job, outcome, session.as_json))


async def _once(settings: Settings, job: Job, folder: Path | None, webhooks_s: float) -> Outcome:
    receiver = Receiver(job, settings.webhooks, f"poolmgr/{release()}")
    return await run_once(settings, job, stop_on_signals(), receiver, folder, webhooks_s)


def _payload(said: str) -> bytes:
    """Ends the program for a file that cannot be read."""
    if said == _STDIN:
        return sys.stdin.buffer.read(MAX_JOB_BYTES + 1)
    if said.lstrip().startswith("{"):
        return said.encode()
    try:
        with Path(said).open("rb") as file:
            return file.read(MAX_JOB_BYTES + 1)
    except OSError as error:
        fail(f"cannot read the job from {literal(said[:200])}: {error.strerror}", EXIT_USAGE)


def _job(settings: Settings, payload: bytes) -> Job:
    """Raises: BadJobError."""
    job = parse_job(payload, time.time(), JobRules.of(settings))
    return job if job.bot_id else msgspec.structs.replace(job, bot_id=uuid.uuid4().hex)


def exit_code(outcome: Outcome) -> int:
    end = outcome.ended.reason.end if outcome.ended else None
    if outcome.stopped and not outcome.joined:
        return EXIT_INTERRUPTED
    if end is None:
        return EXIT_FAILED
    if end.status is Status.STOPPED:
        return 0
    return EXIT_REFUSED if end.attribution in (Attribution.HOST, Attribution.USER) else EXIT_FAILED


def _conclude(job: Job, outcome: Outcome, as_json: bool) -> int:
    """Print the result. Returns the exit code."""
    code = exit_code(outcome)
    reason = outcome.ended.reason if outcome.ended else ""
    status = outcome.ended.reason.end.status if outcome.ended else Status.ERROR
    if as_json:
        facts = {"bot_id": job.bot_id, "status": status, "reason": reason, "joined": outcome.joined}
        put_json({**facts, "why": outcome.why, "webhooks_untold": outcome.untold, "exit_code": code})
    else:
        click.echo(f"{job.bot_id}  {status}  {reason or literal(outcome.why)}")
    if outcome.untold:
        say(f"{outcome.untold} webhooks were not delivered; the log says which")
    return code
