"""Reads the configuration file, the environment, and systemd's credentials. The only place that looks for them."""

import os
import tomllib
from pathlib import Path

from common.config import variables
from common.config.credentials import CREDENTIALS
from common.config.settings import ENVIRONMENT_PREFIX, BadSettingsError, Settings, parse, set_by
from common.runtime.redis.client import url_fault


def load(path: Path | None, *, named_by: str = "") -> Settings:
    """The settings in the file `path` (None: the defaults), overridden by credentials, and these by the environment.
    `named_by`: the variable that names the file, for the error when it cannot be read.

    Raises: BadSettingsError, also for a file that cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        fault = f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
        raise BadSettingsError([f"{named_by}: {fault}" if named_by else fault]) from error
    settings = parse(text, os.environ, _credentials())
    if fault := url_fault(settings.redis):
        raise BadSettingsError([f"redis.url: {fault}"])
    return settings


def named(path: Path | None) -> dict[str, str]:
    """`section.key` of every setting that a file or variable sets -> that file or variable.

    It tells a chosen value from a default. The configuration has to be one that `load` accepted.
    """
    document = tomllib.loads(path.read_text(encoding="utf-8")) if path else {}
    return {f"{section}.{key}": str(path) for section, keys in document.items() for key in keys} | overriding()


def _credentials() -> dict[str, str]:
    """Name -> the credential's content, or its path if the setting is a path. Raises: BadSettingsError."""
    found: dict[str, str] = {}
    for name, path in _credential_files():
        try:
            found[name] = str(path) if CREDENTIALS[name].is_path else path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            raise BadSettingsError([f"credential {name}: cannot read {path}: {why}"]) from error
    return found


def _credential_files() -> list[tuple[str, Path]]:
    """The files of the credentials that are settings."""
    folder = os.environ.get(variables.CREDENTIALS_DIRECTORY)
    paths = ((name, Path(folder) / name) for name in CREDENTIALS) if folder else ()
    return [(name, path) for name, path in paths if path.exists()]


def overriding() -> dict[str, str]:
    """`section.key` -> the credential or the variable of the environment that sets it."""
    found = {str(CREDENTIALS[name]): f"credential {name}" for name, _ in _credential_files()}
    for variable in os.environ:
        if setting := set_by(variable):
            found[".".join(setting)] = variable
    return found


def unread() -> list[str]:
    """Variables that look like settings but lack the `__` between section and key, and so are ignored."""
    ours = [variable for variable in sorted(os.environ) if variable.startswith(ENVIRONMENT_PREFIX)]
    return [variable for variable in ours if not set_by(variable) and variable not in variables.ALL]
