"""What a shell completes: in a real bash, as somebody types and presses Tab."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner
from redis import Redis

from poolmgr.cli.names import DEADLINE_S
from poolmgr.cli.root import cli
from poolmgr.store.keys import Keys
from tests.cli.conftest import CommandLine
from tests.terminal import Terminal, by_command
from tests.waiting import PATIENCE_S
from worker.cli.root import cli as agent_cli

PROGRAMS: Final = {"poolmgr": cli, "poolmgr-worker": agent_cli}


def offered(poolmgr: CommandLine, *words: str, program: str = "poolmgr", **environment: str) -> list[str]:
    """For the last of the words, as bash asks."""
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    asked = {"COMP_WORDS": " ".join((program, *words)), "COMP_CWORD": str(len(words)), variable: "bash_complete"}
    result = CliRunner().invoke(
        PROGRAMS[program], [], env={**poolmgr.environment, **asked, **environment}, prog_name=program
    )
    assert result.exit_code == 0
    assert not result.stderr
    return [line.partition(",")[2] for line in result.stdout.splitlines() if line]


def test_words_of_a_closed_set_are_offered(poolmgr: CommandLine) -> None:
    assert offered(poolmgr, "bots", "--reason", "browser_") == ["browser_crashed", "browser_hung"]
    assert offered(poolmgr, "tail", "--status", "er") == ["Error"]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine's Redis may answer later than somebody who pressed Tab waits."""
    monkeypatch.setattr("poolmgr.cli.names.DEADLINE_S", PATIENCE_S)


@pytest.fixture
def fleet(redis: Redis, keys: Keys) -> None:
    redis.zadd(keys.live, {"bot-1": 1, "bot-2": 2, "other": 3})
    redis.zadd(keys.ended, {"bot-0": 1})
    redis.sadd(keys.vms, "vm-7", "vm-1", "spare")


@pytest.fixture
def bash(poolmgr: CommandLine) -> Generator[Terminal]:
    found = shutil.which("bash")
    assert found
    where = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **poolmgr.environment, "PATH": where, "PS1": "$ ", "TERM": "xterm"}
    terminal = Terminal(by_command([found, "--norc", "--noprofile", "-i"], environment), columns=160)
    yield terminal
    terminal.close()


# What is offered for the others is tried below, without a bash.
TYPED: Final = (
    ("poolmgr expl\t", "poolmgr explain"),
    ("poolmgr drain s\t", "poolmgr drain spare"),
    ("poolmgr fleet --wat\t", "poolmgr fleet --watch"),
    ("poolmgr-worker swe\t", "poolmgr-worker sweep"),
)
MORE: Final = (
    ("poolmgr leave o\t", "poolmgr leave other"),
    ("poolmgr explain bot-0\t", "poolmgr explain bot-0 "),
    ("poolmgr tail --vm s\t", "poolmgr tail --vm spare"),
)


@pytest.mark.long
@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("lines", [TYPED, MORE], ids=["one of each", "more"])
def test_bash_completes_commands_options_and_ids(bash: Terminal, lines: Sequence[tuple[str, str]]) -> None:
    for program in PROGRAMS:
        bash.prompts("$")
        bash.type(f"source <({program} completion bash); echo is-there-$?\n")
        bash.shows("is-there-0")
        bash.type("clear\n")
        bash.until(lambda: "is-there" not in bash.text)
        bash.prompts("$")
    for typed, line in lines:
        bash.type(typed)
        bash.shows(f"$ {line}")
        bash.type("\x15")  # the line is emptied
        bash.prompts("$")


@pytest.mark.usefixtures("fleet", "patient")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("leave", ""), ["other", "bot-2", "bot-1"]),
        (("leave", "bot"), ["bot-2", "bot-1"]),
        (("explain", "bot"), ["bot-2", "bot-1", "bot-0"]),
        (("bots", "bot-0"), ["bot-0"]),
        (("recording", "none"), []),
        (("drain", ""), ["spare", "vm-1", "vm-7"]),
        (("tail", "--bot", "oth"), ["other"]),
        (("support", "sp"), ["spare"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
        (("acti",), ["actions"]),
    ],
    ids=" ".join,
)
def test_ids_are_those_of_redis_the_newest_first(
    words: Sequence[str], expected: list[str], poolmgr: CommandLine
) -> None:
    assert offered(poolmgr, *words) == expected


@pytest.mark.usefixtures("patient")
def test_the_file_that_the_line_names_counts(
    poolmgr: CommandLine, redis: Redis, keys: Keys, tmp_path: Path, redis_server: str
) -> None:
    redis.sadd(keys.vms, "vm-of-file")
    file = tmp_path / "config.toml"
    file.write_text(f'[redis]\nurl = "{redis_server}"\nprefix = "{keys.prefix}"\n')
    environment = {"POOLMGR_REDIS__URL": "", "POOLMGR_REDIS__PREFIX": ""}
    for name in environment:
        del poolmgr.environment[name]
    assert offered(poolmgr, "drain", "--config", str(file), "") == ["vm-of-file"]
    assert offered(poolmgr, "--config", str(file), "drain", "") == ["vm-of-file"]


@pytest.mark.parametrize(
    "environment",
    [
        {"POOLMGR_REDIS__URL": "redis://127.0.0.1:1/0"},
        {"POOLMGR_REDIS__URL": "nonsense"},
        {"POOLMGR_CONFIG": "/nowhere/config.toml"},
    ],
    ids=["no Redis", "bad settings", "no file"],
)
def test_where_redis_cannot_be_asked_nothing_is_offered_and_nothing_printed(
    environment: dict[str, str], poolmgr: CommandLine
) -> None:
    assert offered(poolmgr, "drain", "", **environment) == []


def test_a_redis_that_does_not_answer_is_waited_for_half_a_second(poolmgr: CommandLine) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        began = time.monotonic()
        assert offered(poolmgr, "drain", "", POOLMGR_REDIS__URL=url, POOLMGR_REDIS__TIMEOUT_S="60") == []
        assert DEADLINE_S <= time.monotonic() - began < 30


@pytest.mark.usefixtures("patient")
def test_what_could_steer_a_terminal_is_not_offered(poolmgr: CommandLine, redis: Redis, keys: Keys) -> None:
    redis.sadd(keys.vms, "vm-\x1b[2J", b"\xff", "vm-1")
    assert offered(poolmgr, "drain", "vm") == ["vm-1"]


def test_accounts_are_completed_for_sign_in(poolmgr: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    names = ("ann", "ben", "ada")
    accounts = "".join(
        f'[[worker.accounts]]\nname = "{name}"\nplatform = "room"\nstate_file = "/tmp/{name}"\n' for name in names
    )
    file.write_text(accounts)
    assert offered(poolmgr, "sign-in", "a", program="poolmgr-worker", POOLMGR_CONFIG=str(file)) == ["ann", "ada"]
    assert offered(poolmgr, "sign-in", "a", program="poolmgr-worker", POOLMGR_CONFIG="/nowhere") == []


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_that_it_can_read(shell: str, program: str, poolmgr: CommandLine) -> None:
    result = CliRunner().invoke(PROGRAMS[program], ["completion", shell], prog_name=program)
    assert result.exit_code == 0
    assert f"_{program.replace('-', '_').upper()}_COMPLETE={shell}_complete" in result.stdout
    if found := shutil.which(shell):
        subprocess.run([found, "-n"], input=result.stdout, text=True, check=True, timeout=60)
