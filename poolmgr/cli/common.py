"""The commands that the manager shares with the other program."""

from poolmgr.cli.root import PROGRAM
from runtime.cli.config import config_of
from runtime.cli.version import version_of

config = config_of(PROGRAM)
version = version_of(PROGRAM)
