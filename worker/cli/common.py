"""The commands that agent and manager share."""

from common.runtime.cli.completion import completion_of
from common.runtime.cli.config import config_of
from common.runtime.cli.version import version_of
from worker.cli.root import PROGRAM

config = config_of(PROGRAM)
version = version_of(PROGRAM)
completion = completion_of(PROGRAM, "names of accounts")
