"""The variables of the environment that are read beside those of the settings, which are POOLMGR_SECTION__KEY."""

from typing import Final

CONFIG: Final = "POOLMGR_CONFIG"
"""Names the configuration file where --config does not."""

PROBE_PASSCODE: Final = "POOLMGR_PROBE_PASSCODE"
SUBMIT_PASSCODE: Final = "POOLMGR_SUBMIT_PASSCODE"
CRASH_AFTER: Final = "POOLMGR_CRASH_AFTER"
"""See common.runtime.steps."""

CREDENTIALS_DIRECTORY: Final = "CREDENTIALS_DIRECTORY"
"""Set by systemd, of a service with LoadCredential: a folder with a file for each."""

ALL: Final = frozenset({CONFIG, PROBE_PASSCODE, SUBMIT_PASSCODE, CRASH_AFTER})
