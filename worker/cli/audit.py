"""`audit`: shows what on this VM is overdue or has no owner. Changes nothing."""

import time
from pathlib import Path

import click

from common.runtime.cli import options
from common.runtime.cli.session import Session, fail, put_json, with_session
from common.runtime.cli.text import literal
from common.runtime.exits import EXIT_FAILED, EXIT_USAGE
from worker import audit as rules


@click.command
@options.again_after
@with_session
def audit(session: Session, again_after_s: float) -> None:
    """Look on this VM for bots that are overdue, workers without a browser, folders and processes without an owner.

    Compares the journal, the state folder and the process table. Reads only, and may run beside an agent or without
    one. `poolmgr audit` looks at the rest of the fleet.

    \b
    Examples:
      poolmgr-worker audit --config /etc/poolmgr/config.toml
      poolmgr-worker audit --json --again-after 30

    Exit code 0 when nothing was found, 1 otherwise.
    """
    worker = session.settings.worker
    state_dir = Path(worker.state_dir)
    try:
        found = rules.findings(rules.look(state_dir), worker)
        if found:
            time.sleep(again_after_s)
            found = rules.in_both(found, rules.findings(rules.look(state_dir), worker))
    except rules.CannotAuditError as error:
        fail(str(error), EXIT_USAGE)
    if session.as_json:
        put_json({"findings": [finding._asdict() for finding in found]})
    elif not found:
        click.echo("nothing is overdue, and everything has an owner")
    for kind, of, sentence in () if session.as_json else found:
        click.echo(literal(f"{kind}  {of}: {sentence}"))
    if found:
        raise SystemExit(EXIT_FAILED)
