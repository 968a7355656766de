"""Structured logs on standard error: coloured lines on a terminal, otherwise one JSON object a line.

Event names are fixed `noun_verbed` words, facts are fields. No secret and no full meeting link is logged: callers pass
ids, or a link through `common.links.redaction.redact`.
"""

import logging
import sys
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec

from common.config.settings import LogSettings
from common.runtime.imports import without

# structlog imports rich and pygments if they are installed, for tracebacks that are not used here: that costs a daemon
# 45 ms and 5 MB. So this module has to be imported before anything else imports structlog.
with without("rich"):
    import structlog
    from structlog.tracebacks import ExceptionDictTransformer


_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _Lines:
    """A logger that writes each line at once, but for those that are written together."""

    def __init__(self) -> None:
        self._held = 0

    def msg(self, line: bytes) -> None:
        sys.stderr.buffer.write(line + b"\n")
        if not self._held:
            sys.stderr.buffer.flush()

    debug = info = warning = error = critical = msg

    @contextmanager
    def together(self) -> Generator[None]:
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            if not self._held:
                sys.stderr.buffer.flush()


_lines = _Lines()


def together() -> AbstractContextManager[None]:
    """The lines that are logged in this context are written as few times as the buffer allows: a system call for each
    line costs more than the line. Nothing may be awaited in it.
    """
    return _lines.together()


def configure(settings: LogSettings, *, program: str) -> None:
    """Set up structlog for the process. Idempotent."""
    on_terminal = sys.stderr.isatty() if settings.format == "auto" else settings.format == "console"
    # Tracebacks without local variables, which may contain tokens and links.
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
            structlog.processors.MaybeTimeStamper(fmt="iso", utc=True),  # what is logged later bears its own
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.level.upper())),
        logger_factory=(structlog.PrintLoggerFactory(sys.stderr) if on_terminal else lambda *_: _lines),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(program=program)


def tell_configuration(
    file: Path | None, named_by: str, overriding: Sequence[str], unread: Sequence[str], redis: str
) -> None:
    """Log which configuration the program uses. `overriding`: variables of the environment that override it; `unread`:
    those that only look like settings. `redis`: its address without secrets.
    """
    facts = {"named_by": named_by} if file else {"detail": "no file was named (--config, POOLMGR_CONFIG)"}
    where = str(file.absolute()) if file else ""
    _log.info("configuration_read", file=where, environment=list(overriding), redis=redis, **facts)
    if unread:
        _log.warning("variables_unread", variables=list(unread), detail="a setting's variable is POOLMGR_SECTION__KEY")


def _json(event: object, **_: object) -> bytes:
    return msgspec.json.encode(event, enc_hook=str)
