"""Bundles of evidence on this VM's disk, and their way to Redis or to `evidence.upload_url`.

    STATE_DIR/evidence/BOT-ATTEMPT.zip

The folder outlives the agent. `evidence.most_mb` and `evidence.keep_s` limit what waits there. A fault on the way out
disturbs nothing else.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from common.config.settings import EvidenceSettings
from common.errors import AgentError
from common.runtime.waiting import backoff, pause

log: structlog.stdlib.BoundLogger = structlog.get_logger()

RETRY_S: Final = (1.0, 120.0)
SUFFIX: Final = ".zip"
_UNFINISHED: Final = ".part"

Send = Callable[[str, int, bytes, float], Awaitable[bool]]
"""Sends a bundle: bot_id, attempt, data, how long to keep it in seconds. Returns False when it cannot be kept.

Raises: UnsentError.
"""


class UnsentError(AgentError):
    """A bundle could not be sent; the message says why, without secrets."""


class RefusedError(UnsentError):
    """The receiver refused this bundle. It may accept others."""


class EvidenceOutbox:
    """The folder of bundles. Every method may be called at any time. `news` is set when a bundle was added, `empty`
    while none waits.
    """

    def __init__(self, folder: Path, settings: EvidenceSettings) -> None:
        self._folder = folder
        self._settings = settings
        self.news = asyncio.Event()
        self.news.set()  # an earlier agent may have left some
        self.empty = asyncio.Event()
        self.empty.set()
        for part in folder.glob(f"*{_UNFINISHED}"):  # left by an agent that was killed while it wrote
            self.drop(part)

    def put(self, name: str, data: bytes) -> bool:
        """Keep a bundle until it is sent. Returns False, and logs why, when it cannot be written."""
        path = self._folder / f"{name}{SUFFIX}"
        part = path.with_suffix(_UNFINISHED)
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            part.replace(path)
            self._make_room()
        except OSError as error:
            log.error("evidence_failed", evidence=name, error=error.strerror or type(error).__name__)
            with suppress(OSError):
                part.unlink(missing_ok=True)
            return False
        self.empty.clear()
        self.news.set()
        return True

    def waiting(self) -> list[Path]:
        """The bundles that wait, oldest first."""
        with suppress(OSError):
            dated = [(path.stat().st_mtime, path) for path in self._folder.glob(f"*{SUFFIX}")]
            return [path for _, path in sorted(dated)]
        return []

    def drop(self, path: Path) -> None:
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def age_s(self, path: Path) -> float:
        return max(0.0, time.time() - path.stat().st_mtime)

    def _make_room(self) -> None:
        """Drop the oldest bundles above `evidence.most_mb`, and those older than `evidence.keep_s`."""
        left = self._settings.most_mb * 1024 * 1024
        for path in reversed(self.waiting()):
            left -= path.stat().st_size
            if left < 0 or self.age_s(path) > self._settings.keep_s:
                log.warning("evidence_dropped", evidence=path.stem, why="it waited too long, or too many wait")
                self.drop(path)


async def deliver(outbox: EvidenceOutbox, send: Send, settings: EvidenceSettings) -> None:
    """Send what waits, for as long as the agent lives."""
    delays = backoff(*RETRY_S)
    complained = ""
    while True:
        await outbox.news.wait()
        outbox.news.clear()
        failed = False
        for path in outbox.waiting():
            try:
                await _hand_in(outbox, path, send, settings)
            except (UnsentError, OSError) as error:
                failed = True
                if (fault := str(error)) != complained:
                    log.warning("evidence_unsent", evidence=path.stem, error=fault)
                    complained = fault
                if not isinstance(error, RefusedError | OSError):
                    break  # the receiver is away: the others would fail, too
            else:
                complained = ""
        if not outbox.waiting():
            outbox.empty.set()
        if not failed:
            delays = backoff(*RETRY_S)
            continue
        await pause(outbox.news, next(delays))
        outbox.news.set()


async def _hand_in(outbox: EvidenceOutbox, path: Path, send: Send, settings: EvidenceSettings) -> None:
    bot_id, _, attempt = path.stem.rpartition("-")
    left_s = settings.keep_s - outbox.age_s(path)
    if not bot_id or not attempt.isdecimal() or left_s <= 0:
        log.warning("evidence_dropped", evidence=path.stem, why="it is none of ours, or waited too long")
    elif not await send(bot_id, int(attempt), outbox.read(path), left_s):
        log.info("evidence_dropped", evidence=path.stem, why="its bot is forgotten, or it is too large")
    else:
        log.debug("evidence_sent", evidence=path.stem)
    outbox.drop(path)
