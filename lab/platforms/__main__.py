"""The command line of the pages: `python -m lab.platforms`. Parses, serves until a signal or tries bots, stops."""

import asyncio
import logging
import shlex
import signal
import sys
import time

import click
import structlog

from lab.platforms.cases import CASES, Case
from lab.platforms.hosts import PLATFORMS
from lab.platforms.site import Site, serving
from lab.platforms.trial import Outcome, browser_for, try_all

_ONLY = click.option("--only", type=click.Choice(PLATFORMS), help="Only this platform.")


@click.group()
def main() -> None:
    """Pages of Google Meet, Zoom, Teams and Jitsi to test bots on, under the platforms' own host names."""


@main.command(
    epilog="""\b
Examples:
  python -m lab.platforms serve                              all scenarios, and how to reach them with a browser
  python -m lab.platforms serve --only zoom                  only Zoom's
  python -m lab.platforms serve --listen 0.0.0.0:8443        reachable from other machines

A browser finds the pages by two switches only; the host names of this machine stay as they are."""
)
@click.option("--listen", default="127.0.0.1:8443", show_default=True, metavar="HOST:PORT", help="Where to listen.")
@_ONLY
def serve(listen: str, only: str | None) -> None:
    """Serve the pages until SIGINT or SIGTERM.

    Prints a link for each scenario, with the reason that a bot should end with. A link that no scenario stands for
    leads to a meeting with a lobby; the control page admits from it.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter("needs HOST:PORT, like 127.0.0.1:8443", param_hint="--listen")
    asyncio.run(_serve(host.strip("[]"), int(port), _chosen((), only)))


@main.command(
    name="try",
    epilog="""\b
Examples:
  python -m lab.platforms try --quick                   those that every run of all tests tries
  python -m lab.platforms try --only teams              all of one platform
  python -m lab.platforms try zoom-call passcode        those whose names hold one of these
  python -m lab.platforms try --slow                    also the few that wait ten minutes for media""",
)
@click.argument("names", nargs=-1)
@click.option("--quick", is_flag=True, help="Only those that every run of all tests tries.")
@click.option("--slow", is_flag=True, help="Also those that take minutes each.")
@_ONLY
def try_(names: tuple[str, ...], quick: bool, slow: bool, only: str | None) -> None:
    """Send a real bot into each scenario, and fail unless it ends with the right reason.

    Takes about three seconds a case, six cases at once.
    """
    cases = [case for case in _chosen(names, only) if (slow or case.takes_s < 60) and (case.is_quick or not quick)]
    if not cases:
        raise click.ClickException("no case has such a name; `python -m lab.platforms serve` prints them all")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    sys.exit(asyncio.run(_try(cases)))


def _chosen(names: tuple[str, ...], only: str | None) -> list[Case]:
    chosen = [case for case in CASES if only in (None, case.platform)]
    return [case for case in chosen if any(name in str(case) for name in names)] if names else chosen


async def _serve(host: str, port: int, cases: list[Case]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with serving(port, host) as site:
            for case in cases:
                site.arrange(case.platform, case.code, case.scenario)
            _tell(site, cases)
            await stop.wait()
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def _tell(site: Site, cases: list[Case]) -> None:
    click.echo(f"{'case':45} {'a bot ends with':26} link")
    for case in cases:
        click.echo(f"{case!s:45} {case.reason:26} {case.link}")
    flags = site.chromium_flags()
    click.echo(
        f"\nA browser:  chromium --user-data-dir=/tmp/sites-profile {shlex.join(flags)} https://meet.google.com/-/"
    )
    click.echo(f"A worker:   chromium_arguments = [{', '.join(repr(flag) for flag in flags)}]")
    click.echo("The control page is /-/ on every host; /-/voices plays those who speak.")


async def _try(cases: list[Case]) -> int:
    """The exit code: 1 when a bot did not do as it should."""
    began = time.monotonic()
    async with serving() as site, browser_for(site) as browser:
        outcomes = await try_all(browser, site, cases, _tell_outcome)
    wrong = sum(bool(outcome.faults) for outcome in outcomes)
    click.echo(f"{len(outcomes)} cases, {wrong} wrong, {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


def _tell_outcome(outcome: Outcome) -> None:
    click.echo(f"{'WRONG' if outcome.faults else 'ok':6}{outcome.took_s:5.1f} s  {outcome.case}")
    if outcome.faults:
        for name, lines in (("", outcome.faults), ("saw: ", outcome.seen), ("page: ", outcome.noted)):
            for line in lines:
                click.echo(f"{'':15}{name}{line}")


if __name__ == "__main__":
    main()
