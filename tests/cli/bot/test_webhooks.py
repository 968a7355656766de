"""`webhooks`: lines, logs and dead letters are shown without paths and queries, and what was given up is sent again."""

import json
import time
from typing import Any

import msgspec
import pytest
from redis import Redis

from common.jobs.outgoing import Delivery
from poolmgr.store.keys import Keys
from poolmgr.store.reading.webhooks import Attempt
from tests.cli.conftest import CommandLine, wait_for

AT = 1_800_000_000.0


def delivery(number: int, *, event: str = "bot.joining", bot_id: str = "b-1") -> bytes:
    url = "https://hooks.example/secret-path?token=secret"
    return msgspec.json.encode(Delivery(f"evt_{number}", bot_id, event, url, '{"secret":1}', AT + number))


@pytest.fixture
def bury(redis: Redis, keys: Keys) -> Any:
    """Writes dead letters as the leader does; answers their entry ids."""

    def write(number: int, *, event: str = "bot.joining") -> str:
        facts = {"reason": "gone", "outcome": "410", "attempts": 2, "at": "2027-01-15T08:00:00.000000Z"}
        entry_id: Any = redis.xadd(keys.webhooks_dead, {"delivery": delivery(number, event=event), **facts})
        return entry_id.decode()

    return write


@pytest.fixture
def line(redis: Redis, keys: Keys) -> None:
    """Two webhooks wait, the first of them failed twice."""
    redis.rpush(
        keys.deliveries("b-1"), b"2 1800000000 " + delivery(1), b"0 1800000001 " + delivery(2, event="bot.done")
    )
    redis.zadd(keys.webhooks_due, {"b-1": time.time() + 3630})
    for number, outcome in ((1, "500"), (2, "timeout")):
        attempt = Attempt("evt_1", "bot.joining", number, "2027-01-15T08:00:00.000000Z", 0.25, outcome, "hooks.example")
        redis.lpush(keys.delivery_log("b-1"), msgspec.json.encode(attempt))


@pytest.mark.usefixtures("line")
def test_a_bots_line_and_log_are_shown(poolmgr: CommandLine) -> None:
    result = poolmgr("webhooks", "b-1")
    assert result.exit_code == 0
    assert "2 webhooks to be delivered, the first one in 1h 00m" in result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["WAITING", "HAPPENED", "ATTEMPTS", "HOST"]
    assert [row[0] for row in rows[1:3]] == ["bot.joining", "bot.done"]
    assert [(row[0], row[3], row[4]) for row in rows[4:]] == [
        ("bot.joining", "2", "timeout"),
        ("bot.joining", "1", "500"),
    ]
    assert "secret" not in result.stdout + result.stderr
    shown = poolmgr.json("webhooks", "b-1")
    assert [(webhook["event"], webhook["attempts"], webhook["host"]) for webhook in shown["waiting"]] == [
        ("bot.joining", 2, "hooks.example"),
        ("bot.done", 0, "hooks.example"),
    ]
    assert [attempt["outcome"] for attempt in shown["log"]] == ["timeout", "500"]
    assert shown["next_at"] > "2026"
    assert "secret" not in json.dumps(shown)


def test_a_bot_without_webhooks_is_not_one_that_is_unknown(poolmgr: CommandLine, redis: Redis, keys: Keys) -> None:
    redis.hset(keys.bot("quiet"), "bot_id", "quiet")
    quiet = poolmgr("webhooks", "quiet")
    assert (quiet.exit_code, quiet.stdout) == (0, "")
    assert "none was sent" in quiet.stderr
    assert poolmgr.json("webhooks", "quiet") == {"bot_id": "quiet", "next_at": "", "waiting": [], "log": []}
    assert poolmgr("webhooks", "unknown\x1b[2J").exit_code == 4


def test_what_was_given_up_is_listed_latest_first(bury: Any, poolmgr: CommandLine) -> None:
    first, latest = bury(1), bury(2, event="bot.\x1b[2J")
    result = poolmgr("webhooks", "--dead", COLUMNS="200")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[0] for row in rows[1:]] == [latest, first]
    assert {"gone", "410", "hooks.example"} <= set(rows[2])
    assert "\x1b" not in result.stdout
    assert "secret" not in result.stdout
    (shown,) = poolmgr.json("webhooks", "--dead", "--limit", "1")
    assert (shown["entry_id"], shown["reason"], shown["attempts"], shown["bot_id"]) == (latest, "gone", 2, "b-1")
    assert "secret" not in json.dumps(shown)


def test_one_is_sent_again_once(bury: Any, poolmgr: CommandLine, redis: Redis, keys: Keys) -> None:
    entry_id = bury(1)
    result = poolmgr("webhooks", "--replay", entry_id)
    assert (result.exit_code, result.stdout) == (0, "put 1 webhook in line again\n")
    assert "no manager leads" in result.stderr
    assert redis.llen(keys.deliveries("b-1")) == 1
    assert poolmgr("webhooks", "--replay", entry_id).exit_code == 4
    assert redis.llen(keys.deliveries("b-1")) == 1


def test_all_are_sent_again_oldest_first(bury: Any, poolmgr: CommandLine) -> None:
    ids = [bury(number) for number in range(3)]
    assert poolmgr.json("webhooks", "--replay", "all") == {"replayed": ids}
    assert [webhook["id"] for webhook in poolmgr.json("webhooks", "b-1")["waiting"]] == ["evt_0", "evt_1", "evt_2"]
    assert poolmgr("webhooks", "--dead").stderr == "poolmgr: no webhook was given up\n"
    assert poolmgr("webhooks", "--replay", "all").stdout == "put 0 webhooks in line again\n"


@pytest.mark.usefixtures("manager")
def test_a_manager_that_leads_takes_it_up_at_once(bury: Any, poolmgr: CommandLine) -> None:
    bury(1)
    poolmgr("webhooks", "--replay", "all")
    wait_for(lambda: poolmgr.json("webhooks", "b-1")["log"])


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        ((), 2),
        (("b-1", "--dead"), 2),
        (("--dead", "--replay", "all"), 2),
        (("--replay", "+"), 2),
        (("--replay", "1764000000000-0"), 4),
        (("--replay", "9" * 20 + "-0"), 5),
    ],
)
def test_it_says_what_is_wrong(arguments: tuple[str, ...], exit_code: int, poolmgr: CommandLine) -> None:
    result = poolmgr("webhooks", *arguments)
    assert result.exit_code == exit_code
    assert result.stderr
