"""The programs to start, with arguments and environment, as in the units of systemd/. Starts nothing."""

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from poolmgr.one_machine.folder import CannotRunError, StateFolder
from poolmgr.one_machine.news import PartName

_MOST_REDIS_MEMORY: Final = "1gb"
"""The private Redis refuses a flood of jobs before it takes the browsers' memory. Twenty bots and their records need a
few megabytes, evidence at most evidence.most_mb.
"""

TOKENS: Final = "POOLMGR_API__TOKENS"
_STATE_DIR: Final = "POOLMGR_WORKER__STATE_DIR"
_PASSED_TO_REDIS: Final = ("PATH", "TZ", "LANG", "LC_ALL")


class Program(NamedTuple):
    command: list[str]
    environment: dict[str, str]


class Wishes(NamedTuple):
    """What `up` decides for the programs, over file and environment. `named`: `section.key` of the settings that file
    or environment set -> which of them. `redis_set_by`: what sets the Redis; empty: a private one is started.
    """

    config: Path | None
    named: Mapping[str, str]
    redis_set_by: str
    tokens: str
    min_idle: int | None = None


def redis_url(folder: StateFolder) -> str:
    return f"unix://{quote(str(folder.redis_socket))}"


def programs(folder: StateFolder, wishes: Wishes, environment: Mapping[str, str]) -> dict[PartName, Program]:
    """All programs to run. Raises: CannotRunError for a program that is not installed."""
    for_both = {"POOLMGR_LOG__FORMAT": "json"}  # they log to files, in which `up` reads warnings
    found: dict[PartName, Program] = {}
    if not wishes.redis_set_by:
        for_both["POOLMGR_REDIS__URL"] = redis_url(folder)
        passed = {name: environment[name] for name in _PASSED_TO_REDIS if name in environment}
        found[PartName.REDIS] = Program(_redis_command(folder), passed)
    if wishes.min_idle is not None:
        for_both["POOLMGR_POOL__MIN_IDLE"] = str(wishes.min_idle)
    for_manager = {**for_both, TOKENS: wishes.tokens}
    for_agent = for_both if "worker.state_dir" in wishes.named else {**for_both, _STATE_DIR: str(folder.agent)}
    options = ["--config", str(wishes.config.absolute())] if wishes.config else []
    found[PartName.MANAGER] = Program([_ours("poolmgr"), "serve", *options], _over(environment, for_manager))
    found[PartName.AGENT] = Program([_ours("poolmgr-worker"), "run", *options], _over(environment, for_agent))
    return found


def sweeping(agent: Program) -> Program:
    """The program that ends what a killed agent left."""
    program, _, *options = agent.command
    return Program([program, "sweep", *options], agent.environment)


def _redis_command(folder: StateFolder) -> list[str]:
    """The command of the private Redis. It has everything durable of one machine, and gets a few writes a second.

    appendfsync always: every answered write is on the disk, also after a power cut. At this load it costs hardly more
    than everysec. A write takes 2.5 ms here, a join some 10 ms more.
    """
    settings = {
        "port": "0",
        "unixsocket": str(folder.redis_socket),
        "unixsocketperm": "600",
        "dir": str(folder.redis_data),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",  # no snapshots
        "maxmemory": _MOST_REDIS_MEMORY,
        "maxmemory-policy": "noeviction",  # a full Redis refuses writes and forgets no bot
        "hash-max-listpack-value": "1024",  # a bot's record takes 3.1 KB instead of 5.6
        "daemonize": "no",
        "logfile": "",
    }
    program = shutil.which("redis-server")
    if program is None:
        raise CannotRunError(
            "cannot find redis-server: install it (Debian, Ubuntu: `apt install redis-server`; its service need not"
            " run), or name a Redis that is there in redis.url"
        )
    return [program, *(word for name, value in settings.items() for word in (f"--{name}", value))]


def _ours(name: str) -> str:
    """The program of this installation: next to the running one, next to Python, or where pip installs programs.

    Raises: CannotRunError.
    """
    started = Path(sys.argv[0])
    folders = (
        started.parent,
        started.resolve().parent,
        Path(sys.executable).parent,
        Path(sysconfig.get_path("scripts")),
    )
    for folder in folders:
        if os.access(folder / name, os.X_OK) and (folder / name).is_file():
            return str((folder / name).absolute())
    raise CannotRunError(
        f"cannot find {name} beside {sys.executable}: install poolmgr into this environment once more, whole (`pip"
        " install poolmgr` brings both programs)"
    )


def _over(environment: Mapping[str, str], settled: Mapping[str, str]) -> dict[str, str]:
    """The environment with `settled`, without other variables of the same settings: the programs read them in
    any case.
    """
    kept = {name: value for name, value in environment.items() if name.upper() not in settled}
    return {**kept, **settled}
