"""Who did what is written in the step that does it, and read again."""

import asyncio
import time
from contextlib import aclosing
from typing import Any

import pytest

from common.config.settings import RetentionSettings
from common.jobs.record import Record
from common.wire.vocabulary import Reason
from poolmgr.core.decisions import End
from poolmgr.core.requests import DrainRequested, LeaveRequested, PauseRequested, RescheduleRequested, SayRequested
from poolmgr.store.actions import Action, Actions, By, Verb, Way, fields_of
from poolmgr.store.forgetting import forget
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import Ledger, Rejected
from poolmgr.store.reading.views import Views
from poolmgr.store.scripts import SCRIPTS
from poolmgr.store.submission import Submission, Submissions, Verdict
from tests.store.conftest import NOW
from tests.store.leader.test_ledger import accept
from tests.waiting import PATIENCE_S

ANA = By("ana@bastion", Way.COMMAND_LINE)
CRM = By("crm", Way.API)


def told(actions: list[Action]) -> list[tuple[str, str, str, str]]:
    return [(action.who, action.what, action.of, action.detail) for action in actions]


@pytest.fixture
def actions(redis: Any, keys: Keys) -> Actions:
    return Views(redis, keys).actions


async def all_of(actions: Actions) -> list[tuple[str, str, str, str]]:
    return told(await actions.since(0.0, most=1000))


async def test_each_request_is_there_with_who_wanted_it(redis: Any, keys: Keys, actions: Actions) -> None:
    views = Views(redis, keys)
    await views.request(LeaveRequested("b1"), ANA)
    await views.request(SayRequested("b1", "psst"), CRM)
    await views.request(PauseRequested("b1"), CRM)
    await views.request(PauseRequested("b1", paused=False), CRM)
    await views.request(RescheduleRequested("b1", NOW), CRM)
    await views.request(DrainRequested("vm-1"), ANA)
    await views.request(DrainRequested("vm-1", draining=False), ANA)
    assert await all_of(actions) == [
        ("ana@bastion", "leave", "b1", ""),
        ("crm", "say", "b1", "4 characters"),
        ("crm", "pause", "b1", ""),
        ("crm", "resume", "b1", ""),
        ("crm", "reschedule", "b1", "to 2027-01-15T08:00:00.000000Z"),
        ("ana@bastion", "drain", "vm-1", ""),
        ("ana@bastion", "undo_drain", "vm-1", ""),
    ]
    assert await redis.xlen(keys.control) == 7
    await redis.delete(keys.control)  # which a leader keeps alive


async def test_what_the_manager_does_by_itself_has_no_name(redis: Any, keys: Keys, actions: Actions) -> None:
    await Views(redis, keys).request(LeaveRequested("b1"))
    assert await all_of(actions) == []
    assert fields_of(None, Verb.LEAVE, "b1") == {}
    await redis.delete(keys.control)


async def test_jobs_are_pushed_rejected_ones_put_back_and_webhooks_sent_again_by_somebody(
    redis: Any, keys: Keys, ledger: Ledger, actions: Actions
) -> None:
    views = Views(redis, keys)
    await views.submit(b"{}", bot_id="b1", by=ANA)
    assert await redis.lrange(keys.jobs, 0, -1) == [b"{}"]
    for payload in (b"1", b"2"):
        await redis.lpush(keys.taken, payload)
        await ledger.reject([Rejected(payload, "not_json", "")], NOW)
    ids = [job.entry_id for job in await views.dead(most=2)][::-1]
    await views.put_back(ids[0], CRM)
    assert await views.put_back("1-1", CRM) is None  # nothing was done
    await views.put_all_back(ANA)
    letter = await redis.xadd(keys.webhooks_dead, {"delivery": _DELIVERY, "reason": "gone"})
    await redis.expire(keys.webhooks_dead, 60)
    assert await views.webhooks.send_all_again(NOW, 60, ANA) == [letter.decode()]
    assert await all_of(actions) == [
        ("ana@bastion", "submit", "b1", ""),
        ("crm", "put_back", ids[0], ""),
        ("ana@bastion", "put_back", ids[1], ""),
        ("ana@bastion", "send_again", letter.decode(), "of bot b1"),
    ]


_DELIVERY = (
    b'{"id":"x","event":"bot.stopped","bot_id":"b1","url":"https://hooks.example.org/","at":1.0,"body":"","headers":{}}'
)


async def test_a_bot_is_deleted_by_somebody_or_by_its_time(
    redis: Any, keys: Keys, ledger: Ledger, actions: Actions
) -> None:
    await ledger.apply(
        [accept("b1"), End("b1", 0, Reason.NO_CAPACITY), accept("b2"), End("b2", 0, Reason.NO_CAPACITY)], NOW
    )
    assert await forget(redis, keys, "b1", by=CRM)
    assert await forget(redis, keys, "b1", by=CRM) == 0
    assert await forget(redis, keys, "b2")
    assert await all_of(actions) == [("crm", "delete", "b1", "")]


async def test_a_job_of_the_api_is_submitted_and_withdrawn_by_its_token(
    redis: Any, keys: Keys, actions: Actions
) -> None:
    submissions = Submissions(redis, keys, RetentionSettings().bot_s)
    entry = Record(
        bot_id="b1", meeting_url="x", platform="room", bot_name="n", payload="", state="submitted", status="Joining",
        created_at="",
    )  # fmt: skip
    one = Submission(bot_id="b1", payload=b"{}", owner="crm", entry=entry)
    assert (await submissions.submit(one)).verdict is Verdict.SUBMITTED
    assert (await submissions.submit(one)).verdict is Verdict.ID_TAKEN
    assert await submissions.withdraw(one)
    assert not await submissions.withdraw(one)
    assert await all_of(actions) == [("crm", "submit", "b1", ""), ("crm", "withdraw", "b1", "")]


async def test_they_are_found_by_who_what_of_and_since(redis: Any, keys: Keys, actions: Actions) -> None:
    views = Views(redis, keys)
    for place in range(600):
        await views.submit(b"{}", bot_id=f"b{place}", by=CRM)
    await views.request(LeaveRequested("b7"), ANA)
    await redis.delete(keys.control, keys.jobs)
    assert told(await actions.since(0.0, who="ana", most=10)) == [("ana@bastion", "leave", "b7", "")]
    assert told(await actions.since(0.0, who="ana@bastion", most=10)) == [("ana@bastion", "leave", "b7", "")]
    assert await actions.since(0.0, who="an", most=10) == []
    assert [one.what for one in await actions.since(0.0, of="b7", most=10)] == ["submit", "leave"]
    assert [one.of for one in await actions.since(0.0, what="submit", most=2)] == ["b598", "b599"]
    assert await actions.since(time.time() + 60, most=10) == []


async def test_who_follows_hears_of_each_once(redis: Any, keys: Keys, actions: Actions) -> None:
    views = Views(redis, keys)
    await views.submit(b"{}", bot_id="before", by=CRM)
    heard: list[str] = []

    async def listen(after: str) -> None:
        async with aclosing(actions.follow(after)) as coming:
            async for one in coming:
                heard.append(one.of)
                if len(heard) == 2:
                    return
                await views.submit(b"{}", bot_id="second", by=CRM)

    listening = asyncio.gather(listen(await actions.position()))
    await views.submit(b"{}", bot_id="first", by=CRM)
    await asyncio.wait_for(listening, PATIENCE_S)
    assert heard == ["first", "second"]
    await redis.delete(keys.jobs, keys.actions)
    assert await actions.position() == "0-0"


async def test_there_are_never_more_than_are_kept(redis: Any, keys: Keys) -> None:
    kept = SCRIPTS.constants["ACTIONS_KEPT"]
    assert isinstance(kept, int)
    fill = "for _ = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'who', 'x') end"
    await redis.eval(fill, 1, keys.actions, kept + 500)
    await Views(redis, keys).submit(b"{}", bot_id="b1", by=CRM)
    assert kept <= await redis.xlen(keys.actions) < kept + 200  # whole nodes of the stream go
    await redis.delete(keys.actions, keys.jobs)


def test_a_name_that_is_too_long_is_cut() -> None:
    fields = fields_of(By("x" * 1000, Way.API), Verb.LEAVE, "y" * 1000)
    assert (len(fields["who"]), len(fields["of"])) == (256, 256)
