"""Reads the configuration file and the environment. The only place that looks for them."""

import os
from pathlib import Path

from runtime.redis import url_fault
from wire.settings import BadSettingsError, Settings, parse


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
