"""The command line of the agent, and the one place where it chooses its event loop."""

import sys
from pathlib import Path

import click
import uvloop

from runtime import config, log
from wire.settings import BadSettingsError
from worker.agent import CannotStartError, sweep_left
from worker.agent import run as run_agent

USAGE_ERROR = 2


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


def _give_up(faults: list[str]) -> None:
    for fault in faults:
        click.echo(f"poolmgr-worker: {fault}", err=True)
    sys.exit(USAGE_ERROR)


if __name__ == "__main__":
    main()
