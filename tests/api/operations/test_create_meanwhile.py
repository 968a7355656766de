"""create_bot while other clients, or a leader, act between two commands of a request."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from common.jobs.job import JobRules, parse_job
from common.jobs.record import Job, Record
from common.wire.messages import Join
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.decisions import Assign, End
from poolmgr.store.leader.inbox import Jobs
from poolmgr.store.submission import Outcome, Submission, Submissions
from tests.api.conftest import JOB, LINK, Caller, Hand, Said, World
from tests.waiting import wait_until

ONCE = [{"deduplication_key": "standup"}, {"one_bot_per_meeting": True}]
"""What lets a second request have the bot of the first."""

Act = Callable[[], Awaitable[Any]]


async def undecided(call: Caller, key: str = "", **fields: Any) -> Submission:
    """A request that is not to wait for a worker, and that its API has not answered yet, nor ever will by itself."""
    seen = list[Submission]()

    async def submit(self: Submissions, submission: Submission, *more: str) -> Outcome:
        seen.append(submission)
        return await really(self, submission, *more)

    async def nobody(*_: object) -> None:
        pass

    really = Submissions.submit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Submissions, "submit", submit)
        patch.setattr("poolmgr.api.operations.create._until_served", nobody)
        assert (await call.create(key, queue_timeout=0, **fields)).status == 201
    return seen[0]


async def asked_while(acts: list[Act], call: Caller, key: str = "", **fields: Any) -> Said:
    """A request, after each of whose looks at a bot the next of `acts` happens."""

    async def find(self: Submissions, bot_id: str) -> Record | None:
        bot = await really(self, bot_id)
        if left:
            await left.pop(0)()
        return bot

    left, really = [*acts], Submissions.find
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Submissions, "find", find)
        return await call.create(key, **fields)


async def refuse(hand: Hand, first: Submission) -> None:
    """A leader takes the job, and has no worker for it."""
    await hand.accept(**json.loads(first.payload))
    await hand.apply(End(first.bot_id, 0, Reason.NO_CAPACITY))


def withdrawn(world: World, first: Submission, *, ended: bool = False) -> Act:
    store = Submissions(world.redis, world.keys, 60)
    return lambda: store.withdraw(first, ended=ended)


@pytest.mark.parametrize("once", ONCE)
async def test_who_may_have_a_bot_that_is_withdrawn_then_has_one_of_its_own(world: World, once: dict[str, Any]) -> None:
    async with world.serving() as call:
        first = await undecided(call, **once)
        answer = await asked_while([withdrawn(world, first)], call, **once)
        assert answer.status == 201
        assert answer.body["bot_id"] != first.bot_id
        assert (await call("GET", f"/bots/{answer.body['bot_id']}/status")).status == 200
        assert await world.redis.llen(world.keys.jobs) == 1


@pytest.mark.parametrize("is_freed", [True, False])
@pytest.mark.parametrize("once", ONCE)
async def test_who_may_have_a_bot_that_finds_no_worker_then_has_one_of_its_own(
    world: World, once: dict[str, Any], is_freed: bool
) -> None:
    async with world.serving() as call:
        hand = await world.ledger()
        first = await undecided(call, **once)
        acts: list[Act] = [lambda: refuse(hand, first)]
        if is_freed:  # if not, the API that submitted it has not read of its end yet, or was killed
            acts.append(withdrawn(world, first, ended=True))
        answer = await asked_while(acts, call, **once)
        assert (answer.status, answer.body["status"]) == (201, "Active")
        assert answer.body["bot_id"] != first.bot_id
        await withdrawn(world, first, ended=True)()
        again = await call.create(**once)
        assert (again.status, again.body["bot_id"]) == (200, answer.body["bot_id"]), "what is its own is not freed"


@pytest.mark.parametrize("once", ONCE)
async def test_who_may_have_a_bot_that_gets_a_worker_has_it(world: World, once: dict[str, Any]) -> None:
    async with world.serving() as call:
        hand = await world.ledger()
        first = await undecided(call, **once)

        async def serve() -> None:
            await hand.accept(**json.loads(first.payload))
            join = Join("w1", first.bot_id, 1, "room", LINK, "Notetaker")
            await hand.apply(Assign("vm-a", join, born=hand.at, warm=True, waited_s=0.0))

        answer = await asked_while([serve], call, **once)
        assert (answer.status, answer.body["bot_id"], answer.body["status"]) == (200, first.bot_id, "Joining")


@pytest.mark.parametrize("once", ONCE)
async def test_who_finds_two_such_bots_one_after_the_other_is_to_come_again(
    world: World, once: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poolmgr.api.operations.create._CAPACITY_KNOWN_WITHIN_S", 0.05)
    async with world.serving() as call:
        first = await undecided(call, **once)

        async def another_comes() -> None:
            await withdrawn(world, first)()
            await undecided(call, **once)

        answer = await asked_while([another_comes], call, **once)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        assert answer.message.startswith(f"{next(iter(once))}: ")
        assert await world.redis.llen(world.keys.jobs) == 1


async def test_a_scheduled_bot_that_found_no_worker_later_keeps_its_deduplication_key(world: World) -> None:
    once: dict[str, Any] = {"deduplication_key": "standup", "queue_timeout": 0}
    async with world.serving() as call:
        hand = await world.ledger()
        later = (datetime.fromtimestamp(hand.at, UTC) + timedelta(hours=1)).isoformat()
        await hand.accept("b1", BotState.SCHEDULED, owner="app", join_at=later, **once)
        await hand.apply(End("b1", 0, Reason.NO_CAPACITY))
        answer = await call.create(**once)
        assert (answer.status, answer.body["bot_id"]) == (200, "b1"), "its creation was answered 201"


async def test_the_deduplication_key_of_a_bot_that_is_gone_says_so(world: World) -> None:
    async with world.serving() as call:
        first = await call.create(deduplication_key="standup")
        await world.redis.delete(world.keys.submitted(first.body["bot_id"]))  # as after its rejection
        answer = await call.create(deduplication_key="standup")
        assert (answer.status, "was used for a bot that is gone" in answer.message) == (409, True)


async def test_a_replay_of_what_is_withdrawn_meanwhile_makes_a_bot(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.serving() as call:
        first = await undecided(call, "k")

        async def nobody(*_: object) -> None:
            pass

        monkeypatch.setattr("poolmgr.api.operations.create._until_served", nobody)
        answer = await asked_while([withdrawn(world, first)], call, "k", queue_timeout=0)
        assert answer.status == 201
        assert answer.body["bot_id"] != first.bot_id
        assert await world.redis.llen(world.keys.jobs) == 1


async def test_a_replay_of_what_is_not_decided_in_time_is_to_come_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poolmgr.api.operations.create._CAPACITY_KNOWN_WITHIN_S", 0.05)
    async with world.serving() as call:
        first = await undecided(call, "k")
        answer = await call.create("k", queue_timeout=0)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        hand = await world.ledger()
        await hand.accept(**json.loads(first.payload))
        await hand.apply(Assign("vm-a", Join("w1", first.bot_id, 1, "room", LINK, "N"), hand.at, True, 0.0))
        assert (await call.create("k", queue_timeout=0)).body["bot_id"] == first.bot_id


async def test_a_replay_of_what_finds_no_worker_meanwhile_hears_so(world: World) -> None:
    async with world.serving() as call:
        hand = await world.ledger()
        first = await undecided(call, "k")
        answer = await asked_while([lambda: refuse(hand, first)], call, "k", queue_timeout=0)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "10")


async def test_a_replay_of_what_was_withdrawn_is_refused_where_another_request_has_the_key(world: World) -> None:
    async with world.serving() as call:
        first = await undecided(call, "k")

        async def another_comes() -> None:
            await withdrawn(world, first)()
            assert (await call.create("k")).status == 201

        answer = await asked_while([another_comes], call, "k", queue_timeout=0)
        assert (answer.status, "was used for another request" in answer.message) == (409, True)


def between_look_and_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Awaitable[Said], str], Awaitable[Said]]:
    """Returns what makes a request, for the bot of that id, once the leader has looked for what is in the way of the
    jobs that it took. The leader goes on once the request is on the list.
    """
    has_looked, may_go_on = asyncio.Event(), asyncio.Event()
    conflicts = Jobs.conflicts

    async def then_wait(self: Jobs, jobs: Sequence[Job]) -> dict[str, str]:
        found = await conflicts(self, jobs)
        has_looked.set()
        await may_go_on.wait()
        return found

    async def go_on(bot_id: str) -> None:
        await wait_until(lambda: world.redis.exists(world.keys.submitted(bot_id)))
        may_go_on.set()

    async def posted(request: Awaitable[Said], bot_id: str) -> Said:
        await has_looked.wait()
        answer, _ = await asyncio.gather(request, go_on(bot_id))
        return answer

    monkeypatch.setattr(Jobs, "conflicts", then_wait)
    return posted


async def test_who_takes_a_key_while_a_leader_looks_for_it_has_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted = between_look_and_turn(world, monkeypatch)
    async with world.leading() as call:
        await world.redis.lpush(world.keys.jobs, json.dumps({**JOB, "bot_id": "pushed", "deduplication_key": "k"}))
        answer = await posted(call.create(bot_id="posted", deduplication_key="k"), "posted")
        dead = await world.dead_job()
        assert (dead.bot_id, dead.reason) == ("pushed", "duplicate_key")
        assert dead.detail == "deduplication_key: bot posted was made with the same one"
        assert answer.status == 201
        await wait_until(world.all_taken)
        assert await world.redis.zrange(world.keys.live, 0, -1) == [b"posted"]


@pytest.mark.parametrize("fields", [{}, {"queue_timeout": 0}])
async def test_who_names_a_bot_as_a_job_that_a_leader_is_about_to_take_hears_that_there_is_one(
    world: World, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    posted = between_look_and_turn(world, monkeypatch)
    async with world.leading() as call:
        await world.redis.lpush(world.keys.jobs, json.dumps({**JOB, "bot_id": "b1", "bot_name": "The one that is"}))
        answer = await posted(call.create("k", bot_id="b1", **fields), "b1")
        assert (answer.status, "bot with this bot_id already" in answer.message) == (409, True)
        await wait_until(world.all_taken)
        assert await world.redis.hget(world.keys.bot("b1"), "bot_name") == b"The one that is"
        assert (await call.create("k", bot_id="b2", **fields)).status != 409, "its Idempotency-Key is free again"


@pytest.mark.parametrize("fields", [{}, {"queue_timeout": 0}])
async def test_a_job_whose_bot_id_another_one_has_by_then_comes_off_the_list(
    world: World, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def then_accept(self: Submissions, submission: Submission, *more: str) -> Outcome:
        outcome = await submit(self, submission, *more)
        await hand.accept("b1")
        return outcome

    submit = Submissions.submit
    monkeypatch.setattr(Submissions, "submit", then_accept)
    async with world.serving() as call:
        hand = await world.ledger()
        assert (await call.create(bot_id="b1", **fields)).status == 409
        assert await world.redis.llen(world.keys.jobs) == 0


async def test_a_replay_of_what_another_job_took_the_bot_id_of_tells_nothing_of_that_ones_bot(world: World) -> None:
    async with world.serving() as call:
        await undecided(call, "k", bot_id="b1")  # and its API dies before it frees the key
        await (await world.ledger()).enter("b1")
        answer = await call.create("k", bot_id="b1", queue_timeout=0)
        assert (answer.status, answer.body["status"]) == (507, "Stopped")


async def test_who_asks_for_a_key_while_a_leader_makes_its_bot_has_that_bot(world: World) -> None:
    async with world.serving() as call:
        hand = await world.ledger()
        await Jobs(world.redis, world.keys).hold("pushed", key="k")
        acts: list[Act] = [_nothing, lambda: hand.accept("pushed", deduplication_key="k")]
        answer = await asked_while(acts, call, deduplication_key="k")
        assert (answer.status, answer.body["bot_id"]) == (200, "pushed")


async def _nothing() -> None:
    pass


async def test_who_asks_for_a_key_that_a_leader_held_when_it_died_is_to_come_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poolmgr.api.operations.create._SEEN_WITHIN_S", 0.05)
    async with world.serving() as call:
        await Jobs(world.redis, world.keys).hold("never-was", key="k")
        answer = await call.create(deduplication_key="k")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        await world.redis.delete(world.keys.deduplication("k"))  # as when it has run out
        assert (await call.create(deduplication_key="k")).status == 201


@pytest.mark.parametrize("fields", [{}, {"queue_timeout": 0}])
async def test_who_hands_in_what_the_leader_rejects_hears_so(
    world: World, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def strictly(payload: bytes, now: float, rules: JobRules) -> Job:
        return parse_job(payload, now, msgspec.structs.replace(rules, strict=True))

    monkeypatch.setattr("poolmgr.loops.intake.parse_job", strictly)  # the leader has other settings than this manager
    async with world.leading() as call:
        for _ in range(2):
            answer = await call.create("k", joinAt="x", deduplication_key="k", **fields)
            assert (answer.status, "rejected" in answer.message) == (409, True), "and its keys are free again"
        assert (await call.create("k", deduplication_key="k")).status == 201
