"""Follows the streams that name changed records, and writes those records into the table.

A record is read after the entry that names it, so it is at least as new; the table refuses what is older than what it
has. So everything may be repeated, by another mirror too, and the position is written only after the table has what
comes before it: a kill at any point loses nothing. Where entries are gone that were not read, all records are gone
through, beside what comes in.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

import structlog

from common.config.settings import Settings
from common.runtime.clock import Clock
from common.runtime.loop.turns import Turned, Turns, patience_s
from common.runtime.redis.client import UNAVAILABLE, address
from common.runtime.waiting import backoff, pause
from common.wire import mirrored
from poolmgr.mirror.item import request_of
from poolmgr.mirror.table import Request, Table
from poolmgr.providers.provider import ProviderError
from poolmgr.store.mirroring import Mirrored, Position

_log = structlog.stdlib.get_logger()
MOST_AT_ONCE: Final = 100
_WAIT_S: Final = 1.0
_RETRY_FIRST_S, _RETRY_MOST_S = 0.5, 60.0
FIRST_TIME: Final = "there is no position of an earlier mirror"
MISSED: Final = "entries of the streams were gone before they were read"


class _StoppedError(Exception):
    pass


class Mirror:
    """`run` returns once `stop` is set. What is under way then is finished, or done again by the next one."""

    def __init__(self, mirrored: Mirrored, table: Table, settings: Settings, clock: Clock, turns: Turns) -> None:
        self._mirrored = mirrored
        self._table = table
        self._settings = settings
        self._clock = clock
        self._turns = turns
        self._turned: Turned = turns.of("mirror")
        self._fault = ""
        self._said = "starts"

    @property
    def status(self) -> str:
        """The line that `systemctl status` shows."""
        return self._fault or self._said

    async def run(self, stop: asyncio.Event) -> None:
        """Raises: CannotMirrorError."""
        redis = self._settings.redis
        limit_s = patience_s(redis.timeout_s) + self._settings.mirror.timeout_s + _RETRY_MOST_S
        delays = backoff(_RETRY_FIRST_S, _RETRY_MOST_S)
        with self._turns.expecting(limit_s, "mirror"):
            try:
                await self._check_table(stop)
                while not stop.is_set():
                    try:
                        await self._follow(stop)
                    except UNAVAILABLE as error:
                        self._said = f"Redis is away: {type(error).__name__}"
                        _log.warning("mirror_waits_for_redis", error=str(error)[:300], redis=address(redis))
                        self._turned()
                        await pause(stop, next(delays))
                    else:
                        delays = backoff(_RETRY_FIRST_S, _RETRY_MOST_S)
            except _StoppedError:
                pass

    async def _check_table(self, stop: asyncio.Event) -> None:
        delays = backoff(_RETRY_FIRST_S, _RETRY_MOST_S)
        while not stop.is_set():
            try:
                await self._table.check()
            except ProviderError as error:
                self._failed(str(error))
                self._turned()
                await pause(stop, next(delays))
            else:
                return

    async def _follow(self, stop: asyncio.Event) -> None:
        """Follow the streams from where the last mirror was. Raises: Redis' errors."""
        position = await self._mirrored.position()
        if position is None:
            position = await self._begin_fill(FIRST_TIME)
        elif await self._mirrored.has_missed(position):
            position = await self._begin_fill(MISSED)
        while not stop.is_set():
            self._turned()
            if position.fill_from is not None:
                position = await self._fill(position, stop)
            is_filling = position.fill_from is not None
            self._said = "fills in the table from all records" if is_filling else "follows"
            news = await self._mirrored.news(position, MOST_AT_ONCE, 0.0 if is_filling else _WAIT_S)
            if news.then == position:
                continue
            # One that did not come to the end may have begun behind a gap.
            if news.is_full and await self._mirrored.has_missed(position):
                position = await self._begin_fill(MISSED)
                continue
            refused = await self._copy(news.changed, news.deleted, stop)
            position = news.then
            await self._mirrored.reached(position, refused=refused)

    async def _begin_fill(self, why: str) -> Position:
        _log.warning("mirror_fills_in", why=why)
        return await self._mirrored.begin_fill(why)

    async def _fill(self, position: Position, stop: asyncio.Event) -> Position:
        """One page of all records."""
        page, then = await self._mirrored.page(position.fill_from or 0.0, MOST_AT_ONCE)
        refused = await self._copy(page, (), stop)
        position = position._replace(fill_from=then)
        await self._mirrored.reached(position, filled=len(page), refused=refused)
        if then is None:
            standing = await self._mirrored.standing()
            _log.info("mirror_filled_in", records=standing.filled if standing else 0)
        return position

    async def _copy(self, changed: Sequence[str], deleted: Sequence[str], stop: asyncio.Event) -> int:
        """Write these records, once all are in the table. Returns how many it refused for good."""
        table, retention_s = self._settings.mirror.table, self._settings.retention.bot_s
        known = await self._mirrored.records([*dict.fromkeys([*changed, *deleted])])
        there = {record.bot_id for record in known.records}
        requests = list[Request]()
        refused = 0
        for record in known.records:
            try:
                requests.append(request_of(table, record, known.covers, retention_s))
            except ValueError as error:
                refused += 1
                _log.error("mirror_item_refused", bot_id=record.bot_id, error=f"cannot read its record: {error}")
        now = self._clock.wall()
        requests += [mirrored.deletion(table, bot_id, known.covers, now) for bot_id in deleted if bot_id not in there]
        return refused + await self._write(requests, stop)

    async def _write(self, requests: list[Request], stop: asyncio.Event) -> int:
        """Write until none is left. Raises: _StoppedError."""
        delays = backoff(_RETRY_FIRST_S, _RETRY_MOST_S)
        refused, left = 0, requests
        while left:
            written = await self._table.write(left)
            self._turned()
            refused += written.refused
            if len(written.left) < len(left):
                delays = backoff(_RETRY_FIRST_S, _RETRY_MOST_S)
            left = written.left
            if left:
                self._failed(written.fault)
                await self._mirrored.fault(written.fault)
                pause_s = next(delays) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, no secret
                if await pause(stop, pause_s):
                    raise _StoppedError
        if self._fault:
            self._fault = ""
            await self._mirrored.fault("")
            _log.info("mirror_table_reached")
        return refused

    def _failed(self, fault: str) -> None:
        if fault != self._fault:
            self._fault = fault
            _log.warning("mirror_table_unreachable", error=fault)
