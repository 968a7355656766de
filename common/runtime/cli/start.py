"""The start of a program that stays: its log is set up, and says what it goes by."""

from common.config.settings import Settings
from common.runtime import log
from common.runtime.cli.session import Session
from common.runtime.config import overriding, unread
from common.runtime.redis import address


def begin(session: Session, program: str) -> Settings:
    """Ends the program when its settings cannot be used."""
    settings = session.settings
    log.configure(settings.log, program=program)
    variables = sorted(overriding().values())
    log.tell_configuration(session.path, session.named_by, variables, unread(), address(settings.redis))
    return settings
