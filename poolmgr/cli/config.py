"""`config`: is the configuration right, and what is it once file and environment are put together."""

import os
from pathlib import Path
from typing import Any, Final, cast

import click
import msgspec

from poolmgr.cli.secrecy import HIDDEN, mask_url
from runtime import config as files
from runtime.cli.session import Session, put_json, say, with_session
from runtime.cli.text import count, literal
from runtime.exits import EXIT_USAGE
from wire.settings import ENVIRONMENT_PREFIX, BadSettingsError, Settings

_READ_ELSEWHERE: Final = frozenset({"POOLMGR_CONFIG", "POOLMGR_PROBE_PASSCODE", "POOLMGR_SUBMIT_PASSCODE"})


@click.group
def config() -> None:
    """Check the configuration, or show it as it takes effect.

    The file is TOML; config.example.toml explains every key. Each key can be overridden from the environment:
    POOLMGR_REDIS__URL is url of [redis]. POOLMGR_CONFIG names the file where --config does not.

    \b
    Examples:
      poolmgr config check /etc/poolmgr/config.toml
      poolmgr config show --config /etc/poolmgr/config.toml
    """


@config.command(short_help="Is the configuration right?")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@with_session
def check(session: Session, file: Path | None) -> None:
    """Print `ok` and where the configuration comes from, or every fault on a line of its own.

    FILE is the same as --config FILE. The environment is checked too. Exit code 2 when something is wrong.

    \b
    Examples:
      poolmgr config check /etc/poolmgr/config.toml
      POOLMGR_POOL__MIN_IDLE=8 poolmgr config check --json
    """
    path = file or session.path
    faults: list[str] = []
    try:
        files.load(path)
    except BadSettingsError as error:
        faults = error.faults
    if session.as_json:
        where = {"file": str(path) if path else None, "environment": sorted(_from_environment().values())}
        put_json({"ok": not faults, **where, "faults": faults})
    elif not faults:
        click.echo(f"ok: {_where(path)}")
    if not session.as_json:
        for fault in faults:
            say(fault)
    for variable in sorted(os.environ):
        if variable.startswith(ENVIRONMENT_PREFIX) and "__" not in variable and variable not in _READ_ELSEWHERE:
            say(f"note: {variable} is not read: a setting's variable is {ENVIRONMENT_PREFIX}SECTION__KEY")
    if faults:
        raise SystemExit(EXIT_USAGE)


@config.command(short_help="Show the effective configuration.")
@with_session
def show(session: Session) -> None:
    """Print the settings as they take effect, as TOML, with secrets masked.

    What comes from the environment says so. Masked are passwords in redis.url and evidence.upload_url, the hashes of
    api.tokens, and webhooks.secrets.

    \b
    Examples:
      poolmgr config show --config /etc/poolmgr/config.toml
      POOLMGR_POOL__MIN_IDLE=8 poolmgr config show
      poolmgr config show --json | jq .settings.pool
    """
    shown = _masked(session.settings)
    variables = _from_environment()
    if session.as_json:
        file = str(session.path) if session.path else None
        put_json({"file": file, "environment": variables, "settings": shown})
        return
    lines = [f"# {_where(session.path)}"]
    for section, keys in shown.items():
        lines += ["", f"[{section}]"]
        for key, value in keys.items():
            variable = variables.get(f"{section}.{key}")
            lines.append(f"{key} = {_toml(value)}{f'  # from {variable}' if variable else ''}")
    click.echo("\n".join(lines))


def _where(path: Path | None) -> str:
    variables = len(_from_environment())
    file = literal(str(path)) if path else "the defaults (no file was named)"
    return f"{file}, overridden by {count(variables, 'variable')} of the environment" if variables else file


def _from_environment() -> dict[str, str]:
    """`section.key` -> the variable that sets it."""
    found: dict[str, str] = {}
    for variable in os.environ:
        if variable.startswith(ENVIRONMENT_PREFIX) and "__" in variable:
            section, _, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
            found[f"{section}.{key}"] = variable
    return found


def _masked(settings: Settings) -> dict[str, dict[str, Any]]:
    shown: dict[str, dict[str, Any]] = msgspec.to_builtins(settings)
    shown["redis"]["url"] = mask_url(settings.redis.url)
    shown["evidence"]["upload_url"] = mask_url(settings.evidence.upload_url)
    for token in shown["api"]["tokens"]:
        token["sha256"] = HIDDEN
    shown["webhooks"]["secrets"] = [HIDDEN for _ in settings.webhooks.secrets]
    return shown


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        members = cast(dict[str, Any], value).items()
        return f"{{ {', '.join(f'{name} = {_toml(member)}' for name, member in members)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, cast(list[Any], value)))}]"
    if isinstance(value, str):
        return f'"{"".join(_toml_character(character) for character in value)}"'
    return repr(value)


def _toml_character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return f"\\U{ord(character):08X}"
