"""`actions`: what is shown of who did what; each command says who calls."""

import getpass
import json
import signal
import socket
from collections.abc import Callable

import pytest
from redis import Redis

from common.runtime.exits import EXIT_INTERRUPTED
from poolmgr.store.keys import Keys
from tests.cli.conftest import LINK, Agent, CommandLine, wait_for
from tests.fork_server import Forked
from tests.waiting import PATIENCE_S

ME = f"{getpass.getuser()}@{socket.gethostname()}"


def read(process: Forked) -> str:
    assert process.stdout
    return process.stdout.readline()


def test_what_somebody_did_is_told_with_the_name(agent: Agent, poolmgr: CommandLine) -> None:
    bot_id = poolmgr("submit", LINK).stdout.strip()
    wait_for(lambda: poolmgr("leave", bot_id).exit_code == 0)
    poolmgr("drain", agent.vm_id)
    poolmgr("drain", agent.vm_id, "--undo")
    found = [json.loads(line) for line in poolmgr("actions", "--json").stdout.splitlines()]
    assert [(one["who"], one["what"], one["of"]) for one in found] == [
        (ME, "submit", bot_id),
        (ME, "leave", bot_id),
        (ME, "drain", "vm-1"),
        (ME, "undo_drain", "vm-1"),
    ]
    assert {one["way"] for one in found} == {"command_line"}
    shown = poolmgr("actions", "--of", "vm-1", "--what", "drain", "--since", "1h", "--who", getpass.getuser())
    assert len(shown.stdout.splitlines()) == 1
    assert ME in shown.stdout
    assert "the-secret-room" not in poolmgr("actions").stdout


def test_behind_sudo_it_is_who_called_it(poolmgr: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 0)
    poolmgr("submit", LINK, SUDO_USER="ana")
    assert f"ana@{socket.gethostname()}" in poolmgr("actions").stdout


def test_a_user_without_a_name_goes_by_the_number(poolmgr: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 54321)
    poolmgr("submit", LINK, SUDO_USER="ana")
    assert f"54321@{socket.gethostname()}" in poolmgr("actions").stdout


def test_nobody_did_anything(poolmgr: CommandLine) -> None:
    result = poolmgr("actions")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nobody did anything" in result.stderr
    assert poolmgr("actions", "--json").stdout == ""


def test_who_follows_sees_what_was_and_what_comes(
    start: Callable[..., Forked], poolmgr: CommandLine, redis: Redis, keys: Keys
) -> None:
    redis.xadd(keys.actions, {"who": "\x1b[2Jcrm", "way": "api", "what": "leave", "of": "b1", "detail": ""})
    process = start("actions", "--follow")
    first = read(process)
    assert r"\x1b[2Jcrm" in first
    poolmgr("submit", LINK, "--bot-id", "b2")
    assert "b2" in read(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == EXIT_INTERRUPTED
