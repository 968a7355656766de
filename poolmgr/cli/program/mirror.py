"""`mirror`: copies session records into a table of DynamoDB, beside the managers."""

import asyncio

import click

from common.config.settings import Settings
from common.runtime.cli.session import Session, fail, with_session
from common.runtime.cli.start import begin
from common.runtime.exits import EXIT_FAILED, EXIT_USAGE
from poolmgr.cli.root import PROGRAM


@click.command
@with_session
def mirror(session: Session) -> None:
    """Copy session records into a table of Amazon DynamoDB, until SIGTERM or SIGINT.

    It follows the status stream in a process of its own, so that no manager waits for it. Its position is in Redis: it
    goes on where it was, and where the stream is not as long any more it goes through all records. Two may run; then
    both write the same. docs/mirror.md has the table.

    \b
    Example:
      POOLMGR_MIRROR__TABLE=bots poolmgr mirror --config /etc/poolmgr/config.toml
    """
    settings = session.settings
    if not settings.mirror.table:
        fail("cannot mirror: mirror.table names no table; docs/mirror.md says how to make one", EXIT_USAGE)
    from poolmgr.mirror.table import CannotMirrorError

    settings = begin(session, PROGRAM)
    try:
        asyncio.run(_run(settings))
    except CannotMirrorError as error:
        fail(str(error), EXIT_FAILED)


async def _run(settings: Settings) -> None:
    from common.runtime.clock import Clock
    from common.runtime.loop.turns import Turns
    from common.runtime.redis.client import connect
    from common.runtime.service import Service, telling
    from common.runtime.waiting import stop_on_signals
    from poolmgr.mirror.following import Mirror
    from poolmgr.mirror.table import Table
    from poolmgr.store.keys import Keys
    from poolmgr.store.mirroring import Mirrored

    stop = stop_on_signals()
    service, clock, table = Service.of_environment(), Clock(), Table(settings.mirror)
    redis, turns = connect(settings.redis), Turns(clock.steady)
    made = Mirror(Mirrored(redis, Keys(settings.redis.prefix)), table, settings, clock, turns)
    try:
        async with telling(service, lambda: made.status, turns):
            service.ready()
            await made.run(stop)
            service.stopping()
    finally:
        await table.close()
        await redis.aclose()
