"""The agent as a process: the one place where it chooses its event loop."""

import uvloop

from common.config.settings import Settings
from common.runtime.cli.session import fail
from common.runtime.exits import EXIT_USAGE
from worker import agent
from worker.agent import CannotStartError


def run(settings: Settings) -> None:
    """Returns after an orderly end; ends the program, saying why, when it cannot start."""
    try:
        uvloop.run(agent.run(settings))
    except CannotStartError as error:
        fail(str(error), EXIT_USAGE)
