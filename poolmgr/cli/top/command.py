"""`top`: reads Redis, draws and reads keys side by side, and carries out what the operator confirmed.

What it costs Redis does not grow with the fleet: it looks as a viewer of the page does (poolmgr/page/watch.py).
"""

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Final

import click
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.runtime.cli.session import fail
from common.runtime.clock import Clock
from common.runtime.exits import EXIT_USAGE
from common.runtime.redis.client import UNAVAILABLE
from poolmgr.cli.session import Session, with_session
from poolmgr.cli.top.columns import Facts
from poolmgr.cli.top.lines import draw
from poolmgr.cli.top.screen import Screen
from poolmgr.core.requests import DrainRequested, LeaveRequested, Request
from poolmgr.page.outlook import row_of
from poolmgr.page.watch import Watch
from poolmgr.store.keys import Keys
from poolmgr.store.reading.sight import Sight
from poolmgr.store.reading.views import Views

if TYPE_CHECKING:
    from poolmgr.cli.top.terminal import Terminal

_DRAW_AGAIN_S: Final = 0.1
"""Seconds between two drawings of the screen, at least."""
_TICK_S: Final = 1.0
_OTHERS_EVERY_S: Final = 1.0
_AFTER_FAULT_S: Final = 1.0
_MOST_EMPTY_READS: Final = 1000
"""A terminal that is gone is readable all the time, and has no keys. After so many such reads `top` ends."""


@click.command
@with_session
def top(session: Session) -> None:
    """Show the fleet on the full screen, as it changes, until q. Times are UTC.

    Tab turns between VMs and bots. Of bots it shows the newest 100; a filter finds others, too. s sorts, / finds, f
    shows one state, v one VM, l has the chosen bot leave, d drains the chosen VM, each once you confirm it. ? shows all
    keys.

    \b
    Example:
      poolmgr top
    """
    if session.as_json:
        raise click.UsageError("a screen is for people: `poolmgr fleet --json` and `poolmgr bots --json` are not")
    try:
        from poolmgr.cli.top.terminal import CannotShowError, taken
    except ImportError:
        fail("cannot show a screen: this Python has no curses; `poolmgr fleet --watch` needs none", EXIT_USAGE)

    async def show(redis: Redis, keys: Keys) -> None:
        await Views(redis, keys).leads()  # raises before the screen is taken, if Redis cannot be reached
        with taken() as terminal:
            await _Top(redis, keys, session, terminal).run()

    try:
        session.ask_redis(show)
    except CannotShowError as error:
        fail(str(error), EXIT_USAGE)
    except KeyboardInterrupt:
        return


class _Top:
    def __init__(self, redis: Redis, keys: Keys, session: Session, terminal: "Terminal") -> None:
        clock, pool = Clock(), session.settings.pool
        self._by = session.by
        self._terminal = terminal
        self._views = Views(redis, keys)
        self._sight = Sight(redis, keys)
        self._watch = Watch(redis, keys, pool, clock.wall, clock.steady)
        self._limits = (pool.min_idle, pool.max_workers, pool.min_idle_display)
        self._screen = Screen()
        self._fault = ""
        self._changed = asyncio.Event()
        self._confirmed: asyncio.Queue[Request] = asyncio.Queue()
        self._empty_reads = 0

    async def run(self) -> None:
        """Run until the operator quits."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._terminal.keys_from, self._read_keys)
        loop.add_signal_handler(signal.SIGWINCH, self._resize)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._quit)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(work, name=name)
                    for name, work in (
                        ("look", self._look()), ("others", self._look_for_others()), ("act", self._act()),
                    )
                ]  # fmt: skip
                await self._draw()
                for task in tasks:
                    task.cancel()
        finally:
            loop.remove_reader(self._terminal.keys_from)

    # What is seen

    async def _look(self) -> None:
        version = -1
        while True:
            try:
                version, _ = await self._watch.next(version)
                self._fault = ""
            except (*UNAVAILABLE, RedisError) as error:
                await self._cannot_look(f"Redis is away, or will not answer ({type(error).__name__})")
            except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
                await self._cannot_look(f"Redis holds what this release cannot read ({type(error).__name__})")
            self._screen.outlook = self._watch.outlook
            self._changed.set()

    async def _cannot_look(self, why: str) -> None:
        self._fault = f"not as things are now: {why}"
        self._changed.set()
        await asyncio.sleep(_AFTER_FAULT_S)

    async def _look_for_others(self) -> None:
        """Keep the bots of the filter up to date."""
        while True:
            try:
                if wanted := self._screen.wanted():
                    rows = [row_of(record) for record in await self._sight.bots(wanted)]
                    self._screen.others = {row.id: row for row in rows}
                else:
                    self._screen.others = {}
            except (*UNAVAILABLE, RedisError, msgspec.MsgspecError):
                pass  # `_look` shows the fault
            self._changed.set()
            await asyncio.sleep(_OTHERS_EVERY_S)

    async def _draw(self) -> None:
        while not self._screen.is_done:
            facts = Facts(time.time(), *self._limits)
            self._terminal.draw(draw(self._screen, self._terminal.size, facts, self._fault))
            await asyncio.sleep(_DRAW_AGAIN_S)
            try:
                await asyncio.wait_for(self._changed.wait(), _TICK_S)
            except TimeoutError:
                continue
            finally:
                self._changed.clear()

    # What the operator wants

    def _read_keys(self) -> None:
        keys = self._terminal.keys()
        self._empty_reads = 0 if keys else self._empty_reads + 1
        if self._empty_reads > _MOST_EMPTY_READS:
            self._quit()
        for key in keys:
            if request := self._screen.press(key):
                self._confirmed.put_nowait(request)
        self._changed.set()

    def _resize(self) -> None:
        self._terminal.resized()
        self._changed.set()

    def _quit(self) -> None:
        self._screen.quit()
        self._changed.set()

    async def _act(self) -> None:
        while True:
            request = await self._confirmed.get()
            try:
                await self._views.request(request, self._by)
                self._screen.said = _done(request)
            except (*UNAVAILABLE, RedisError) as error:
                self._screen.said = f"it is not known whether that was asked: {type(error).__name__} of Redis"
            self._changed.set()


def _done(request: Request) -> str:
    match request:
        case LeaveRequested(bot_id):
            return f"{bot_id}: asked to leave"
        case DrainRequested(vm_id, draining):
            return f"{vm_id}: asked to {'drain' if draining else 'take bots again'}"
        case _:
            raise AssertionError(request)
