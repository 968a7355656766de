"""What every command has at hand: the settings, a way to ask Redis, a way to print. Faults of the user end here, in
one readable line and an exit code.
"""

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import msgspec
from click.core import ParameterSource
from redis.exceptions import RedisError

from poolmgr.cli.secrecy import mask_url
from poolmgr.cli.text import literal
from poolmgr.store.keys import Keys
from poolmgr.store.views import Views
from runtime import config
from runtime.redis import UNAVAILABLE, connect
from wire.settings import BadSettingsError, Settings

_T = TypeVar("_T")

EXIT_FAILED = 1  # the thing asked for did not succeed (a bot that ended in an error, a rejected job)
EXIT_USAGE = 2  # wrong words or a wrong configuration; click's own code for it
EXIT_REPLACED = 3  # `serve` only: another manager took over; whoever supervises this one may start it again
EXIT_NOT_FOUND = 4
EXIT_UNREACHABLE = 5  # Redis is away, or would not do it
EXIT_TIMEOUT = 6
EXIT_REFUSED = 7  # `probe` only: it works, and the meeting does not take the bot
EXIT_INTERRUPTED = 130  # Ctrl-C, as shells report it: 128 + SIGINT


class Session:
    """One call of the command line. `as_json`: print for programs. `path`: the configuration file, if there is one."""

    def __init__(self, path: Path | None, *, as_json: bool = False) -> None:
        self.path = path
        self.as_json = as_json

    @cached_property
    def settings(self) -> Settings:
        try:
            return config.load(self.path)
        except BadSettingsError as error:
            for fault in error.faults:
                say(fault)
            raise SystemExit(EXIT_USAGE) from error

    def ask(self, question: Callable[[Views], Awaitable[_T]]) -> _T:
        """The answer of `question`, put to Redis. Ends the program when Redis is not there or will not do it."""
        settings = self.settings.redis
        where = literal(mask_url(settings.url))
        try:
            return asyncio.run(self._ask(question))
        except BrokenPipeError:  # our own reader went away (`| head`), not Redis: click ends that quietly
            raise
        except UNAVAILABLE as error:
            say(f"cannot reach Redis at {where}: {error}")
            fail("is it running, and is redis.url in the configuration right?", EXIT_UNREACHABLE)
        except RedisError as error:
            fail(f"cannot do this: Redis at {where} answered: {error}", EXIT_UNREACHABLE)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            what = f"Redis holds something under {settings.prefix!r} that this release cannot read"
            fail(f"{what}: {error}", EXIT_UNREACHABLE)

    async def _ask(self, question: Callable[[Views], Awaitable[_T]]) -> _T:
        redis = connect(self.settings.redis)
        try:
            return await question(Views(redis, Keys(self.settings.redis.prefix)))
        finally:
            await redis.aclose()


def with_session(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options that all share, and a Session as its first argument.

    What was said to a group (`poolmgr dead --config FILE put-back ...`) counts for its commands too.
    """

    @click.option(
        "--config",
        "config_path",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="POOLMGR_CONFIG",
        help="TOML file; without one every key has its default (see config.example.toml).",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of text for people.")
    @click.pass_context
    @functools.wraps(command)
    def wrapped(context: click.Context, /, *args: Any, config_path: Path | None, as_json: bool, **options: Any) -> Any:
        above = context.parent.find_object(Session) if context.parent else None
        if above:
            said_here = context.get_parameter_source("config_path") is ParameterSource.COMMANDLINE
            config_path = config_path if said_here else above.path
            as_json = as_json or above.as_json
        context.obj = Session(config_path, as_json=as_json)
        return command(context.obj, *args, **options)

    return wrapped


def with_waiting(until: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command `wait` and `timeout_s`; the latter is None unless it was said together with --wait."""

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
    """What `work` gives. Ends the program with EXIT_TIMEOUT, saying `overdue`, when it takes longer than that."""
    deadline = asyncio.timeout(timeout_s)
    try:
        async with deadline:
            return await work
    except TimeoutError:
        if not deadline.expired():
            raise
        fail(overdue, EXIT_TIMEOUT)


def say(message: str) -> None:
    """A message for people, on standard error."""
    click.echo(f"poolmgr: {literal(message)}", err=True)


def fail(message: str, exit_code: int) -> NoReturn:
    say(message)
    raise SystemExit(exit_code)


def put_json(document: Any) -> None:
    """One line of JSON on standard output. Only ASCII, so that nothing in it can steer a terminal."""
    click.echo(json.dumps(document))


def say_if_unled(leader: str, what_waits: str) -> None:
    if not leader:
        say(f"no manager leads at the moment: {what_waits} until one does (`poolmgr serve` starts one)")
