"""The command line of the agent, and the one place where it chooses its event loop."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import uvloop
from msgspec.structs import replace

from runtime import config, files, log
from runtime.waiting import stop_on_signals
from wire.links import BadLinkError, recognise
from wire.messages import AutomaticLeave, BotEnded, BotMoved, BotSaw, Event, Join, JoinRefused, WorkerGone, WorkerWarm
from wire.settings import BadSettingsError, LogSettings, Settings
from wire.vocabulary import ENDS, Attribution, GoneCause
from worker.agent import CannotStartError, read_rules, sweep_left
from worker.agent import run as run_agent
from worker.platforms import adapter_for, adapters
from worker.probe import WORKER_ID, CannotProbeError, Outcome
from worker.probe import probe as run_probe
from worker.sign_in import CannotSignInError, account_named
from worker.sign_in import sign_in as sign_in_by_hand

FAILED = 1
USAGE_ERROR = 2
REFUSED = 7
INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The agent of one VM: keeps browsers warm and takes meeting bots into their calls.

    It does what the manager (`poolmgr serve`) orders over Redis. Run one agent on each VM.
    """


@main.command()
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="TOML file; config.example.toml explains each key."
)
def run(config_file: Path | None) -> None:
    """Run the agent until SIGTERM or Ctrl-C.

    \b
    Example, on a machine with Redis and Chromium:
        POOLMGR_WORKER__STATE_DIR=/tmp/poolmgr poolmgr-worker run
    With a file, as the systemd unit does it:
        poolmgr-worker run --config /etc/poolmgr/config.toml

    Every key of the file can be overridden from the environment, as POOLMGR_SECTION__KEY.

    The first signal lets the calls that are under way end (up to worker.drain_timeout_s), a second one makes them
    leave now. SIGUSR1 ends the agent alone: the next one finds its browsers again, and no call notices.

    Exit code 0 after an orderly end, 2 when something has to be put right before it can start.
    """
    try:
        settings = config.load(config_file)
        log.configure(settings.log, program="poolmgr-worker")
        uvloop.run(run_agent(settings))
    except BadSettingsError as error:
        _give_up(error.faults)
    except CannotStartError as error:
        _give_up([str(error)])


@main.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML file, as for run.")
def sweep(config_file: Path | None) -> None:
    """End all browsers that an agent left behind, with the calls they are in.

    For a VM where no agent is to be started again: otherwise the next one finds them by itself. Refuses while an agent
    runs.
    """
    try:
        settings = config.load(config_file)
        log.configure(settings.log, program="poolmgr-worker")
        for worker_id in sweep_left(settings):
            click.echo(worker_id)
    except BadSettingsError as error:
        _give_up(error.faults)
    except CannotStartError as error:
        _give_up([str(error)])


@main.command("sign-in")
@click.argument("name")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML file, as for run.")
def sign_in(name: str, config_file: Path | None) -> None:
    """Sign in to the account NAME of worker.accounts, by hand, and keep its state file.

    Shows a browser (DISPLAY says where) at the platform's sign-in page. Sign in there, come back and press Enter. Bots
    for that platform then join as this person, one at a time. Run it as the agent's user: only that may read the file.
    """
    try:
        settings = config.load(config_file)
        log.configure(settings.log, program="poolmgr-worker")
        account = account_named(name, settings.worker)
        click.echo("Press Enter when you are signed in.", err=True)
        uvloop.run(sign_in_by_hand(account, settings.worker, lambda: asyncio.to_thread(sys.stdin.readline)))
        click.echo(f"saved {account.state_file}")
    except BadSettingsError as error:
        _give_up(error.faults)
    except CannotSignInError as error:
        _give_up([str(error)])


@main.command()
@click.argument("link")
@click.option("--name", "bot_name", metavar="NAME", default="Probe", show_default=True, help="What the bot is called.")
@click.option(
    "--passcode",
    metavar="CODE",
    default="",
    envvar="POOLMGR_PROBE_PASSCODE",
    help="What it types where the page asks for a passcode.",
)
@click.option(
    "--stay",
    "stay_s",
    type=click.IntRange(min=1, max=86400),
    metavar="S",
    help="How long it stays once it is in.  [default: a few seconds]",
)
@click.option(
    "--save",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write what it saw there: a zip file with a picture of each screen.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of text for people.")
@click.option("--log-level", default="error", metavar="LEVEL", help="Of the agent's own log.  [default: error]")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML file, as for run.")
def probe(
    link: str,
    *,
    bot_name: str,
    passcode: str,
    stay_s: int | None,
    folder: Path | None,
    as_json: bool,
    log_level: str,
    config_file: Path | None,
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
    try:
        settings = config.load(config_file)
        log.configure(LogSettings(level=log_level), program="poolmgr-worker")
        read_rules(settings.worker)
        if folder:
            _make_ready(folder)
        join = _join(settings, sys.stdin.readline().strip() if link == "-" else link, bot_name, passcode, stay_s)
        outcome = uvloop.run(_probe(settings, join, folder, as_json))
    except BadSettingsError as error:
        _give_up(error.faults)
    except (BadLinkError, CannotProbeError, CannotStartError) as error:
        _give_up([str(error)])
    else:
        sys.exit(_conclude(outcome, as_json))


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
        click.echo(f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3] + f"  {text}")


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
    """Say what came of it. Returns the exit code."""
    end = ENDS[outcome.ended.reason] if outcome.ended else None
    if outcome.joined:
        word, code = "joined", 0
    elif outcome.stopped:
        word, code = "stopped", INTERRUPTED
    elif end and end.attribution in (Attribution.HOST, Attribution.USER):
        word, code = "refused", REFUSED
    else:
        word, code = "failed", FAILED
    if as_json:
        reason = outcome.ended.reason if outcome.ended else ""
        click.echo(msgspec.json.encode({"outcome": word, "reason": reason, "why": outcome.why}))
    else:
        click.echo(f"{word}{'' if outcome.ended or outcome.stopped else f': {outcome.why}'}", err=True)
    return code


@main.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML file, as for run.")
@click.option("--adapters", "adapters_dir", help="A folder of rules, in place of worker.adapters_dir.")
def check(config_file: Path | None, adapters_dir: str | None) -> None:
    """Check the configuration, the adapters and the rules in worker.adapters_dir; start nothing.

    What a selector finds on a page is not known here: `poolmgr-worker probe LINK` shows that.
    """
    try:
        settings = config.load(config_file)
        log.configure(settings.log, program="poolmgr-worker")
        worker = settings.worker if adapters_dir is None else replace(settings.worker, adapters_dir=adapters_dir)
        read_rules(worker)
    except BadSettingsError as error:
        _give_up(error.faults)
    except CannotStartError as error:
        _give_up([str(error)])
    for platform, adapter in adapters().items():
        rules = adapter.rules
        click.echo(f"{platform}: {len(rules.screen)} screens, {len(rules.popup)} popups")


def _give_up(faults: list[str]) -> None:
    for fault in faults:
        click.echo(f"poolmgr-worker: {fault}", err=True)
    sys.exit(USAGE_ERROR)


if __name__ == "__main__":
    main()
