"""`config`, and the file that documents every setting."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from common.config.settings import Settings, parse
from tests.cli.conftest import ROOT, CommandLine

EXAMPLE = ROOT / "config.example.toml"
KEYS = [
    (section.name, key.name)
    for section in msgspec.structs.fields(Settings)
    for key in msgspec.structs.fields(section.type)
]


def comments_by_key() -> dict[tuple[str, str], list[str]]:
    """The comment right above each key of the example, in the order of the file."""
    found: dict[tuple[str, str], list[str]] = {}
    section, comment = "", list[str]()
    for line in EXAMPLE.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
            continue
        elif " = " in line:
            found[section, line.partition(" = ")[0]] = comment
        comment = []
    return found


def test_the_example_is_the_defaults() -> None:
    assert parse(EXAMPLE.read_text()) == Settings()


def test_the_example_has_every_key_in_the_order_of_the_code() -> None:
    assert list(comments_by_key()) == KEYS


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_the_example_gives_unit_default_and_reason_of_every_key(section: str, key: str) -> None:
    first, *why = comments_by_key()[section, key]
    unit, found, default = first.partition("Default: ")
    assert unit
    assert found
    assert why
    value: Any = getattr(getattr(Settings(), section), key)
    spoken = default.split(" (")[0].split(". ")[0].rstrip(".")
    assert tomllib.loads(f"v = {spoken}")["v"] == value


def test_check_says_ok_and_where_the_configuration_was_read(poolmgr: CommandLine) -> None:
    result = poolmgr("config", "check", str(EXAMPLE))
    assert result.exit_code == 0
    assert result.stdout.startswith(f"ok: {EXAMPLE}, overridden by ")


def test_check_names_every_fault_on_its_own_line(poolmgr: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('[pool]\nmin_idel = 3\nmax_workers = "many"\n[rediss]\nurl = "x"\n')
    result = poolmgr("config", "check", "--config", str(file), POOLMGR_LOG__LEVEL="loud")
    assert result.exit_code == 2
    assert result.stdout == ""
    faults = result.stderr.splitlines()
    assert len(faults) == 4
    for name in ("pool.min_idel", "pool.max_workers", "rediss.url", "POOLMGR_LOG__LEVEL"):
        assert sum(line.startswith(f"poolmgr: {name}: ") for line in faults) == 1


def test_check_for_programs_lists_the_faults_as_data(poolmgr: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[pool]\nmin_idle = -1\n")
    result = poolmgr("config", "check", str(file), "--json", POOLMGR_POOL__MIN_IDLE="3")
    answer = json.loads(result.stdout)
    assert result.exit_code == 2
    assert not answer["ok"]
    assert answer["faults"][0].startswith("pool.min_idle: ")


@pytest.mark.parametrize("command", [("config", "show"), ("bots",), ("fleet",)])
def test_a_file_that_is_not_there_is_one_readable_line(command: tuple[str, ...], poolmgr: CommandLine) -> None:
    result = poolmgr(*command, "--config", "/nowhere/config.toml")
    assert result.exit_code == 2
    assert result.stderr == "poolmgr: cannot read /nowhere/config.toml: No such file or directory\n"


def test_show_prints_toml_that_means_the_same(poolmgr: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        '[worker]\nstate_dir = "/a \\"b\\" \\\\ \\u0085 ü"\nheadless = false\n[meetings]\nroom_hosts = []\n'
    )
    shown = poolmgr("config", "show", "--config", str(file)).stdout
    assert parse(shown) == parse(file.read_text(), poolmgr.environment)


def test_show_masks_secrets_and_says_what_the_environment_set(poolmgr: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    digest, secret = "0f" * 32, "whsec_" + "A" * 32
    file.write_text(
        f"[[api.tokens]]\nname = 'one'\nsha256 = '{digest}'\n[[api.tokens]]\nname = 'two'\nsha256 = '{digest}'\n"
        f"[webhooks]\nsecrets = ['{secret}']\n[evidence]\nupload_url = 'https://ada:hunter2@store.example/'\n"
        "[capture]\nstore = 's3://b'\nstore_options = { secret_access_key = 'hunter2', region = 'eu' }\n"
    )
    url = "redis://ada:pass@word@redis.example:6379/0?password=another"
    for form in ((), ("--json",)):
        result = poolmgr("config", "show", "--config", str(file), *form, POOLMGR_REDIS__URL=url)
        assert result.exit_code == 0
        assert "redis.example:6379" in result.stdout
        assert not re.search(f"{digest}|{secret}|pass@|word@|another|hunter2", result.stdout)
        assert "two" in result.stdout
        if not form:
            shown = tomllib.loads(result.stdout)
            assert [token["name"] for token in shown["api"]["tokens"]] == ["one", "two"]
        assert "POOLMGR_REDIS__URL" in result.stdout


def test_an_unreachable_redis_is_named_without_its_password(poolmgr: CommandLine) -> None:
    result = poolmgr("bots", POOLMGR_REDIS__URL="redis://:hunter2@127.0.0.1:1/0")
    assert result.exit_code == 5
    assert result.stderr.startswith("poolmgr: cannot reach Redis at redis://:***@127.0.0.1:1/0")
    assert "hunter2" not in result.output


@pytest.mark.parametrize("command", ["bots", "serve", "config check"])
@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:hunter2/0",
        "redis://user:hunter2/x@127.0.0.1",
        "redis://[::1/0",
        "redis://127.0.0.1:1/0?max_connections=x",
        "redis://127.0.0.1:1/0?hunter2=1",
        "redis://127.0.0.1:1/zero",
        "unix://hunter2?db=x",
        "redis+sentinel://127.0.0.1:1,:hunter2@127.0.0.1",
        "redis+sentinel://127.0.0.1:hunter2/pool",
        "redis+sentinel://127.0.0.1/pool?hunter2=1",
    ],
)
def test_a_redis_url_that_is_none_is_a_wrong_configuration(url: str, command: str, poolmgr: CommandLine) -> None:
    result = poolmgr(*command.split(), POOLMGR_REDIS__URL=url)
    assert result.exit_code == 2
    assert result.stderr.startswith("poolmgr: redis.url: ")
    assert len(result.stderr.splitlines()) == 1
    assert "hunter2" not in result.output
    assert result.stderr.startswith("poolmgr: ")
