"""`check`: checks the configuration and the rules of pages, before an agent is started with them."""

import click
from msgspec.structs import replace

from common.runtime import log
from common.runtime.cli.config import where_from
from common.runtime.cli.session import Session, fail, put_json, with_session
from common.runtime.exits import EXIT_USAGE
from worker.agent import CannotStartError, read_rules
from worker.cli.root import PROGRAM
from worker.platforms import adapters


@click.command
@click.option("--adapters", "adapters_dir", help="A folder of rules, in place of worker.adapters_dir.")
@with_session
def check(session: Session, adapters_dir: str | None) -> None:
    """Check the configuration, the adapters and the rules in worker.adapters_dir; start nothing.

    What a selector finds on a page is not known here: `poolmgr-worker probe LINK` shows that.

    \b
    Examples:
      poolmgr-worker check --config /etc/poolmgr/config.toml
      poolmgr-worker check --adapters ./adapters --json
    """
    settings = session.settings
    log.configure(settings.log, program=PROGRAM)
    worker = settings.worker if adapters_dir is None else replace(settings.worker, adapters_dir=adapters_dir)
    try:
        read_rules(worker)
    except CannotStartError as error:
        fail(str(error), EXIT_USAGE)
    counts = {
        platform: {"screens": len(adapter.rules.screen), "popups": len(adapter.rules.popup)}
        for platform, adapter in adapters().items()
    }
    if session.as_json:
        put_json({"ok": True, "file": str(session.path) if session.path else None, "adapters": counts})
        return
    click.echo(f"ok: {where_from(session)}")
    for platform, number in counts.items():
        click.echo(f"{platform}: {number['screens']} screens, {number['popups']} popups")
