"""The commands that manager and agent share."""

from common.runtime.cli.config import config_of
from common.runtime.cli.version import version_of
from poolmgr.cli.root import PROGRAM

config = config_of(PROGRAM)
version = version_of(PROGRAM)
