"""What a command does not need it does not import: both programs start quickly, held without a clock.

Each is run as a program, to its end, and asked what it has imported by then.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from common.runtime.cli.lazy import LazyGroup
from poolmgr.cli import root as manager
from tests.commands import members
from tests.waiting import PATIENCE_S
from worker.cli import root as agent

ROOT: Final = Path(__file__).parents[3]
TELL: Final = """
import json, sys
from {package}.__main__ import main
sys.argv[0] = "{package}"
try:
    main()
finally:
    there = sorted(name for name, module in sys.modules.items() if module)
    print("\\n" + json.dumps(there), file=sys.stderr)
"""
UMASK: Final = """
import os
from {package}.__main__ import main
os.umask(0o022)
try:
    main()
finally:
    print("\\n%03o" % os.umask(0))
"""
DAEMON: Final = {
    "aiohttp", "prometheus_client", "structlog", "uvloop", "playwright", "poolmgr.app", "poolmgr.core.pool",
}  # fmt: skip
PEOPLE: Final = {"rich", "pygments"}
REDIS: Final = {"redis", "hiredis", "asyncio"}
OF_JOBS: Final = {"poolmgr.store.scripts", "common.jobs.job", "common.links.links"}


def run(package: str, *words: str, **environment: str) -> tuple[str, set[str]]:
    """What it printed, and the modules that it had imported at its end."""
    said, complaint = printed(TELL, package, *words, **environment)
    found = set(json.loads(complaint.splitlines()[-1]))
    assert f"{package}.cli.root" in found
    return said, found


def printed(script: str, package: str, *words: str, **environment: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", script.format(package=package), *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.stdout, done.stderr


@pytest.fixture
def taken_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield f"127.0.0.1:{holder.getsockname()[1]}"


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        ("--help", {*DAEMON, *PEOPLE, *REDIS, "msgspec", "poolmgr.store"}),
        ("version", {*DAEMON, *PEOPLE, *REDIS, "msgspec", "poolmgr.store"}),
        ("bots --json", {*DAEMON, *PEOPLE, *OF_JOBS}),
        pytest.param("fleet --json", {*DAEMON, *PEOPLE, *OF_JOBS}, marks=pytest.mark.long),
        pytest.param("fleet", {*DAEMON, "pygments", *OF_JOBS}, marks=pytest.mark.long),
    ],
)
def test_the_command_line_imports_no_more_than_it_needs(
    words: str, unwanted: set[str], redis_server: str, prefix: str
) -> None:
    environment = {"POOLMGR_REDIS__URL": redis_server, "POOLMGR_REDIS__PREFIX": prefix}
    printed, found = run("poolmgr", *words.split(), **environment)
    assert printed
    assert not found & unwanted


@pytest.mark.parametrize("words", ["--help", pytest.param("sweep --help", marks=pytest.mark.long)])
def test_the_help_of_the_agent_imports_no_browser_for_another_command(words: str) -> None:
    printed, found = run("worker", *words.split())
    assert "Usage: poolmgr-worker" in printed
    assert not found & {*PEOPLE, "aiohttp", "uvloop"}
    assert words != "--help" or not found & {*DAEMON, *REDIS, "msgspec"}


@pytest.mark.long
def test_a_manager_imports_neither_tables_nor_the_simulator_nor_the_command_line(taken_port: str) -> None:
    _, found = run("poolmgr", "serve", POOLMGR_API__LISTEN=taken_port, POOLMGR_METRICS__LISTEN="127.0.0.1:0")
    assert {"poolmgr.app", "aiohttp", "structlog"} <= found
    assert not found & {*PEOPLE, "opentelemetry", "playwright", "poolmgr.simulation", "poolmgr.cli.session"}


@pytest.mark.long
def test_an_agent_without_an_address_for_evidence_imports_no_http_client(tmp_path: Path) -> None:
    file = tmp_path / "state"
    file.touch()
    _, found = run("worker", "run", POOLMGR_WORKER__STATE_DIR=str(file))
    assert {"worker.agent", "playwright", "structlog"} <= found
    assert not found & {*PEOPLE, "opentelemetry", "aiohttp"}


@pytest.mark.parametrize(
    ("package", "words", "umask"),
    [
        ("worker", ("run",), "077"),
        pytest.param("poolmgr", ("serve",), "077", marks=pytest.mark.long),
        ("poolmgr", ("version",), "022"),
    ],
)
def test_what_a_daemon_writes_only_its_user_can_read_and_a_command_leaves_that_to_who_calls_it(
    package: str, words: tuple[str, ...], umask: str, taken_port: str, tmp_path: Path
) -> None:
    file = tmp_path / "state"
    file.touch()
    settings = {
        "POOLMGR_WORKER__STATE_DIR": str(file),
        "POOLMGR_API__LISTEN": taken_port,
        "POOLMGR_METRICS__LISTEN": "127.0.0.1:0",
    }
    said, _ = printed(UMASK, package, *words, **settings)
    assert said.split()[-1] == umask


@pytest.mark.parametrize(("package", "program"), [("poolmgr", manager.PROGRAM), ("worker", agent.PROGRAM)])
def test_names_of_commands_complete_without_importing_one(package: str, program: str) -> None:
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    shell = {variable: "zsh_complete", "COMP_WORDS": f"{program} pr", "COMP_CWORD": "1"}
    printed, found = run(package, **shell)
    assert printed.split("\n")[:2] == ["plain", "probe"]
    assert not found & {*DAEMON, *REDIS, "msgspec", "poolmgr.cli.bot.probe", "worker.cli.probe"}


@pytest.mark.parametrize("group", [manager.cli, agent.cli], ids=["poolmgr", "poolmgr-worker"])
def test_every_command_is_where_the_root_says(group: LazyGroup) -> None:
    assert [name for name, command in members(group).items() if command.name != name or not command.help] == []
