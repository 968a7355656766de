"""`usage`: what each API token used."""

import time
from typing import Any, Final

import click
import msgspec
from redis.asyncio import Redis

from common.runtime.cli.session import put_json, say
from common.runtime.cli.text import duration
from poolmgr.cli.session import Session, with_session
from poolmgr.cli.text import Ago
from poolmgr.store.keys import Keys
from poolmgr.store.usage import MOST_DAYS, Usage, by_day, days, together

_SINCE_S: Final = 30 * 86400.0
_BY_REDIS: Final = "(by Redis)"


@click.command
@click.option("--since", "since_s", type=Ago(), help="Of so long ago until now, whole days: 1d, 90d.  [default: 30d]")
@click.option("--who", metavar="NAME", help="Only of this token.")
@click.option("--by-day", "each_day", is_flag=True, help="Each day by itself.")
@with_session
def usage(session: Session, *, since_s: float | None, who: str | None, each_day: bool) -> None:
    """Print what each API token used: bots, time in meetings, recordings and their size.

    Counted on the day (UTC) on which a bot ended, or its recording was finished, and kept for 400 days, also when the
    bot is long forgotten or its recording deleted. Jobs that came by Redis have no token. JOINED are bots that were in
    their meeting; IN MEETING counts from when a bot was in last to its end.

    \b
    Examples:
      poolmgr usage
      poolmgr usage --since 90d --who crm --by-day
      poolmgr usage --json | jq -r '.[] | [.owner, .in_meeting_s / 60] | @tsv'
    """
    now = time.time()
    since = max(now - MOST_DAYS * 86400, now - (since_s if since_s is not None else _SINCE_S))

    async def ask(redis: Redis, keys: Keys) -> dict[str, list[Usage]]:
        return await by_day(redis, keys, days(since, now))

    found = {
        day: [usage for usage in used if who in (None, usage.owner)] for day, used in session.ask_redis(ask).items()
    }
    whole = [("", usage) for usage in together(found)]
    rows = [(day, usage) for day, used in found.items() for usage in used] if each_day else whole
    if session.as_json:
        put_json([({"day": day} if day else {}) | _facts(usage) for day, usage in rows])
    elif not rows:
        say("nothing was used in that time")
    else:
        _print(rows, each_day=each_day)


def _facts(usage: Usage) -> dict[str, Any]:
    return msgspec.to_builtins(usage)


def _print(rows: list[tuple[str, Usage]], *, each_day: bool) -> None:
    from poolmgr.cli.tables import cell, console, table  # who prints JSON need not wait for it

    numbers = ("BOTS", "JOINED", "IN MEETING", "RECORDINGS", "SOUND", "STORED")
    grid = table(*(("DAY",) if each_day else ()), "TOKEN", *numbers, right=numbers)
    for day, usage in rows:
        grid.add_row(
            *((day,) if each_day else ()),
            cell(usage.owner or _BY_REDIS),
            str(usage.bots),
            str(usage.joined),
            duration(usage.in_meeting_s),
            str(usage.recordings),
            duration(usage.audio_s),
            f"{usage.stored_bytes / 1_000_000:.1f} MB",
        )
    console().print(grid)
