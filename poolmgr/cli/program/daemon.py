"""The manager as a process: chooses uvloop, and turns its faults into exit codes."""

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Final

import uvloop

from common.config.settings import Settings
from common.runtime.cli.session import fail
from common.runtime.exits import EXIT_FAILED, EXIT_REPLACED
from common.runtime.spans import CannotExportError
from common.runtime.waiting import stop_on_signals
from poolmgr.api.listen import CannotListenError
from poolmgr.app import Manager
from poolmgr.loops.leadership import LeaseLostError
from poolmgr.loops.sqs import CannotReadSqsError
from poolmgr.providers.provider import CannotScaleError
from poolmgr.store.leader.ledger import StaleEpochError

_SWITCH_S: Final = 0.0005
"""How long the event loop waits for a thread that reads a large job; Python's default is ten times that."""


def run(settings: Settings, read_again: Callable[[], Settings]) -> None:
    """Run the manager. Returns after an orderly end; after any other end it prints why and ends the program."""
    sys.setswitchinterval(_SWITCH_S)
    fault, exit_code = "", 0
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(Manager(settings, read_again)))
    except* (CannotListenError, CannotReadSqsError, CannotExportError, CannotScaleError) as group:
        fault, exit_code = str(group.exceptions[0]), EXIT_FAILED
    except* (LeaseLostError, StaleEpochError):
        fault = "another manager leads now; exiting so that this one can start over as standby"
        exit_code = EXIT_REPLACED
    if exit_code:  # not raised above, because an error raised in except* is put into a group
        fail(fault, exit_code)


async def _serve(manager: Manager) -> None:
    stop = stop_on_signals()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, manager.read_again)
    await manager.run(stop)
