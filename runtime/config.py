"""Reads the configuration file and the environment. The only place that looks for them."""

import os
import tomllib
from pathlib import Path

from runtime.redis import url_fault
from wire.settings import ENVIRONMENT_PREFIX, BadSettingsError, Settings, parse


def load(path: Path | None) -> Settings:
    """Settings from `path` (None: the defaults) overridden by the environment.

    Raises: BadSettingsError, also for a file that cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettingsError([f"cannot read {path}: {getattr(error, 'strerror', None) or error}"]) from error
    settings = parse(text, os.environ)
    if fault := url_fault(settings.redis):
        raise BadSettingsError([f"redis.url: {fault}"])
    return settings


def named(path: Path | None) -> dict[str, str]:
    """`section.key` of every setting that is not left at its default by silence -> the file or variable that sets it.

    For who has to tell a value that was chosen from one that nobody thought of. Of a configuration that `load` took.
    """
    document = tomllib.loads(path.read_text(encoding="utf-8")) if path else {}
    found = {f"{section}.{key}": str(path) for section, keys in document.items() for key in keys}
    for variable in os.environ:
        if variable.startswith(ENVIRONMENT_PREFIX) and "__" in variable:
            section, _, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
            found[f"{section}.{key}"] = variable
    return found
