"""`bots`: what is shown of a bot, and what is not."""

import asyncio
import time

import msgspec
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from common.config.settings import RetentionSettings
from common.jobs.record import Job
from common.wire.messages import Join
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.decisions import Accept, Assign, Decision, End, Move
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import Ledger
from poolmgr.store.scripts import load_scripts
from tests.cli.conftest import CommandLine

SECRET = "https://meet.google.com/secret-path?pwd=secret"
HOSTILE = "\x1b[31m[red]Ada[/red]\x1b]0;pwned\x07\u202e:smile:[/]"


@pytest.fixture
def write(redis_server: str, redis: Redis, keys: Keys) -> "Writer":
    redis.set(keys.epoch, 1)
    return Writer(redis_server, keys)


class Writer:
    """Writes records as a leader does."""

    def __init__(self, url: str, keys: Keys) -> None:
        self._url = url
        self._keys = keys

    def __call__(self, *decisions: Decision) -> None:
        asyncio.run(self._write(decisions))

    async def _write(self, decisions: tuple[Decision, ...]) -> None:
        redis: AsyncRedis = AsyncRedis.from_url(self._url)  # pyright: ignore[reportUnknownMemberType]
        try:
            await load_scripts(redis)
            await Ledger(redis, self._keys, RetentionSettings(), 1).apply(decisions, time.time())
        finally:
            await redis.aclose()


def accept(bot_id: str, at: float, *, name: str = "Ada", join_at: float | None = None) -> Accept:
    payload = msgspec.json.encode({"meeting_link": SECRET, "x": "payload-only"}).decode()
    job = Job(platform="google_meet", meeting_url=SECRET, bot_name=name, payload=payload, join_at=join_at)
    return Accept(bot_id, job, BotState.SCHEDULED if join_at else BotState.QUEUED, at, seq=1)


def assign(bot_id: str, vm_id: str = "vm-1") -> Assign:
    return Assign(vm_id, Join("w-1", bot_id, 1, "google_meet", SECRET, "Ada"), born=1.0, warm=True, waited_s=0.0)


def test_bots_are_listed_live_ones_first_and_newest_first(write: Writer, poolmgr: CommandLine) -> None:
    now = time.time()
    write(*(accept(bot_id, now - age) for bot_id, age in (("old", 90), ("ended", 60), ("new", 30))))
    write(End("ended", 0, Reason.NO_CAPACITY))
    assert [bot["bot_id"] for bot in poolmgr.json("bots")] == ["new", "old", "ended"]
    assert [bot["bot_id"] for bot in poolmgr.json("bots", "--live")] == ["new", "old"]
    assert [bot["bot_id"] for bot in poolmgr.json("bots", "--limit", "1")] == ["new"]
    heading, *rows = poolmgr("bots").stdout.splitlines()
    assert heading.split() == ["BOT", "NAME", "STATUS", "STATE", "VM", "CREATED", "TIME"]
    assert rows[0].split()[:5] == ["new", "Ada", "Joining", "queued", "–"]
    assert rows[2].split()[:5] == ["ended", "Ada", "Error", "no_capacity", "–"]


def test_a_scheduled_bot_shows_how_long_until_it_joins(write: Writer, poolmgr: CommandLine) -> None:
    write(accept("later", time.time(), join_at=time.time() + 7199))
    assert "in 1h 59m" in poolmgr("bots").stdout


def test_one_bot_shows_every_field_and_its_timeline(write: Writer, poolmgr: CommandLine) -> None:
    begin = time.time() - 100
    write(accept("b", begin), assign("b"))
    write(Move("b", 1, BotState.JOINING, begin + 99.5, "prejoin", "rule-1", first_request_at=begin + 99.25))
    write(Move("b", 1, BotState.IN_MEETING, begin + 99.75), End("b", 1, Reason.BROWSER_CRASHED, f"at {SECRET}"))
    shown = poolmgr("bots", "b").stdout
    record = poolmgr.json("bots", "b")
    fields, _, timeline = shown.partition("TIMELINE")
    names = {line.split()[0] for line in fields.splitlines() if line.strip()}
    assert {name for name in record if not name.endswith("_at")} <= names
    assert {"join_at", "payload"} & names == {"join_at"}
    steps = ("created", "first request", "joining", "in meeting", "assigned", "stopped")
    places = [timeline.index(f"\n{step} ") for step in steps]
    assert places == sorted(places)
    assert "waiting room" not in timeline
    assert "+1m 39s" in timeline
    assert timeline.count("+250 ms") == 2


def test_the_meeting_link_is_shown_only_on_request(write: Writer, poolmgr: CommandLine) -> None:
    write(accept("b", time.time()), assign("b"), End("b", 1, Reason.INTERNAL_ERROR, f"stuck at {SECRET}"))
    for arguments in (("bots",), ("bots", "b"), ("bots", "--json"), ("bots", "b", "--json")):
        result = poolmgr(*arguments)
        assert "secret" not in result.output
        assert "payload-only" not in result.output
    assert poolmgr.json("bots", "b")["meeting_url"] == "https://meet.google.com/…"
    shown = poolmgr("bots", "b", "--show-link").stdout
    assert SECRET in shown
    assert "payload-only" not in shown
    assert "payload-only" in poolmgr.json("bots", "b", "--show-link")["payload"]


@pytest.mark.parametrize("arguments", [("bots",), ("bots", "b")])
def test_hostile_values_are_printed_and_not_obeyed(
    arguments: tuple[str, ...], write: Writer, poolmgr: CommandLine, redis: Redis, keys: Keys
) -> None:
    write(accept("b", time.time(), name=HOSTILE))
    redis.hset(keys.bot("b"), mapping={"vm_id": HOSTILE, "status": HOSTILE, "created_at": HOSTILE, HOSTILE: HOSTILE})
    shown = poolmgr(*arguments, COLUMNS="1000").stdout
    assert "\\x1b[31m[red]Ada[/red]\\x1b]0;pwned\\x07\\u202e:smile:[/]" in shown
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_a_list_fits_into_a_hundred_columns(write: Writer, poolmgr: CommandLine) -> None:
    bot_id = "0123456789abcdef" * 2
    write(accept(bot_id, time.time(), name="A rather long name for a bot"), assign(bot_id, "meet-eu-west-1-vm-0017"))
    write(End(bot_id, 1, Reason.WAITING_ROOM_TIMEOUT))
    lines = poolmgr("bots").stdout.splitlines()
    assert len(lines) == 2
    assert all(len(line) <= 100 for line in lines)
    assert bot_id in lines[1]
    assert "NotAllowed" in lines[1]


def test_a_bot_that_is_not_there_is_not_found(poolmgr: CommandLine) -> None:
    assert poolmgr("bots", "nobody").exit_code == 4


def test_no_bot_is_an_empty_list_and_no_fault(poolmgr: CommandLine) -> None:
    assert poolmgr.json("bots") == []
    assert poolmgr("bots").exit_code == 0
    assert poolmgr("bots").stdout == ""


def test_a_prefix_that_holds_something_else_is_a_readable_fault(poolmgr: CommandLine, redis: Redis, keys: Keys) -> None:
    redis.set(keys.live, "mine")
    result = poolmgr("bots")
    assert result.exit_code == 5
    assert "WRONGTYPE" in result.stderr


def test_bots_are_chosen_by_age_and_reason(write: Writer, poolmgr: CommandLine) -> None:
    now = time.time()
    write(accept("old", now - 7200), assign("old"), End("old", 1, Reason.BROWSER_CRASHED))
    write(accept("new", now - 60), assign("new"), End("new", 1, Reason.BROWSER_CRASHED))
    write(accept("well", now - 50), assign("well"), End("well", 1, Reason.EVERYONE_LEFT))
    chosen: list[tuple[tuple[str, ...], str]] = [
        (("--since", "1h", "--reason", "browser_crashed"), "new"),
        (("--reason", "browser_crashed"), "new old"),
        (("--since", "90s"), "new well"),
        (("--since", "2h", "--live"), ""),
    ]
    for words, found in chosen:
        assert sorted(bot["bot_id"] for bot in poolmgr.json("bots", *words)) == found.split(), words
    assert len(poolmgr.json("bots", "--since", "2d", "--limit", "1")) == 1
    assert "there is no such bot" in poolmgr("bots", "--reason", "captcha").stderr
    refused = poolmgr("bots", "--since", "yesterday")
    assert refused.exit_code == 2
    assert "90s, 30m, 1h or 2d" in refused.stderr


def test_a_word_that_is_no_reason_or_status_is_refused_and_not_waited_for(poolmgr: CommandLine) -> None:
    for words, says in (
        (("bots", "--reason", "browser_crash"), "did you mean browser_crashed"),
        (("tail", "--reason", "browsercrashed"), "did you mean browser_crashed"),
        (("tail", "--status", "Errors"), "did you mean Error"),
        (("tail", "--status", "?"), "docs/redis-keys.md lists them"),
    ):
        refused = poolmgr(*words)
        assert (refused.exit_code, says in refused.stderr) == (2, True), words


def test_tail_prints_the_changes_that_are_asked_for(write: Writer, poolmgr: CommandLine) -> None:
    write(accept("b1", time.time()), assign("b1"), End("b1", 1, Reason.BROWSER_CRASHED))
    write(accept("b2", time.time()), assign("b2", "vm-2"))
    for words, lines in (
        (("--count", "5"), 5),
        (("--bot", "b2", "--count", "2"), 2),
        (("--status", "error", "--count", "1"), 1),
        (("--vm", "vm-2", "--count", "1"), 1),
    ):
        result = poolmgr("tail", "--since", "1h", *words)
        assert result.exit_code == 0
        assert len(result.stdout.splitlines()) == lines, words
    assert "browser_crashed" in poolmgr("tail", "--since", "1h", "--reason", "browser_crashed", "--count", "1").stdout
    assert poolmgr.json("tail", "--since", "1h", "--status", "ERROR", "--count", "1")["bot_id"] == "b1"
