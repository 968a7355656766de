"""What the manager's commands share beyond common.runtime.cli: asking Redis, and waiting for an answer."""

import asyncio
import functools
import os
import pwd
import signal
import socket
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import click
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.config.masking import mask_url
from common.runtime.cli import session
from common.runtime.cli.session import fail, say
from common.runtime.cli.text import literal
from common.runtime.exits import EXIT_TIMEOUT, EXIT_UNREACHABLE
from common.runtime.redis.client import UNAVAILABLE, connect
from common.runtime.redis.roundtrip import UnconfirmedError
from common.runtime.waiting import heeded
from poolmgr.store.actions import By, Way
from poolmgr.store.keys import Keys
from poolmgr.store.reading.views import Views

_T = TypeVar("_T")
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Session(session.Session):
    """One call of the command line."""

    @property
    def by(self) -> By:
        """The user of this command, for the log of actions. Behind sudo it is the user who called sudo."""
        try:
            user = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            user = str(os.getuid())  # a user without a name, as in a container
        called_by = os.environ.get("SUDO_USER", "") if os.getuid() == 0 else ""
        return By(f"{called_by or user}@{socket.gethostname()}", Way.COMMAND_LINE)

    def ask(self, question: Callable[[Views], Awaitable[_T]]) -> _T:
        """Ask Redis with `question` and return the answer. Ends the program when Redis is away or refuses."""
        return self.ask_redis(lambda redis, keys: question(Views(redis, keys)))

    def ask_redis(self, question: Callable[[Redis, Keys], Awaitable[_T]]) -> _T:
        """Like `ask`, with Redis and the keys in place of the views."""
        settings = self.settings.redis
        where = literal(mask_url(settings.url))
        try:
            return asyncio.run(self._ask(question))
        except BrokenPipeError:  # the reader of our output went away (`| head`): click ends quietly
            raise
        except UnconfirmedError as error:
            say(f"Redis at {where} has it, and a failover may lose it: {error}")
            fail("see `poolmgr doctor`; say it again once the replicas are back", EXIT_UNREACHABLE)
        except UNAVAILABLE as error:
            say(f"cannot reach Redis at {where}: {error}")
            fail("is it running, and is redis.url in the configuration right?", EXIT_UNREACHABLE)
        except RedisError as error:
            fail(f"cannot do this: Redis at {where} answered: {error}", EXIT_UNREACHABLE)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            what = f"Redis holds something under {settings.prefix!r} that this release cannot read"
            fail(f"{what}: {error}", EXIT_UNREACHABLE)

    async def _ask(self, question: Callable[[Redis, Keys], Awaitable[_T]]) -> _T:
        redis = connect(self.settings.redis)
        try:
            return await question(redis, Keys(self.settings.redis.prefix))
        finally:
            await redis.aclose()


with_session = session.sessions(Session)


def with_waiting(until: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: gives a command `wait` and `timeout_s`. The latter is None unless --timeout was given with --wait."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("--wait", is_flag=True, help=f"Wait {until}.")
        @click.option(
            "--timeout",
            "timeout_s",
            type=click.FloatRange(min=0, min_open=True),
            metavar="S",
            help="With --wait: at most S seconds.",
        )
        @functools.wraps(command)
        def wrapped(*args: Any, wait: bool, timeout_s: float | None, **options: Any) -> Any:
            if timeout_s is not None and not wait:
                raise click.UsageError("--timeout needs --wait")
            return command(*args, wait=wait, timeout_s=timeout_s, **options)

        return wrapped

    return decorate


async def in_time(timeout_s: float | None, work: Awaitable[_T], *, overdue: str) -> _T:
    """Await `work` and return its result. If it takes too long, print `overdue` and end with EXIT_TIMEOUT."""
    deadline = asyncio.timeout(timeout_s)
    try:
        async with deadline:
            return await work
    except TimeoutError:
        if not deadline.expired():
            raise
        fail(overdue, EXIT_TIMEOUT)


def say_if_unled(leader: str, what_waits: str) -> None:
    if not leader:
        say(f"no manager leads at the moment: {what_waits} until one does (`poolmgr serve` starts one)")


@contextmanager
def cancelled_by_signals() -> Generator[None]:
    """The first signal that is heeded cancels the current task. Further ones do not interrupt its clean-up."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    caught = heeded(*_STOPPING)

    def stop() -> None:
        if task and not task.cancelling():
            task.cancel()

    for number in caught:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
