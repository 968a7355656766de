"""The start of a daemon: sets up its log, and logs which configuration it uses."""

from common.config.settings import Settings
from common.runtime import log
from common.runtime.cli.session import Session
from common.runtime.config import overriding, unread
from common.runtime.redis.client import address


def begin(session: Session, program: str) -> Settings:
    """The settings, after the log is set up. Ends the program when they cannot be used."""
    settings = session.settings
    log.configure(settings.log, program=program)
    variables = sorted(overriding().values())
    log.tell_configuration(session.path, session.named_by, variables, unread(), address(settings.redis))
    return settings
