"""Which programs are started, and what they are told over file and environment."""

import sys
import sysconfig
from pathlib import Path

import pytest

from common.config.settings import Settings, parse
from common.runtime.redis.client import url_fault
from poolmgr.one_machine.folder import CannotRunError, StateFolder
from poolmgr.one_machine.news import PartName
from poolmgr.one_machine.programs import Program, Wishes, programs, redis_url, sweeping
from poolmgr.one_machine.run import Order, with_tokens_of_now

REDIS, MANAGER, AGENT = PartName
FOLDER = StateFolder(Path("/home/ana/a state 100%"))
NOTHING_SAID = Wishes(config=None, named={}, redis_set_by="", tokens="[]")


def told(part: PartName, wishes: Wishes = NOTHING_SAID, **environment: str) -> Program:
    return programs(FOLDER, wishes, environment)[part]


def test_with_nothing_configured_all_three_are_started_as_they_are_installed() -> None:
    here = Path(sys.executable).parent
    assert told(MANAGER).command == [str(here / "poolmgr"), "serve"]
    assert told(AGENT).command == [str(here / "poolmgr-worker"), "run"]
    redis = told(REDIS).command
    assert [redis[redis.index(f"--{name}") + 1] for name in ("port", "appendonly", "unixsocketperm")] == [
        "0",
        "yes",
        "600",
    ]


def test_both_programs_find_the_private_redis_whatever_its_path_holds() -> None:
    for part in (MANAGER, AGENT):
        settings = parse("", told(part).environment)
        assert settings.redis.url == redis_url(FOLDER)
        assert not url_fault(settings.redis)
        assert settings.log.format == "json"
    assert parse("", told(AGENT).environment).worker.state_dir == str(FOLDER.agent)


def test_what_is_configured_stays_as_it_is() -> None:
    named = {"redis.url": "/etc/poolmgr/config.toml", "worker.state_dir": "POOLMGR_WORKER__STATE_DIR"}
    wishes = Wishes(Path("/etc/poolmgr/config.toml"), named, "/etc/poolmgr/config.toml", "[]", min_idle=3)
    assert set(programs(FOLDER, wishes, {})) == {MANAGER, AGENT}
    for part in (MANAGER, AGENT):
        program = told(part, wishes, POOLMGR_WORKER__STATE_DIR="/data", POOLMGR_pool__min_idle="9")
        assert program.command[2:] == ["--config", "/etc/poolmgr/config.toml"]
        assert "POOLMGR_REDIS__URL" not in program.environment
        settings = parse("", program.environment)
        assert (settings.worker.state_dir, settings.pool.min_idle) == ("/data", 3)


def test_nobody_is_told_more_than_is_needed() -> None:
    secrets = {"POOLMGR_WEBHOOKS__SECRETS": '["whsec_x"]', "AWS_SECRET_ACCESS_KEY": "x", "PATH": "/usr/bin"}
    assert programs(FOLDER, NOTHING_SAID, secrets)[REDIS].environment == {"PATH": "/usr/bin"}
    tokens = '[{ name = "up", sha256 = "..." }]'
    assert "POOLMGR_API__TOKENS" not in told(AGENT, NOTHING_SAID._replace(tokens=tokens)).environment
    assert told(MANAGER, NOTHING_SAID._replace(tokens=tokens)).environment["POOLMGR_API__TOKENS"] == tokens


def test_a_manager_that_is_started_again_lets_in_whom_the_configuration_names_by_then(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    order = Order(StateFolder(tmp_path), Settings(), file, {}, None)
    before = Program(["poolmgr", "serve"], {"PATH": "/usr/bin", "POOLMGR_API__TOKENS": "[]"})
    for tokens, names in ((f'[{{ name = "crm", sha256 = "{"0" * 64}" }}]', ["crm", "up"]), ("[]", ["up"])):
        file.write_text(f"[api]\ntokens = {tokens}\n")
        now = with_tokens_of_now(before, order)
        assert [token.name for token in parse("", now.environment).api.tokens] == names
    file.write_text("[api]\nlisten = 1\n")
    assert with_tokens_of_now(before, order) == before, "it says itself what is wrong"
    file.write_text(f'[api]\ntokens = [{{ name = "up", sha256 = "{"0" * 64}" }}]\n')
    with pytest.raises(CannotRunError, match="up"):
        with_tokens_of_now(before, order)


def test_what_a_killed_agent_left_is_swept_with_its_own_settings() -> None:
    agent = told(AGENT, NOTHING_SAID._replace(config=Path("/c.toml")))
    assert sweeping(agent) == Program([agent.command[0], "sweep", "--config", "/c.toml"], agent.environment)


def test_a_redis_that_is_not_installed_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(CannotRunError, match=r"cannot find redis-server: install it .*or name a Redis.*in redis.url"):
        told(REDIS)


def test_an_installation_without_the_agent_is_told_to_be_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    manager = tmp_path / "poolmgr"
    manager.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(manager)])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    with pytest.raises(CannotRunError, match=r"cannot find poolmgr-worker beside .*install poolmgr"):
        told(AGENT)
