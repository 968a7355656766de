"""The start of whatever writes to this machine: keeps its files to its user, sets up its log, and logs which
configuration it uses.
"""

import os

from common.config.settings import Settings
from common.runtime import log
from common.runtime.cli.session import Session
from common.runtime.config import overriding, unread
from common.runtime.redis.client import address


def begin(session: Session, program: str) -> Settings:
    """The settings, after the log is set up. Ends the program when they cannot be used."""
    os.umask(0o077)  # what it stores and spools is what people said, wherever it is started
    settings = session.settings
    log.configure(settings.log, program=program)
    variables = sorted(overriding().values())
    log.tell_configuration(session.path, session.named_by, variables, unread(), address(settings.redis))
    return settings
