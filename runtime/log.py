"""Structured logs: coloured lines on a terminal, one JSON object a line elsewhere. Always to standard error.

Event names are fixed `noun_verbed` words, facts are fields. Secrets and full meeting links do not come here: callers
pass ids, and `wire.links.redact` where a link has to be told apart.
"""

import logging
import sys

import msgspec
import structlog
from structlog.tracebacks import ExceptionDictTransformer

from wire.settings import LogSettings


def configure(settings: LogSettings, *, program: str) -> None:
    """Set up structlog for the process. Idempotent."""
    on_terminal = sys.stderr.isatty() if settings.format == "auto" else settings.format == "console"
    # Tracebacks without local variables, which hold tokens and links.
    rendering: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if on_terminal
        else [
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(_json),
        ]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.level.upper())),
        logger_factory=(
            structlog.PrintLoggerFactory(sys.stderr) if on_terminal else structlog.BytesLoggerFactory(sys.stderr.buffer)
        ),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(program=program)


def _json(event: object, **_: object) -> bytes:
    return msgspec.json.encode(event, enc_hook=str)
