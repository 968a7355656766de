"""Finding bots: by every filter, page by page, and against a plain reading of all records."""

import json
import math
import random
from typing import Any

import pytest

from common.jobs.job import JobRules, parse_job
from common.jobs.record import Record, attribute
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.decisions import Accept, End
from poolmgr.store.forgetting import forget
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import Ledger
from poolmgr.store.reading import catalog as catalog_module
from poolmgr.store.reading.catalog import BadCursorError, Catalog, Position, Question, cursor_of, position_of
from tests.store.conftest import NOW

RULES = JobRules(frozenset({"127.0.0.1:8090"}))
LINKS = ("http://127.0.0.1:8090/r/one", "https://meet.google.com/abc-defg-hij", "https://zoom.us/j/1234567890")


@pytest.fixture
def catalog(redis: Any, keys: Keys) -> Catalog:
    return Catalog(redis, keys)


async def _add(ledger: Ledger, bot_id: str, at: float, *, end: Reason | None = None, **fields: Any) -> None:
    job = parse_job(json.dumps({"meeting_link": LINKS[0], "bot_id": bot_id, **fields}).encode(), NOW, RULES)
    await ledger.apply([Accept(bot_id, job, BotState.QUEUED, at, 1)], at)
    if end:
        await ledger.apply([End(bot_id, 0, end, at=at + 10, owner=job.owner)], at + 10)


async def _all(catalog: Catalog, question: Question, most: int = 7) -> list[str]:
    found: list[str] = []
    page = await catalog.page(question, most)
    found += [bot.bot_id for bot in page.bots]
    while page.more:
        assert len(page.bots) <= most
        page = await catalog.page(question, most, position_of(cursor_of(page.more)))
        found += [bot.bot_id for bot in page.bots]
    return found


async def test_bots_are_found_by_every_filter_and_all_of_them_together(ledger: Ledger, catalog: Catalog) -> None:
    chance = random.Random(1)
    bots: list[dict[str, Any]] = []
    for number in range(60):
        fields: dict[str, Any] = {
            "meeting_link": chance.choice(LINKS),
            "user_id": chance.choice(["u1", "u2"]),
            "calendar_event_id": chance.choice(["c1", "c2"]),
            "owner": chance.choice(["app", "other"]),
            "custom_attributes": {"tag": chance.choice([1, "1", [1, {"b": 2, "a": None}]]), "n": number % 2},
        }
        at = NOW + chance.choice([0.25, 1, 2, 3])  # many of the same moment
        end = chance.choice([None, Reason.EVERYONE_LEFT, Reason.BROWSER_CRASHED])
        await _add(ledger, f"bot-{number:02}", at, end=end, **fields)
        status = {None: "Joining", Reason.EVERYONE_LEFT: "Stopped", Reason.BROWSER_CRASHED: "Error"}[end]
        platform = {LINKS[0]: "room", LINKS[1]: "google_meet", LINKS[2]: "zoom"}[fields["meeting_link"]]
        bots.append({**fields, "bot_id": f"bot-{number:02}", "at": at, "status": status, "platform": platform})
    for _ in range(40):
        names = chance.sample(["user_id", "calendar_event_id", "owner", "platform", "tag", "n"], chance.randint(0, 3))
        like = chance.choice(bots)
        pairs = [
            ("attribute", attribute(name, like["custom_attributes"][name]))
            if name in ("tag", "n")
            else (name, like[name])
            for name in names
        ]
        status = chance.choice(["", "Joining", "Stopped", "Error"])
        since, until = chance.choice([(-math.inf, math.inf), (NOW + 1, NOW + 2)])
        expected = [
            bot["bot_id"]
            for bot in sorted(bots, key=lambda bot: (bot["at"], bot["bot_id"]), reverse=True)
            if status in ("", bot["status"])
            and since <= bot["at"] <= until
            and all(
                attribute(name, bot["custom_attributes"][name]) == attribute(name, like["custom_attributes"][name])
                if name in ("tag", "n")
                else bot[name] == like[name]
                for name in names
            )
        ]
        question = Question(status, tuple(pairs), since, until)
        assert await _all(catalog, question, most=chance.randint(1, 9)) == expected
    for number in range(60):
        await ledger.apply([End(f"bot-{number:02}", 0, Reason.EVERYONE_LEFT, at=NOW, owner=bots[number]["owner"])], NOW)


async def test_bots_of_one_moment_are_all_found_however_many(
    ledger: Ledger, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "_AT_ONCE", 4)
    for number in range(30):
        await _add(ledger, f"bot-{number:02}", NOW, end=Reason.EVERYONE_LEFT)
    assert await _all(catalog, Question(), most=3) == [f"bot-{number:02}" for number in reversed(range(30))]


async def test_a_request_looks_at_so_many_records_and_says_that_there_may_be_more(
    ledger: Ledger, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "_AT_ONCE", 5)
    monkeypatch.setattr(catalog_module, "_LOOKED_AT", 10)
    for number in range(30):
        fields = {"user_id": str(number % 2), "calendar_event_id": str(number == 0 or number % 2 == 1)}
        await _add(ledger, f"bot-{number:02}", NOW + number, end=Reason.EVERYONE_LEFT, **fields)
    question = Question("Stopped", (("user_id", "0"), ("calendar_event_id", "True")))
    page = await catalog.page(question, 1)
    assert (page.bots, page.more is None) == ([], False)
    assert await _all(catalog, question) == ["bot-00"]
    assert await catalog.page(Question("Error"), 5) == ([], None)


@pytest.mark.parametrize("apart_s", [1.0, 0.0])
async def test_a_page_goes_on_from_a_bot_that_was_shown_or_from_none(
    ledger: Ledger, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, apart_s: float
) -> None:
    """A caller who sees only its own bots reads the cursor, too."""
    monkeypatch.setattr(catalog_module, "_AT_ONCE", 2)
    monkeypatch.setattr(catalog_module, "_LOOKED_AT", 4)
    for number in range(30):
        fields: dict[str, Any] = {"user_id": "shared", "owner": "mine" if number % 7 in (0, 1) else "theirs"}
        await _add(ledger, f"{fields['owner']}-{number:02}", NOW + number * apart_s, **fields)
        await _add(ledger, f"more-{number:02}", NOW + number, owner="mine")
    question = Question("Joining", (("owner", "mine"), ("user_id", "shared")))
    found, named, page = list[str](), set[str](), await catalog.page(question, 1)
    while page.more:
        found += [bot.bot_id for bot in page.bots]
        named.add(page.more.bot_id.decode())
        page = await catalog.page(question, 1, position_of(cursor_of(page.more)))
    found += [bot.bot_id for bot in page.bots]
    assert found == [f"mine-{number:02}" for number in reversed(range(30)) if number % 7 in (0, 1)]
    if apart_s:
        assert named <= {*found, "~"}


async def test_bots_whose_record_is_gone_are_passed_over(
    redis: Any, keys: Keys, ledger: Ledger, catalog: Catalog
) -> None:
    for number in range(3):
        await _add(ledger, f"bot-{number}", NOW + number, end=Reason.EVERYONE_LEFT)
    await redis.delete(keys.bot("bot-1"))
    assert await _all(catalog, Question(), most=1) == ["bot-2", "bot-0"]
    await forget(redis, keys, "bot-1")


async def test_what_is_kept_of_a_bot_is_counted_as_it_is_deleted(
    redis: Any, keys: Keys, ledger: Ledger, catalog: Catalog
) -> None:
    fields = {"user_id": "u", "custom_attributes": {"a": 1}, "deduplication_key": "d", "one_bot_per_meeting": True}
    await _add(ledger, "bot-1", NOW, end=Reason.EVERYONE_LEFT, **fields)
    await redis.rpush(keys.chats("bot-1"), "{}")
    record = {name.decode(): value.decode() for name, value in (await redis.hgetall(keys.bot("bot-1"))).items()}
    counted = await catalog.objects_of(Record.from_hash(record))
    assert counted == await forget(redis, keys, "bot-1")


@pytest.mark.parametrize("position", [Position(NOW, b"bot-1"), Position(1.1, b"x")])
def test_a_cursor_says_its_position(position: Position) -> None:
    assert position_of(cursor_of(position)) == position


@pytest.mark.parametrize(
    "cursor",
    ["x", "!!", "é", "bnVsbA", "W10", "WzFd", "WzEsMl0", "WyJhIiwiYiJd", "W05hTiwiYiJd", "WzFlOTk5LCJiIl0", "//8",
     "W" * 999, "W1sxXSwiYiJd", "eyJhIjoxLCJiIjoyfQ", "W251bGwsImIiXQ", "WzEsIlx1ZDgwMCJd"],
)  # fmt: skip
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursorError):
        position_of(cursor)
