"""The environment of parts: that of the shell, without its settings for poolmgr, which may be those of a real fleet."""

import os
from typing import Final

from common.config import variables
from common.config.settings import ENVIRONMENT_PREFIX

CHROMIUM: Final = "POOLMGR_WORKER__CHROMIUM"
"""Stays: it says which browser this machine has."""


def without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name == CHROMIUM or not _is_setting(name)}


def _is_setting(variable: str) -> bool:
    return variable in variables.ALL or (variable.startswith(ENVIRONMENT_PREFIX) and "__" in variable)
