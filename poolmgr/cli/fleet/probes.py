"""`probes`: shows the results of the probes that the manager sends by itself."""

import time
from typing import Any, Final

import click
import msgspec
from redis.asyncio import Redis

from common.links.redaction import redact
from common.runtime.cli.session import fail, put_json, say
from common.runtime.cli.text import duration
from common.runtime.exits import EXIT_FAILED, EXIT_NOT_FOUND
from poolmgr.cli.session import Session, with_session
from poolmgr.cli.text import NOTHING, moment
from poolmgr.store.keys import Keys
from poolmgr.store.leader.probes import KEPT, ProbeRun, Probes

_MARKED: Final = 20
_MARKS: Final = {"joined": "+", "refused": "r"}


@click.command
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(1, KEPT), default=20, show_default=True, metavar="N", help="At most N.")
@with_session
def probes(session: Session, name: str | None, *, limit: int) -> None:
    """Show what came of the probes of [probes] links: the latest of each, or the history of NAME.

    PAGE is `changed` if no rule matched it, or if a rule matched that no earlier probe of this link saw. The last
    column is the latest 20, the newest first: + joined, r refused, x anything else, and ! if the page had changed.
    Times are UTC.

    Exit code 0 when the latest of each joined on the page it knows, 1 when not, 4 when there is no such link.

    \b
    Examples:
      poolmgr probes
      poolmgr probes meet --limit 100
      poolmgr probes --json | jq -r '.[] | select(.latest.changed) | .name'
    """
    links = [link for link in session.settings.probes.links if name in (None, link.name)]
    if name is not None and not links:
        fail(f"[probes] has no link with the name {name} (`poolmgr config show` lists them)", EXIT_NOT_FOUND)

    async def ask(redis: Redis, keys: Keys) -> list[list[ProbeRun]]:
        found = Probes(redis, keys)
        return [await found.history(link.name, limit if name else _MARKED) for link in links]

    found = session.ask_redis(ask)
    if session.as_json and name:
        put_json([_facts(run) for run in found[0]])
    elif session.as_json:
        put_json(
            [
                {"name": link.name, "link": redact(link.link), "latest": _facts(runs[0]) if runs else None}
                for link, runs in zip(links, found, strict=True)
            ]
        )
    elif not links:
        say("nothing is probed: [probes] links in the configuration names meetings of your own")
    elif name:
        _print_history(found[0])
    else:
        _print([(link.name, runs) for link, runs in zip(links, found, strict=True)])
    if not all(runs[0].outcome == "joined" and not runs[0].changed for runs in found if runs):
        raise SystemExit(EXIT_FAILED)


def _facts(run: ProbeRun) -> dict[str, Any]:
    return msgspec.to_builtins(run)


def _print(rows: list[tuple[str, list[ProbeRun]]]) -> None:
    from poolmgr.cli.tables import cell, console, table  # who prints JSON need not wait for it

    grid = table("PROBE", "PLATFORM", "LATEST", "OUTCOME", "REASON", "JOIN", "PAGE", "HISTORY", right=("JOIN",))
    for name, runs in rows:
        if not runs:
            grid.add_row(cell(name), NOTHING, NOTHING, "none yet", *([NOTHING] * 4))
            continue
        latest = runs[0]
        grid.add_row(
            cell(name),
            cell(latest.platform),
            moment(latest.at, time.time()),
            cell(latest.outcome, "green" if latest.outcome == "joined" else "red"),
            cell(latest.reason),
            _join(latest),
            cell("changed", "bold red") if latest.changed else cell("as before"),
            cell("".join(_mark(run) for run in runs)),
        )
    console().print(grid)


def _print_history(runs: list[ProbeRun]) -> None:
    from poolmgr.cli.tables import cell, console, table

    if not runs:
        say("no probe of it has ended yet")
        return
    grid = table("ENDED", "OUTCOME", "REASON", "JOIN", "PAGE", "NEW ON IT", "BOT", right=("JOIN",), whole=("ENDED",))
    for run in runs:
        grid.add_row(
            moment(run.at, time.time()),
            cell(run.outcome, "green" if run.outcome == "joined" else "red"),
            cell(run.reason or run.detail),
            _join(run),
            cell("changed", "bold red") if run.changed else cell("as before"),
            cell(", ".join(run.new_steps)),
            cell(run.bot_id),
        )
    console().print(grid)


def _join(run: ProbeRun) -> str:
    return NOTHING if run.join_s is None else duration(run.join_s)


def _mark(run: ProbeRun) -> str:
    return "!" if run.changed else _MARKS.get(run.outcome, "x")
