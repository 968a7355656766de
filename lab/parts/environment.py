"""The environment of parts: that of the shell, without its settings for poolmgr, which may be those of a real fleet."""

import os
from typing import Final

from common.config import variables
from common.config.settings import set_by

CHROMIUM: Final = "POOLMGR_WORKER__CHROMIUM"
"""Stays: it says which browser this machine has."""


def without_settings() -> dict[str, str]:
    ours = {name for name in os.environ if name in variables.ALL or set_by(name)} - {CHROMIUM}
    return {name: value for name, value in os.environ.items() if name not in ours}
