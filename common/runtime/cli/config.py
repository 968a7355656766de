"""The command `config` of both programs: checks the configuration, and shows it with file and environment combined."""

from pathlib import Path
from typing import Any, cast

import click

from common.runtime.cli.session import Session, put_json, say, with_session
from common.runtime.cli.text import count, literal
from common.runtime.exits import EXIT_USAGE

_GROUP = """Check the configuration, or show it as it takes effect.

    It is one for both programs. The file is TOML; config.example.toml explains every key. Each key can be overridden
    from the environment: POOLMGR_REDIS__URL is url of [redis]. POOLMGR_CONFIG names the file where --config does not.
    Secrets may come as credentials of systemd (docs/operations.md).

    \b
    Examples:
      {program} config check /etc/poolmgr/config.toml
      {program} config show --config /etc/poolmgr/config.toml
    """
_CHECK = """Print `ok` and where the configuration comes from, or every fault on a line of its own.

    FILE is the same as --config FILE. The environment is checked too. Exit code 2 when something is wrong.

    \b
    Examples:
      {program} config check /etc/poolmgr/config.toml
      POOLMGR_POOL__MIN_IDLE=8 {program} config check --json
    """
_SHOW = """Print the settings as they take effect, as TOML, with secrets masked.

    What comes from the environment says so. Masked are passwords in redis.url and evidence.upload_url, the hashes of
    api.tokens, and webhooks.secrets.

    \b
    Examples:
      {program} config show --config /etc/poolmgr/config.toml
      POOLMGR_POOL__MIN_IDLE=8 {program} config show
      {program} config show --json | jq .settings.pool
    """


def config_of(program: str) -> click.Group:
    """The command group; its examples name `program`."""
    group = click.Group("config", help=_GROUP.format(program=program))
    file = click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
    check = click.command("check", short_help="Is the configuration right?", help=_CHECK.format(program=program))
    show = click.command("show", short_help="Show the effective configuration.", help=_SHOW.format(program=program))
    group.add_command(check(file(with_session(_check))))
    group.add_command(show(with_session(_show)))
    return group


def _check(session: Session, file: Path | None) -> None:
    from common.config.settings import ENVIRONMENT_PREFIX
    from common.runtime import config

    if file:
        session = Session(file, as_json=session.as_json)
    faults = session.faults
    if session.as_json:
        where = {
            "file": str(session.path) if session.path else None,
            "environment": sorted(config.overriding().values()),
        }
        put_json({"ok": not faults, **where, "faults": faults})
    elif not faults:
        click.echo(f"ok: {where_from(session)}")
    if not session.as_json:
        for fault in faults:
            say(fault)
    for variable in config.unread():
        say(f"note: {variable} is not read: a setting's variable is {ENVIRONMENT_PREFIX}SECTION__KEY")
    if faults:
        raise SystemExit(EXIT_USAGE)


def _show(session: Session) -> None:
    from common.config.masking import masked
    from common.runtime.config import overriding

    shown, variables = masked(session.settings), overriding()
    if session.as_json:
        file = str(session.path) if session.path else None
        put_json({"file": file, "environment": variables, "settings": shown})
        return
    lines = [f"# {where_from(session)}"]
    for section, keys in shown.items():
        lines += ["", f"[{section}]"]
        for key, value in keys.items():
            variable = variables.get(f"{section}.{key}")
            lines.append(f"{key} = {_toml(value)}{f'  # from {variable}' if variable else ''}")
    click.echo("\n".join(lines))


def where_from(session: Session) -> str:
    """The file that was read, or that there was none, and what overrides it."""
    from common.config.settings import ENVIRONMENT_PREFIX
    from common.runtime.config import overriding

    by = list(overriding().values())
    variables = sum(name.startswith(ENVIRONMENT_PREFIX) for name in by)
    words = [count(len(by) - variables, "credential")] if len(by) > variables else []
    words += [f"{count(variables, 'variable')} of the environment"] if variables else []
    file = literal(str(session.path)) if session.path else "the defaults (no file was named)"
    return f"{file}, overridden by {' and '.join(words)}" if words else file


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
