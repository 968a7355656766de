"""`poolmgr doctor`: what keeps a manager from its work."""

import json
import time
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner
from redis import Redis

from poolmgr.cli.program import doctor
from poolmgr.cli.root import cli
from poolmgr.store.keys import Keys
from tests.common.runtime.doctor.conftest import patient
from tests.waiting import PATIENCE_S

__all__ = ["patient"]

TOKENS = '[{ name = "crm", sha256 = "' + "0f" * 32 + '" }]'


@pytest.fixture(autouse=True)
def _patient_too(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setattr(doctor, "_QUICK_S", PATIENCE_S)


def run(*words: str, **environment: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(cli, ["doctor", *words], env={"POOLMGR_CONFIG": "", **environment})
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, {check["name"]: check for check in json.loads(result.stdout)["checks"]}


def test_each_check_says_what_it_found_and_what_to_do(redis_server: str) -> None:
    code, found = run("--json", POOLMGR_REDIS__URL=redis_server)
    assert found["redis"]["what"].endswith(" ms a call")
    assert found["clock"]["severity"] == "ok"
    assert (found["tokens"]["severity"], found["tokens"]["todo"][:20]) == ("warning", "`poolmgr token NAME`")
    assert found["webhooks"]["severity"] == "warning"
    assert all(check["todo"] for check in found.values() if check["severity"] in ("warning", "error"))
    assert code == any(check["severity"] == "error" for check in found.values())


def test_what_is_set_is_well() -> None:
    secrets = '["whsec_' + "A" * 32 + '"]'
    code, found = run("--json", "--offline", POOLMGR_API__TOKENS=TOKENS, POOLMGR_WEBHOOKS__SECRETS=secrets)
    assert code == 0
    assert {name: found[name]["severity"] for name in ("tokens", "webhooks", "certificate", "redis")} == {
        "tokens": "ok", "webhooks": "ok", "certificate": "ok", "redis": "skipped",
    }  # fmt: skip
    assert found["tokens"]["what"] == "crm"


@pytest.mark.parametrize(
    ("stands", "waits_since_s", "severity", "what"),
    [
        ({}, 0, "error", "it has never run"),
        ({"status": "1-0"}, 0, "ok", "0 s behind"),
        ({"status": "1-0"}, 100, "warning", "s behind"),
        ({"status": "1-0", "from": 5, "filled": 3, "why": "the stream is shorter"}, 0, "ok", "3 records so far"),
        ({"status": "1-0", "refused": 2}, 0, "warning", "2 items were refused for good"),
        ({"status": "1-0", "fault": "Amazon refused update_item"}, 0, "error", "Amazon refused update_item"),
    ],
)
def test_how_far_behind_the_mirror_is(
    stands: dict[str, str | int], waits_since_s: int, severity: str, what: str, redis_server: str, prefix: str
) -> None:
    keys = Keys(prefix)
    redis: Any = cast("Any", Redis).from_url(redis_server)
    with redis:
        if stands:
            redis.hset(keys.mirror, mapping=stands)
            redis.expire(keys.mirror, 60)
        if waits_since_s:
            redis.xadd(keys.status, {"bot_id": "b"}, id=f"{int((time.time() - waits_since_s) * 1000)}-0")
            redis.expire(keys.status, 60)
    environment = {"POOLMGR_REDIS__URL": redis_server, "POOLMGR_REDIS__PREFIX": prefix}
    _, found = run("--json", POOLMGR_MIRROR__TABLE="bots", **environment)
    assert (found["mirror"]["severity"], what in found["mirror"]["what"]) == (severity, True), found["mirror"]
    assert run("--json", **environment)[1]["mirror"]["severity"] == "skipped"


def test_redis_that_is_away_is_an_error_and_its_exit_code() -> None:
    code, found = run("--json", POOLMGR_REDIS__URL="redis://:hunter2@127.0.0.1:1/0")
    assert code == 1
    assert found["redis"]["severity"] == "error"
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("environment", "severity"),
    [
        ({"POOLMGR_API__LISTEN": ":8080"}, "warning"),
        ({"POOLMGR_API__TLS_CERT": "/nowhere.pem", "POOLMGR_API__TLS_KEY": "/nowhere.key"}, "error"),
    ],
)
def test_how_the_api_is_served(environment: dict[str, str], severity: str) -> None:
    _, found = run("--json", "--offline", **environment)
    assert found["certificate"]["severity"] == severity


def test_for_people_what_to_do_stands_under_what_was_found() -> None:
    result = CliRunner().invoke(cli, ["doctor", "--offline"], env={"POOLMGR_CONFIG": ""})
    lines = result.stdout.splitlines()
    [at] = [number for number, line in enumerate(lines) if line.startswith("warning  tokens")]
    assert lines[at + 1].lstrip().startswith("-> `poolmgr token NAME`")
    assert "poolmgr: 0 errors, " in result.stderr


def test_what_a_provider_of_speech_to_text_lacks_is_an_error(tmp_path: Path) -> None:
    def found(**settings: str) -> tuple[str, str]:
        environment = {f"POOLMGR_TRANSCRIPTION__{name.upper()}": value for name, value in settings.items()}
        _, checks = run("--json", "--offline", **environment)
        return checks["transcription"]["severity"], checks["transcription"]["what"]

    (tmp_path / "key").write_text("secret")
    assert found() == ("skipped", "no provider of speech to text is set up")
    assert found(openai_key_file=str(tmp_path / "key")) == ("ok", "openai")
    assert found(deepgram_key_file=str(tmp_path)) == ("error", "transcription.deepgram_key_file: cannot be read")
    severity, what = found(whisper_model=str(tmp_path))
    assert severity == "error"
    assert what.startswith(("engine_missing", "no_model"))
