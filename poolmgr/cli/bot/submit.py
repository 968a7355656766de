"""`submit`: checks one job and pushes it."""

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

import click

from common.config import variables
from common.jobs.job import BadJobError, JobRules, parse_job
from common.runtime.cli.session import fail, line_of_input, put_json, say
from common.runtime.cli.text import literal
from common.runtime.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from common.wire.labels import named
from common.wire.vocabulary import OnWorkerLost, Status
from poolmgr.cli.session import Session, say_if_unled, with_session, with_waiting
from poolmgr.store.reading.views import Views
from poolmgr.telling.secrecy import hide_links

_DEAD_LOOKED_AT = 50


@click.command
@click.argument("link")
@click.option("--name", "bot_name", metavar="NAME", help="What the bot is called in the meeting.  [default: Notetaker]")
@click.option(
    "--join-at",
    metavar="ISO8601",
    help="When to join, at most a year ahead; without an offset it is UTC.  [default: now]",
)
@click.option("--bot-id", metavar="ID", help="The id the bot is to have.  [default: a new random one]")
@click.option("--user-id", metavar="ID", help="Your own id of the user, kept with the bot.")
@click.option("--calendar-event-id", metavar="ID", help="Your own id of the calendar event, kept with the bot.")
@click.option("--priority", type=int, metavar="N", help="-1000 to 1000; higher goes first.  [default: 0]")
@click.option(
    "--on-worker-lost",
    type=click.Choice([choice.value for choice in OnWorkerLost]),
    help="What becomes of the bot when its browser or VM is lost in mid-meeting.  [default: the manager's setting]",
)
@click.option(
    "--dedup-key", "deduplication_key", metavar="KEY", help="Rejected if a job with the same key came before."
)
@click.option("--callback-url", metavar="URL", help="Where the bot's webhooks go (`poolmgr webhooks BOT` shows them).")
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    metavar="KEY=VALUE",
    help="One of the bot's custom_attributes, by which it is found; VALUE is JSON, or else text. May be repeated.",
)
@click.option(
    "--require",
    "requires",
    multiple=True,
    metavar="LABEL=VALUE",
    help="A label that its VM has to have (worker.labels there): it waits for one that has. May be repeated.",
)
@click.option(
    "--message", "bot_message", metavar="TEXT", help="What the bot says in the chat once it is in the meeting."
)
@click.option(
    "--passcode",
    metavar="CODE",
    envvar=variables.SUBMIT_PASSCODE,
    help="What the bot types where the page asks for a passcode.",
)
@click.option(
    "--queue-timeout",
    type=float,
    metavar="S",
    help="How long to wait for a worker, never longer than pool.queue_timeout_s.  [default: that]",
)
@click.option(
    "--join-late-limit",
    type=float,
    metavar="S",
    help="How long after its time to join it may still be sent in, at least 1; later it ends as missed_start."
    "  [default: pool.join_late_limit_s]",
)
@click.option(
    "--one-bot-per-meeting/--bot-of-its-own",
    default=None,
    help="The job is rejected while a bot that asked for the same is in that meeting, or is to be; or it gets a bot in"
    " any case.  [default: pool.one_bot_per_meeting]",
)
@with_waiting("until the bot has ended; print each status change")
@with_session
def submit(
    session: Session,
    link: str,
    *,
    attributes: tuple[str, ...],
    requires: tuple[str, ...],
    wait: bool,
    timeout_s: float | None,
    **options: str | float | None,
) -> None:
    """Send a bot into the meeting at LINK and print its bot_id.

    The job is checked by the rules of the manager before it is pushed; if LINK is not a meeting link, the exit code is
    2. The checks use [meetings] and [webhooks] of the configuration that this command reads.

    LINK may be `-`: it is then read from standard input, and does not show in the list of processes. Nor does a
    passcode in the variable POOLMGR_SUBMIT_PASSCODE.

    With --wait the exit code is 0 when the bot ended well (Stopped), 1 when it ended otherwise or was rejected, 6 on
    --timeout. Ctrl-C stops watching, not the bot. Times are UTC.

    \b
    Examples:
      poolmgr submit http://127.0.0.1:8090/r/standup
      poolmgr submit http://127.0.0.1:8090/r/standup --name "Ada's notetaker" --wait
      poolmgr submit http://127.0.0.1:8090/r/standup --join-at "$(date -d 'tomorrow 9:00' -Is)"
      echo "$LINK" | poolmgr submit - --dedup-key "standup-2030-01-31"
      echo "$LINK" | poolmgr submit - --one-bot-per-meeting --wait
      poolmgr submit http://127.0.0.1:8090/r/standup --require region=eu
      poolmgr submit http://127.0.0.1:8090/r/standup --join-at 2030-01-31T09:00Z --join-late-limit 600
      id=$(poolmgr submit http://127.0.0.1:8090/r/standup) && poolmgr bots "$id"
    """
    if link == "-":
        link = line_of_input().strip()
    job: dict[str, Any] = {"meeting_link": link, "bot_id": uuid.uuid4().hex}
    job |= {name: value for name, value in options.items() if value is not None}
    if attributes:
        job["custom_attributes"] = dict(map(_attribute, attributes))
    if requires:
        job["requires"] = dict(_halves("--require", text, "LABEL=VALUE") for text in requires)
    bot_id: str = job["bot_id"]
    payload, warnings = _checked(session, job)
    after = session.ask(lambda views: _push(session, views, payload, job, warnings))
    if not wait:
        return
    try:
        end = session.ask(lambda views: _watch(session, views, bot_id, after, timeout_s))
    except KeyboardInterrupt:
        fail(f"stopped watching; bot {bot_id} goes on (`poolmgr leave {bot_id}` ends it)", EXIT_INTERRUPTED)
    if end.get("status") != Status.STOPPED:
        raise SystemExit(EXIT_FAILED)


def _attribute(text: str) -> tuple[str, Any]:
    key, value = _halves("--attribute", text, "KEY=VALUE")
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):
        return key, value


def _halves(option: str, text: str, form: str) -> tuple[str, str]:
    """What stands before and after the equals sign. Ends the program if there is none."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        fail(f"{option} {literal(text)}: write it as {form}", EXIT_USAGE)
    return key, value


def _checked(session: Session, job: dict[str, Any]) -> tuple[bytes, Sequence[str]]:
    """The payload of a valid job, and its warnings. Ends the program if the job is not valid."""
    payload = json.dumps(job).encode()
    try:
        found = parse_job(payload, time.time(), JobRules.of(session.settings)).warnings
    except BadJobError as error:
        fail(hide_links(str(error)), EXIT_USAGE)
    for warning in found:
        say(f"warning: {warning}")
    return payload, found


async def _push(session: Session, views: Views, payload: bytes, job: dict[str, Any], warnings: Sequence[str]) -> str:
    """Push the job. Returns the position in the status stream after which the bot's changes come."""
    bot_id: str = job["bot_id"]
    required: dict[str, str] = job.get("requires", {})
    if required and not any(vm.has(required) for vm in await views.fleet()):
        unmet = f"requires: no VM of the fleet has {named(required)} at present; the bot waits for one"
        warnings = (*warnings, unmet)
        say(f"warning: {unmet}")
    if await views.bot(bot_id):
        fail(f"there is a bot {bot_id} already (`poolmgr bots {bot_id}` shows it)", EXIT_FAILED)
    after = await views.last_status_id()  # before the push, so that no change is missed
    await views.submit(payload, bot_id=bot_id, by=session.by)
    if session.as_json:
        put_json({"bot_id": bot_id, **({"warnings": warnings} if warnings else {})})
    else:
        click.echo(bot_id)
    say_if_unled((await views.standing()).leader, "the job waits in the queue")
    return after


async def _watch(session: Session, views: Views, bot_id: str, after: str, timeout_s: float | None) -> dict[str, str]:
    from poolmgr.cli.bot.watch import REJECTED, watch_to_end

    end = await watch_to_end(session, views, bot_id, after, timeout_s=timeout_s)
    if end.get("state") == REJECTED:
        rejected = [job for job in await views.dead(most=_DEAD_LOOKED_AT) if job.bot_id == bot_id]
        say(f"the job was rejected: {hide_links(rejected[0].detail) if rejected else end.get('reason', '')}")
    return end
