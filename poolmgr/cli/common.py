"""The commands that manager and agent share."""

from common.runtime.cli.completion import completion_of
from common.runtime.cli.config import config_of
from common.runtime.cli.version import version_of
from poolmgr.cli.root import PROGRAM

config = config_of(PROGRAM)
version = version_of(PROGRAM)
completion = completion_of(
    PROGRAM,
    "ids of bots and VMs",
    "Ids are asked of Redis, the newest first. Those that it does not give within half a second are not offered.",
)
