"""`dead`: rejected jobs are shown harmlessly, and handed in again once."""

import json
from typing import Any

import pytest
from redis import Redis

from poolmgr.store.keys import Keys
from tests.cli.conftest import LINK, CommandLine, wait_for


@pytest.fixture
def reject(redis: Redis, keys: Keys) -> Any:
    """Writes entries as the manager does; answers their ids."""

    def write(payload: bytes, *, detail: str = "a detail", bot_id: str = "") -> str:
        facts = {"reason": "bad_link", "detail": detail, "bot_id": bot_id, "at": "2026-01-31T09:00:00.000000Z"}
        entry_id: Any = redis.xadd(keys.dead, {"payload": payload, **facts})
        return entry_id.decode()

    return write


def test_rejected_jobs_are_listed_latest_first_with_links_redacted(reject: Any, poolmgr: CommandLine) -> None:
    reject(b'{"meeting_link": "meet.example/secret"}')
    latest = reject(json.dumps({"meeting_link": LINK, "bot_name": "x" * 90}).encode(), bot_id="b-2")
    shown = poolmgr("dead").stdout.splitlines()
    assert shown[0] == f"{latest}  2026-01-31 09:00  bad_link"
    assert [line.split() for line in shown[1:3]] == [["detail", "a", "detail"], ["bot", "b-2"]]
    payload = shown[3].removeprefix("  payload  ")
    assert payload.startswith('{"meeting_link": "http://127.0.0.1/…", "bot_name": "xx')
    assert len(payload) == 60
    assert "secret" not in poolmgr("dead").stdout
    listed = poolmgr.json("dead", "--limit", "1")
    assert [job["entry_id"] for job in listed] == [latest]
    assert "secret" not in listed[0]["payload"]


def test_hostile_payloads_are_printed_and_not_obeyed(reject: Any, poolmgr: CommandLine) -> None:
    reject(b"\x1b[2J[bold]\xff\x00 https://meet.example/secret", detail="\x1b]0;x\x07[/]", bot_id="\r")
    shown = poolmgr("dead").stdout
    assert "\\x1b[2J[bold]" in shown
    assert "\\x1b]0;x\\x07[/]" in shown
    assert "secret" not in shown
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_a_payload_with_half_a_surrogate_pair_is_json_that_others_can_read(reject: Any, poolmgr: CommandLine) -> None:
    reject(rb'{"bot_name": "\ud800"}')
    (shown,) = poolmgr.json("dead")
    assert shown["payload"] == '{"bot_name": "\\ud800"}'


def test_a_job_is_put_back_as_it_was_and_once(reject: Any, poolmgr: CommandLine, redis: Redis, keys: Keys) -> None:
    entry_id = reject(b"\xff raw")
    result = poolmgr("dead", "put-back", entry_id)
    assert (result.exit_code, result.stdout) == (0, "put back 1 job\n")
    assert "no manager leads" in result.stderr
    assert redis.lrange(keys.jobs, 0, -1) == [b"\xff raw"]
    again = poolmgr("dead", "put-back", entry_id)
    assert again.exit_code == 4
    assert redis.llen(keys.jobs) == 1


def test_all_are_put_back_oldest_first(reject: Any, poolmgr: CommandLine, redis: Redis, keys: Keys) -> None:
    ids = [reject(f"job {number}".encode()) for number in range(3)]
    assert poolmgr.json("dead", "put-back", "--all") == {"put_back": ids}
    assert [redis.rpop(keys.jobs) for _ in ids] == [b"job 0", b"job 1", b"job 2"]
    assert poolmgr.json("dead") == []
    assert poolmgr("dead", "put-back", "--all").stdout == "put back 0 jobs\n"


@pytest.mark.usefixtures("manager")
def test_a_job_that_is_rejected_again_comes_back_under_a_new_id(poolmgr: CommandLine, redis: Redis, keys: Keys) -> None:
    redis.lpush(keys.jobs, "not json", "nor this")
    wait_for(lambda: redis.xlen(keys.dead) == 2)
    before = {job["entry_id"] for job in poolmgr.json("dead")}
    assert len(poolmgr.json("dead", "put-back", "--all")["put_back"]) == 2
    wait_for(lambda: redis.xlen(keys.dead) == 2)
    assert not before & {job["entry_id"] for job in poolmgr.json("dead")}


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [(("1764000000000-0",), 4), (("+",), 2), (("9" * 20 + "-0",), 5), ((), 2), (("1-0", "--all"), 2)],
)
def test_put_back_says_what_is_wrong(arguments: tuple[str, ...], exit_code: int, poolmgr: CommandLine) -> None:
    result = poolmgr("dead", "put-back", *arguments)
    assert result.exit_code == exit_code
    assert result.stderr


def test_what_was_said_to_the_group_counts_for_its_command(reject: Any, poolmgr: CommandLine, tmp_path: Any) -> None:
    entry_id = reject(b"x")
    file = tmp_path / "bad.toml"
    file.write_text("[nonsense]\nx = 1\n")
    assert poolmgr("dead", "--config", str(file), "put-back", entry_id).exit_code == 2
    assert json.loads(poolmgr("dead", "--json", "put-back", entry_id).stdout) == {"put_back": [entry_id]}
