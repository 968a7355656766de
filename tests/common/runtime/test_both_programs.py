"""One habit for both programs: what holds for one holds for the other. Every test here is of both."""

import json
import os
import re
import resource
import socket
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import pytest
from click.testing import CliRunner, Result

from common.runtime import exits
from common.runtime.exits import EXIT_USAGE, EXITS
from poolmgr.cli import root as manager
from tests.commands import members, paths
from tests.fork_server import ForkServer
from tests.waiting import wait_until
from worker.cli import root as agent

DEADLINE_S: Final = 60.0
SECRET: Final = "hunter2"


class Program(NamedTuple):
    """`daemon`: the command that stays."""

    name: str
    cli: click.Group
    module: str
    daemon: str

    def __call__(self, *words: str, **environment: str) -> Result:
        result = CliRunner().invoke(self.cli, words, env={"POOLMGR_CONFIG": "", **environment}, prog_name=self.name)
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result


PROGRAMS: Final = [
    Program(manager.PROGRAM, manager.cli, "poolmgr", "serve"),
    Program(agent.PROGRAM, agent.cli, "worker", "run"),
]
LINK: Final = "http://127.0.0.1:8090/r/x"
READING: Final = [
    *((PROGRAMS[0], words) for words in ("serve", f"submit {LINK}", "bots", "bots b1", "explain b1", "leave b1")),
    *((PROGRAMS[0], words) for words in ("recording b1", "mirror")),
    *((PROGRAMS[0], words) for words in ("fleet", "drain vm-1", f"probe {LINK}", "dead", "dead put-back --all")),
    *(
        (PROGRAMS[0], words)
        for words in ("webhooks b1", "webhooks --dead", "simulate --hours 1", "audit", "doctor", "up", "tail", "top")
    ),
    *((PROGRAMS[0], words) for words in ("actions", "support b1", "probes", "usage")),
    *((PROGRAMS[1], words) for words in ("run", "sweep", "sign-in ann", f"probe {LINK}", "check", "audit", "doctor")),
    (PROGRAMS[1], f'once --job {{"meeting_link":"{LINK}"}}'),
    *((program, words) for program in PROGRAMS for words in ("config check", "config show")),
]
"""Every command that goes by the settings, with what else it needs to hear."""

of_both = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
of_every_command = pytest.mark.parametrize(
    ("program", "path"),
    [(program, path) for program in PROGRAMS for path in paths(program.cli)],
    ids=lambda value: value.name if isinstance(value, Program) else " ".join(value),
)
of_every_reader = pytest.mark.parametrize(
    ("program", "words"), READING, ids=lambda value: value.name if isinstance(value, Program) else value
)


def found(program: Program, path: tuple[str, ...]) -> click.Command:
    command: click.Command = program.cli
    for name in path:
        assert isinstance(command, click.Group)
        command = members(command)[name]
    return command


@of_every_command
def test_help_is_there_by_both_names_and_has_an_example_that_names_the_command(
    program: Program, path: tuple[str, ...]
) -> None:
    result = program(*path, "--help")
    assert result.exit_code == 0
    _, example, examples = result.stdout.partition("Example")
    assert example
    assert " ".join((program.name, *path)) in examples
    assert program(*path, "-h").stdout == result.stdout


@of_every_command
def test_every_command_takes_a_file_and_prints_for_programs(program: Program, path: tuple[str, ...]) -> None:
    options = {name for parameter in found(program, path).params for name in parameter.opts}
    if path != ("config",):  # which only holds others
        assert {"--config", "--json"} <= options


@of_both
def test_the_help_of_the_program_lists_its_exit_codes(program: Program) -> None:
    _, _, listed = program("--help").stdout.partition("Exit codes:")
    said = dict(line.split(maxsplit=1) for line in listed.strip().splitlines())
    assert said == {str(way.code): way.meaning for way in EXITS if program.name in way.programs}


def test_the_table_has_every_exit_code_once() -> None:
    codes = {value for name, value in vars(exits).items() if name.startswith("EXIT_")}
    assert sorted(way.code for way in EXITS) == sorted({0, *codes})


@of_both
def test_the_version_is_told_for_people_and_for_programs(program: Program) -> None:
    told = program("version").stdout
    assert told == program("--version").stdout
    assert told.split()[0] == program.name
    assert json.loads(program("version", "--json").stdout)["poolmgr"] == told.split()[1]


@of_both
@pytest.mark.parametrize("way", ["argument", "option", "option of the program", "variable"])
def test_a_file_is_named_in_each_of_the_same_ways(way: str, program: Program, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[pool]\nmin_idle = 3\n")
    result = {
        "argument": lambda: program("config", "check", str(file)),
        "option": lambda: program("config", "check", "--config", str(file)),
        "option of the program": lambda: program("--config", str(file), "config", "check"),
        "variable": lambda: program("config", "check", POOLMGR_CONFIG=str(file)),
    }[way]()
    assert (result.exit_code, result.stdout) == (0, f"ok: {file}\n")


@of_both
def test_what_is_said_nearest_counts(program: Program, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.toml" for number in range(3)]
    for number, file in enumerate(files):
        file.write_text(f"[pool]\nmin_idle = {number}\n")
    variable, of_program, of_command = map(str, files)

    def min_idle(*words: str, **environment: str) -> int:
        shown = program(*words, "--json", POOLMGR_CONFIG=variable, **environment).stdout
        return json.loads(shown)["settings"]["pool"]["min_idle"]

    assert min_idle("config", "show") == 0
    assert min_idle("--config", of_program, "config", "show") == 1
    assert min_idle("--config", of_program, "config", "show", "--config", of_command) == 2
    assert min_idle("config", "show", "--config", of_command, POOLMGR_POOL__MIN_IDLE="7") == 7


@of_every_reader
@pytest.mark.parametrize("source", ["file", "environment"])
def test_no_command_ignores_the_file_that_the_variable_names_or_the_environment(
    source: str, program: Program, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[pool]\nmin_idel = 3\n" if source == "file" else "")
    changed = {} if source == "file" else {"POOLMGR_POOL__MIN_IDEL": "3"}
    result = program(*words.split(), POOLMGR_CONFIG=str(file), **changed)
    assert result.exit_code == EXIT_USAGE
    [line] = result.stderr.splitlines()
    at_fault = "pool.min_idel" if source == "file" else "POOLMGR_POOL__MIN_IDEL"
    assert line.startswith(f"{program.name}: {at_fault}: unknown key")


def test_every_command_that_reads_the_settings_is_tried_here() -> None:
    tried = {(program.name, words.split()[0]) for program, words in READING}
    there = {(program.name, name) for program in PROGRAMS for name in members(program.cli)}
    of_both_programs = {(program.name, name) for program in PROGRAMS for name in ("version", "completion")}
    assert there - tried == {("poolmgr", "token"), *of_both_programs}


@of_every_reader
def test_a_file_that_is_not_there_is_told_with_who_named_it(program: Program, words: str) -> None:
    fault = "cannot read /nowhere/config.toml: No such file or directory\n"
    by_variable = program(*words.split(), POOLMGR_CONFIG="/nowhere/config.toml")
    assert (by_variable.exit_code, by_variable.stderr) == (EXIT_USAGE, f"{program.name}: POOLMGR_CONFIG: {fault}")
    by_option = program("--config", "/nowhere/config.toml", *words.split())
    assert (by_option.exit_code, by_option.stderr) == (EXIT_USAGE, f"{program.name}: {fault}")


@of_both
def test_variables_that_look_like_settings_and_are_none_are_noted_by_check(program: Program) -> None:
    known = {"POOLMGR_PROBE_PASSCODE": SECRET, "POOLMGR_SUBMIT_PASSCODE": SECRET}
    result = program("config", "check", POOLMGR_REDIS_URL="redis://elsewhere:6379", **known)
    assert result.exit_code == 0
    assert "POOLMGR_REDIS_URL is not read" in result.stderr
    assert "PASSCODE" not in result.stderr


# What a daemon says first


def said_at_start(
    fork_server: ForkServer, program: Program, folder: Path, *words: str, **environment: str
) -> list[dict[str, Any]]:
    """The log of a daemon that cannot run: its address is taken, its state folder a file."""
    blocked = folder / "state"
    blocked.touch()
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = f"127.0.0.1:{holder.getsockname()[1]}"
        needs = {"POOLMGR_API__LISTEN": taken, "POOLMGR_WORKER__STATE_DIR": str(blocked), "POOLMGR_LOG__FORMAT": "json"}
        whole = {**os.environ, **needs, **environment}
        started = fork_server.start_read(program.module, *words, program.daemon, environment=whole)
        _, said = started.communicate(DEADLINE_S)
        started.close()
    assert started.returncode in (exits.EXIT_FAILED, EXIT_USAGE)
    assert SECRET not in said
    assert said.splitlines()[-1].startswith(f"{program.name}: cannot ")
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


@of_both
async def test_it_never_dumps_core(fork_server: ForkServer, program: Program, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "POOLMGR_API__LISTEN": "127.0.0.1:0",
        "POOLMGR_METRICS__LISTEN": "127.0.0.1:0",
        "POOLMGR_REDIS__URL": "redis://127.0.0.1:1",
        "POOLMGR_WORKER__STATE_DIR": str(tmp_path / "state"),
    }
    with (tmp_path / "log").open("wb") as log:
        started = fork_server.start(program.module, program.daemon, environment=environment, log=log)
    try:
        await wait_until(lambda: (tmp_path / "log").read_bytes())
        assert resource.prlimit(started.pid, resource.RLIMIT_CORE) == (0, 0)
    finally:
        started.close()


@of_both
@pytest.mark.parametrize("named_by", ["--config", "POOLMGR_CONFIG", ""])
def test_it_says_first_which_file_it_read_which_variables_override_it_and_which_only_look_as_if(
    fork_server: ForkServer, named_by: str, program: Program, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[redis]\nprefix = "other"\n')
    words = ("--config", str(file)) if named_by == "--config" else ()
    environment = {"POOLMGR_CONFIG": str(file)} if named_by == "POOLMGR_CONFIG" else {"POOLMGR_CONFIG": ""}
    url = f"redis://ada:{SECRET}@127.0.0.1:1/0"
    environment |= {"POOLMGR_REDIS__URL": url, "POOLMGR_REDIS_URL": url}
    first, second, *_ = said_at_start(fork_server, program, tmp_path, *words, **environment)
    assert (first["event"], first["level"], first["program"]) == ("configuration_read", "info", program.name)
    assert first["file"] == (str(file) if named_by else "")
    assert first.get("named_by", "") == named_by
    assert ("no file was named" in first.get("detail", "")) == (not named_by)
    assert first["redis"] == "redis://127.0.0.1:1"
    here = {variable for variable in os.environ if re.match("POOLMGR_.*__", variable)}
    expected = {"POOLMGR_API__LISTEN", "POOLMGR_LOG__FORMAT", "POOLMGR_REDIS__URL", "POOLMGR_WORKER__STATE_DIR"}
    assert first["environment"] == sorted(expected | here)
    assert (second["event"], second["level"]) == ("variables_unread", "warning")
    assert second["variables"] == ["POOLMGR_REDIS_URL"]
