"""A bot's line of webhooks in Redis: each script does its thing once, in order, and only for the leader."""

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from common.config.settings import RetentionSettings, Settings
from common.jobs.outgoing import Delivery
from common.jobs.record import Job, Record
from common.webhooks import envelope
from common.webhooks.envelope import render
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.decisions import Accept, End
from poolmgr.store.forgetting import forget
from poolmgr.store.keys import Keys
from poolmgr.store.leader.deliveries import Deliveries
from poolmgr.store.leader.inbox import Stream
from poolmgr.store.leader.ledger import Ledger, StaleEpochError
from poolmgr.store.reading.webhooks import Attempt, Waiting, Webhooks, line_life_s
from tests.store.conftest import NOW

SETTINGS = Settings(retention=RetentionSettings(dead_entries=100))


@pytest.fixture
def deliveries(redis: Any, keys: Keys) -> Deliveries:
    return Deliveries(redis, keys, SETTINGS, epoch=1)


@pytest.fixture
def stale(redis: Any, keys: Keys) -> Deliveries:
    return Deliveries(redis, keys, SETTINGS, epoch=0)


@pytest.fixture
def letters(redis: Any, keys: Keys) -> Webhooks:
    return Webhooks(redis, keys)


Put = Callable[..., Awaitable[bytes]]


@pytest.fixture
async def put(redis: Any, keys: Keys, deliveries: Deliveries) -> Put:
    """Puts webhooks with these numbers into b's line, by an outbox entry as the leader reads it. Answers the entry."""
    outbox = Stream(redis, keys, keys.outbox, 1)
    await outbox.open()
    await redis.expire(keys.outbox, 60)

    async def put(*numbers: int, event: str = "bot.joining") -> bytes:
        await redis.xadd(keys.outbox, {"bot_id": "b"})
        (entry,) = await outbox.read(1, 0.01) or await outbox.read(1, 0.01)
        await deliveries.put([(entry.entry_id, "b", [webhook(number, event) for number in numbers])], NOW)
        return entry.entry_id

    return put


def webhook(number: int, event: str = "bot.joining") -> Delivery:
    body = '{"message":"ü \\"{\\"id\\":\\"evt_2\\"","n":1.10}'
    return Delivery(f"evt_{number}", "b", event, "https://h.example:8443/x?secret", body, NOW + number + 0.123456)


def attempt(waiting: Waiting, outcome: str = "500") -> Attempt:
    delivery = waiting.delivery
    return Attempt(
        delivery.id, delivery.event, waiting.attempts + 1, "2027-01-15T08:00:00.000000Z", 0.1, outcome, "h.example"
    )


async def head(deliveries: Deliveries) -> Waiting:
    found = (await deliveries.heads(["b"]))["b"]
    assert found
    return found


async def test_webhooks_stand_in_line_as_they_were_made_and_the_outbox_entry_is_gone(
    redis: Any, keys: Keys, put: Put, deliveries: Deliveries, letters: Webhooks
) -> None:
    entry_id = await put(1, 2)
    await put(3)
    await put()
    line, due_at = await letters.waiting("b")
    assert [(waiting.delivery, waiting.attempts) for waiting in line] == [(webhook(number), 0) for number in (1, 2, 3)]
    assert [waiting.since for waiting in line] == pytest.approx([waiting.delivery.at for waiting in line], abs=1e-5)
    assert due_at == NOW
    assert await redis.xlen(keys.outbox) == 0
    assert (await redis.xpending(keys.outbox, "manager"))["pending"] == 0
    await deliveries.put([(entry_id, "b", [webhook(4)])], NOW)
    assert len((await letters.waiting("b"))[0]) == 3, "the entry was done before"
    await deliveries.put([], NOW)
    assert 0 < await redis.ttl(keys.webhooks_due) <= line_life_s(SETTINGS)


async def test_a_line_goes_on_when_its_first_is_delivered(put: Put, deliveries: Deliveries, letters: Webhooks) -> None:
    await put(1, 2)
    first = await head(deliveries)
    assert await deliveries.done(first, attempt(first, "200"), NOW + 1)
    assert await deliveries.done(first, attempt(first, "200"), NOW + 2), "once more says the same"
    second = await head(deliveries)
    assert second.delivery.id == "evt_2"
    assert not await deliveries.done(second, attempt(second, "204"), NOW + 3)
    assert [(attempt.id, attempt.outcome) for attempt in await letters.log("b")] == [("evt_2", "204"), ("evt_1", "200")]
    assert await letters.waiting("b") == ([], None)
    assert await deliveries.heads(["b"]) == {"b": None}
    assert await deliveries.due() == {}


@pytest.mark.parametrize(
    ("event", "field"),
    [("audio.processed", b"audio_webhook_received"), ("transcription.processed", b"transcript_webhook_received")],
)
async def test_the_record_says_which_artefact_webhooks_were_received(
    event: str, field: bytes, redis: Any, keys: Keys, put: Put, deliveries: Deliveries
) -> None:
    await redis.hset(keys.bot("b"), mapping={"state": "stopped", "bot_id": "b"})
    await redis.expire(keys.bot("b"), 60)
    skipped = event.replace("processed", "skipped")
    await put(0, event=skipped)
    none = await head(deliveries)
    await deliveries.done(none, attempt(none, "200"), NOW)
    assert await redis.hget(keys.bot("b"), field) is None, "there is nothing of it"
    await put(1, event=event)
    first = await head(deliveries)
    await deliveries.done(first, attempt(first, "200"), NOW)
    assert await redis.hget(keys.bot("b"), field) == b"1"
    await redis.delete(keys.bot("b"))
    await put(2, event=event)
    second = await head(deliveries)
    await deliveries.done(second, attempt(second, "200"), NOW)
    assert not await redis.exists(keys.bot("b")), "a record that is gone is not begun anew"


async def test_a_failed_attempt_is_counted_once_and_changes_nothing_of_the_webhook(
    put: Put, deliveries: Deliveries, letters: Webhooks
) -> None:
    await put(1, 2)
    first = await head(deliveries)
    for _ in range(2):
        await deliveries.failed(first, attempt(first), NOW + 5.5)
    again = await head(deliveries)
    assert again == Waiting(first.delivery, 1, first.since)
    assert await deliveries.due() == {"b": NOW + 5.5}
    assert len(await letters.log("b")) == 1
    await put(3)
    assert await deliveries.due() == {"b": NOW + 5.5}, "what comes behind it does not hurry it"
    stranger = Waiting(webhook(9), 0, NOW)
    await deliveries.failed(stranger, attempt(stranger), NOW)
    assert await head(deliveries) == again


async def test_what_is_given_up_becomes_a_dead_letter_and_the_line_goes_on(
    put: Put, deliveries: Deliveries, letters: Webhooks
) -> None:
    await put(1, 2)
    first = await head(deliveries)
    for _ in range(2):
        assert await deliveries.bury(first, attempt(first, "410"), "gone", NOW)
    (letter,) = await letters.dead(most=10)
    assert letter.delivery == first.delivery
    assert (letter.reason, letter.outcome, letter.attempts, letter.at[:4]) == ("gone", "410", 1, "2027")
    second = await head(deliveries)
    assert not await deliveries.bury(second, attempt(second), "too_old", NOW)
    assert await deliveries.due() == {}
    assert [letter.delivery.id for letter in await letters.dead(most=1)] == ["evt_2"]


async def test_a_dead_letter_is_sent_again_once_as_if_it_were_new(
    redis: Any, keys: Keys, put: Put, deliveries: Deliveries, letters: Webhooks
) -> None:
    await put(1, 2)
    for _ in range(2):
        waiting = await head(deliveries)
        await deliveries.failed(waiting, attempt(waiting), NOW)
        waiting = await head(deliveries)
        await deliveries.bury(waiting, attempt(waiting), "too_old", NOW)
    newest, oldest = await letters.dead(most=10)
    assert await letters.send_again(oldest.entry_id, NOW + 90_000, 600)
    assert not await letters.send_again(oldest.entry_id, NOW + 90_000, 600)
    assert await letters.send_all_again(NOW + 90_001, 600) == [newest.entry_id]
    line, due_at = await letters.waiting("b")
    assert line == [Waiting(webhook(1), 0, NOW + 90_000), Waiting(webhook(2), 0, NOW + 90_001)]
    assert due_at == NOW + 90_000
    told = [fields for _, fields in await redis.xrange(keys.outbox)]
    assert told == [{b"bot_id": b"b", b"again": letter.entry_id.encode(), b"line": b"b"} for letter in (oldest, newest)]


async def test_a_transcript_with_a_receiver_of_its_own_waits_in_a_line_of_its_own(
    redis: Any, keys: Keys, put: Put, deliveries: Deliveries, letters: Webhooks
) -> None:
    of_transcript = msgspec.structs.replace(webhook(1, "transcription.processed"), number=2)
    entry_id = await redis.xadd(keys.outbox, {"bot_id": "b"})
    await deliveries.put([(entry_id, of_transcript.line, [of_transcript])], NOW - 1)
    await put(2)
    assert await deliveries.due() == {"b~2": NOW - 1, "b": NOW}
    line, due_at = await letters.waiting("b")
    assert ([each.delivery.id for each in line], due_at) == (["evt_2", "evt_1"], NOW - 1)
    dead = (await deliveries.heads(["b~2"]))["b~2"]
    assert dead
    await deliveries.failed(dead, attempt(dead), NOW + 900)
    assert await deliveries.due() == {"b~2": NOW + 900, "b": NOW}, "the bot's goes on"
    first = await head(deliveries)
    assert not await deliveries.done(first, attempt(first, "200"), NOW)
    assert not await deliveries.bury(dead, attempt(dead), "too_old", NOW)
    assert (await deliveries.due(), await letters.waiting("b")) == ({}, ([], None))
    assert [each.outcome for each in await letters.log("b")] == ["500", "200", "500"]
    (letter,) = await letters.dead(most=1)
    assert await letters.send_again(letter.entry_id, NOW, 600)
    assert await deliveries.due() == {"b~2": NOW}
    await redis.hset(keys.bot("b"), mapping={"state": "stopped", "bot_id": "b"})
    await redis.expire(keys.bot("b"), 60)
    [(_, told)] = await redis.xrange(keys.outbox)
    assert told[b"line"] == b"b~2"
    [again] = (await letters.waiting("b"))[0]
    assert not await deliveries.done(again, attempt(again, "200"), NOW)
    assert await deliveries.due() == {}
    assert await redis.hget(keys.bot("b"), "transcript_webhook_received") is None, (
        "the bot's receiver has taken nothing"
    )


async def test_two_operators_at_once_send_it_once(put: Put, deliveries: Deliveries, letters: Webhooks) -> None:
    await put(1)
    waiting = await head(deliveries)
    await deliveries.bury(waiting, attempt(waiting), "gone", NOW)
    (letter,) = await letters.dead(most=1)
    both = await asyncio.gather(*(letters.send_again(letter.entry_id, NOW, 600) for _ in range(2)))
    assert sorted(both) == [False, True]
    assert len((await letters.waiting("b"))[0]) == 1


async def test_a_line_that_is_no_more_is_due_no_longer(
    redis: Any, keys: Keys, put: Put, deliveries: Deliveries
) -> None:
    await put(1)
    assert await deliveries.clear("b"), "it is not empty"
    assert await deliveries.oldest() == (1, 0.0)
    await redis.delete(keys.deliveries("b"))
    assert not await deliveries.clear("b")
    assert await deliveries.due() == {}
    assert await deliveries.oldest() == (0, None)


async def test_the_log_holds_the_latest_two_hundred_attempts(
    put: Put, deliveries: Deliveries, letters: Webhooks
) -> None:
    await put(1)
    for _ in range(203):
        waiting = await head(deliveries)
        await deliveries.failed(waiting, attempt(waiting), NOW)
    assert [attempt.attempt for attempt in await letters.log("b")] == list(range(203, 3, -1))


async def test_of_many_bots_what_webhooks_are_made_of_is_read_at_once(
    redis: Any, keys: Keys, deliveries: Deliveries
) -> None:
    await redis.hset(keys.bot("b"), mapping={"state": "joining", "callback_url": "https://h.example/", "user_id": "ü"})
    assert await deliveries.records(["b", "b", "none"]) == {
        "b": Record.from_hash({"callback_url": "https://h.example/", "user_id": "ü"}),
        "none": Record.from_hash({}),
    }
    assert await deliveries.records([]) == {}


async def test_webhooks_made_of_what_is_read_are_those_made_of_the_whole_record(
    redis: Any, keys: Keys, deliveries: Deliveries
) -> None:
    whole = Record(
        bot_id="b",
        meeting_url="https://meet.google.com/abc-defg-hij",
        platform="google_meet",
        bot_name="Notes",
        user_id="u",
        calendar_event_id="c",
        callback_url="https://h.example/",
        custom_attributes='{"a":1}',
        queue_timeout_s=5.0,
        payload='{"video_required":true}',
        state="stopped",
        status="Error",
        status_reason="captcha",
        reason_detail="a sentence",
        attribution="platform",
        created_at="2027-01-15T08:00:00.000000Z",
    )
    await redis.hset(keys.bot("b"), mapping=whole.texts())
    await redis.expire(keys.bot("b"), 60)
    facts = {"state": "stopped", "status": "Error", "reason": "captcha", "attempt": "1"}
    change = {"bot_id": "b", "at": "2027-01-15T08:00:00.000000Z", **facts}
    made = render("1-0", change, (await deliveries.records(["b"]))["b"])
    assert made == render("1-0", change, whole)
    assert '"failure_reason":"captcha"' in made[0].body


async def test_a_leader_that_was_replaced_changes_nothing(
    put: Put, stale: Deliveries, deliveries: Deliveries, letters: Webhooks
) -> None:
    await put(1)
    before = await letters.waiting("b")
    first = await head(deliveries)
    for write in (
        lambda: stale.put([(b"1-0", "b", [webhook(2)])], NOW),
        lambda: stale.done(first, attempt(first), NOW),
        lambda: stale.failed(first, attempt(first), NOW),
        lambda: stale.bury(first, attempt(first), "gone", NOW),
        lambda: stale.clear("b"),
    ):
        with pytest.raises(StaleEpochError):
            await write()
    assert await letters.waiting("b") == before
    assert await letters.log("b") == []
    assert await letters.dead(most=1) == []


async def test_a_bot_is_not_forgotten_while_webhooks_are_to_be_made_of_its_record(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    told = Job(platform="room", meeting_url="http://h/r/x", bot_name="N", payload="p", callback_url="https://h/x")
    await ledger.apply([Accept("b", told, BotState.QUEUED, NOW, seq=1), End("b", 0, Reason.USER_REQUESTED)], NOW)
    for number in range(501):
        await redis.xadd(keys.outbox, {"bot_id": f"another-{number}", "state": "joining"})
    before = await redis.hgetall(keys.bot("b"))
    assert await forget(redis, keys, "b", deliveries=[b"{}"]) == await forget(redis, keys, "b", deliveries=[]) == -1
    assert await redis.hgetall(keys.bot("b")) == before
    for entry_id, _ in await redis.xrange(keys.outbox, count=2):
        await redis.xdel(keys.outbox, entry_id)
    assert await forget(redis, keys, "b", deliveries=[b"{}"]) > 0
    assert (await redis.xrevrange(keys.outbox, count=1))[0][1] == {b"bot_id": b"b", b"delivery": b"{}"}


async def test_of_a_record_everything_is_read_that_webhooks_are_made_of(
    deliveries: Deliveries, redis: Any, keys: Keys
) -> None:
    """Whatever `render` looks at, by its text: what is not read would be as if it had never been."""
    names = {field.name: field.encode_name for field in msgspec.structs.fields(Record)}
    asked = {names[name] for name in re.findall(r"\brecord\.(\w+)", inspect.getsource(envelope)) if name in names}
    given = {"video": "1", "queue_timeout": "5", "join_at": "2027-01-15T08:00:00Z"}
    await redis.hset(keys.bot("b1"), mapping={name: given.get(name, "x") for name in asked})
    found = (await deliveries.records(["b1"]))["b1"]
    of_the_entry = {
        "bot_id",
        "status",
        "status_reason",
        "attempt",
    }  # of the change itself, and of a deletion, which has the whole record
    assert {name for name, text in found.texts().items() if name in asked and text in ("", "0")} <= of_the_entry
    await redis.delete(keys.bot("b1"))


async def test_what_webhooks_are_rendered_from_holds_that_files_were_not_made(
    redis: Any, keys: Keys, deliveries: Deliveries
) -> None:
    await redis.hset(keys.bot("b1"), mapping={"callback_url": "https://x.example/", "manifest_status": "skipped"})
    record = (await deliveries.records(["b1"]))["b1"]
    end = {"bot_id": "b1", "state": "stopped", "status": "Stopped", "reason": "meeting_ended", "status_reason": ""}
    end |= {"attempt": "1", "vm_id": "", "worker_id": "", "at": "2027-01-15T08:00:00Z", "done": "1"}
    [*_, done] = render("1-0", end, record)
    assert (done.event, msgspec.json.decode(done.body)["status_code"]) == ("bot.done", 500)
