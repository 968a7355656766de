"""The variables of the environment that are read besides the settings' own (POOLMGR_SECTION__KEY)."""

from typing import Final

CONFIG: Final = "POOLMGR_CONFIG"
"""The configuration file, where --config is not given."""

PROBE_PASSCODE: Final = "POOLMGR_PROBE_PASSCODE"
SUBMIT_PASSCODE: Final = "POOLMGR_SUBMIT_PASSCODE"
CRASH_AFTER: Final = "POOLMGR_CRASH_AFTER"
"""See common.runtime.steps."""

CREDENTIALS_DIRECTORY: Final = "CREDENTIALS_DIRECTORY"
"""Set by systemd for a service with LoadCredential: a folder with a file for each credential."""

ALL: Final = frozenset({CONFIG, PROBE_PASSCODE, SUBMIT_PASSCODE, CRASH_AFTER})
