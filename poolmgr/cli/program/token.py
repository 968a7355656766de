"""`token`: makes an API token or another secret, shows it once, and says what to put into the configuration."""

import base64
import hashlib
import json
import re
import secrets
from typing import Final

import click

from common.runtime.cli.session import Session, fail, line_of_input, put_json, say, with_session
from common.runtime.exits import EXIT_USAGE

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SHORTEST: Final = 20
_LONGEST: Final = 512  # characters that the API reads
_SECRET_BYTES: Final = 32


@click.command
@click.argument("name", required=False)
@click.option("--stdin", "from_stdin", is_flag=True, help="Take the token from standard input instead of making one.")
@click.option("--sees", type=click.Choice(["all", "own"]), help="Which bots it may see.  [default: all]")
@click.option("--role", type=click.Choice(["operate", "read"]), help="read: it changes nothing.  [default: operate]")
@click.option("--look", is_flag=True, help="It may look into live bots, where worker.look lets it.")
@click.option(
    "--bots-at-once", type=click.IntRange(min=0), metavar="N", help="How many of its bots may live at a time."
)
@click.option("--webhook-secret", is_flag=True, help="Make a secret for [webhooks] instead.")
@with_session
def token(
    session: Session,
    name: str | None,
    *,
    from_stdin: bool,
    sees: str | None,
    role: str | None,
    look: bool,
    bots_at_once: int | None,
    webhook_secret: bool,
) -> None:
    """Print a new random token for the HTTP API, and the lines of the configuration that let it in.

    Only the token's SHA-256 goes into the configuration: the token itself is shown here once and kept nowhere. NAME
    (a-z, 0-9, - and _) stands for it in logs, and owns its bots. The managers read the configuration when they start.

    With --stdin, a token that you have is hashed, and not shown again; it has to have 20 printable ASCII characters or
    more. With --webhook-secret, what is printed is a secret that webhooks are signed with.

    \b
    Examples:
      poolmgr token crm
      poolmgr token crm --sees own --bots-at-once 20
      poolmgr token wallboard --role read
      pass show poolmgr/crm | poolmgr token crm --stdin
      poolmgr token --webhook-secret
    """
    if webhook_secret:
        if name or from_stdin or sees or role or look or bots_at_once is not None:
            raise click.UsageError("--webhook-secret stands alone")
        _put_webhook_secret(session)
        return
    if not name:
        raise click.UsageError("Missing argument 'NAME'.")
    if not _NAME.fullmatch(name):
        fail("cannot use this name: write 1 to 63 of a-z, 0-9, - and _, the first no - or _", EXIT_USAGE)
    secret = _from_stdin() if from_stdin else f"pm_{secrets.token_urlsafe(32)}"
    entry: dict[str, str | int | bool] = {"name": name, "sha256": hashlib.sha256(secret.encode()).hexdigest()}
    if sees:
        entry["sees"] = sees
    if role:
        entry["role"] = role
    if look:
        entry["look"] = True
    if bots_at_once is not None:
        entry["bots_at_once"] = bots_at_once
    if session.as_json:
        put_json({"config": entry} if from_stdin else {"token": secret, "config": entry})
        return
    if not from_stdin:
        say("this is the token; it is shown this once:")
        click.echo(secret)
    say("these lines let it in, after the other keys of [api], in place of `tokens = []`; then restart the managers:")
    click.echo("[[api.tokens]]")
    for key, value in entry.items():
        click.echo(f"{key} = {json.dumps(value)}")


def _from_stdin() -> str:
    secret = line_of_input()
    if not (_SHORTEST <= len(secret) <= _LONGEST and secret.isascii() and secret.isprintable() and " " not in secret):
        message = f"cannot use this token: it has to be {_SHORTEST} to {_LONGEST} printable ASCII characters, no spaces"
        fail(message, EXIT_USAGE)
    return secret


def _put_webhook_secret(session: Session) -> None:
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"
    if session.as_json:
        put_json({"webhook_secret": secret})
        return
    say("put it first in secrets of [webhooks] (or in POOLMGR_WEBHOOKS__SECRETS), and give it to your receivers:")
    click.echo(secret)
