"""Bots between a leader, agents that claim them, leaders that were replaced, and calls that are stale or come again.

Redis holds what the plain model says. A bot has one end, an attempt is claimed or revoked and never both, and the
indexes name who lives and who has ended.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from msgspec.structs import replace

from common.jobs.record import STANDING, Job, Record, iso
from common.wire import codec, messages
from common.wire.messages import BotSaw, BotVitals
from common.wire.vocabulary import BotState, GoneCause, Reason, WorkerState
from poolmgr.core.decisions import (
    Accept,
    Ask,
    Assign,
    Decision,
    End,
    EndByForce,
    Enqueue,
    ForgetVm,
    ForgetWorker,
    KeepVm,
    KeepWorker,
    Move,
    Note,
    NoteFailed,
    Remember,
    Reschedule,
    Retire,
    Revoke,
    Warm,
    Why,
)
from poolmgr.core.events import Revoked
from poolmgr.store import record, story
from poolmgr.store.forgetting import forget
from poolmgr.store.leader.ledger import Rejected
from tests.store import conftest
from tests.store.model import DAY_S, HOUR_S, WEEK_S, OnRedis, break_script, finds_fault, run, text
from worker.link.scripts import claim

PLAIN = Job(platform="room", meeting_url="http://h/r/x", bot_name="N", payload="p1")
OWNED: Final = replace(
    PLAIN,
    owner="app",
    user_id="u",
    custom_attributes='{"a":[1]}',
    callback_url="https://h/x",
    deduplication_key="k3",
    held_meeting="m1",
)
JOBS: Final = (
    PLAIN, replace(PLAIN, payload="p2", deduplication_key="k1"),
    replace(PLAIN, deduplication_key="k2", held_meeting="m2"), OWNED,
)  # fmt: skip
LONG_S: Final = 400 * DAY_S

BOTS: Final = ("b1", "b2")
_WHERE: Final = ("attempt", "vm_id", "worker_id")

bot_ids = st.sampled_from(BOTS)
payloads = st.sampled_from(["p1", "p2"])
vm_ids = st.sampled_from(["vm1", "vm2"])
worker_ids = st.sampled_from(["w1", "w2"])
jobs = st.sampled_from(JOBS)
offsets = st.sampled_from([0, 0, 0, 0, 1, -1])
"""How far the attempt of a call is from the one that counts."""
moves = st.sampled_from([BotState.JOINING, BotState.WAITING_ROOM, BotState.IN_MEETING, BotState.LEAVING])


class Bots(OnRedis):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.seq = 0
        self.claimed: set[tuple[str, int]] = set()
        self.revoked: set[tuple[str, int]] = set()
        self.ordered: dict[tuple[str, int], str] = {}
        self.lead(1)

    @initialize(
        come=st.tuples(*[st.integers(0, 7)] * len(BOTS)),
        taken=st.lists(payloads, min_size=2, max_size=5),
        ago_s=st.sampled_from([0, HOUR_S]),
    )
    def begin(self, come: tuple[int, ...], taken: list[str], ago_s: int) -> None:
        """`come`: how far each bot has come already."""
        for payload in taken:
            self.a_job_is_taken(payload)
        for bot_id, steps in zip(BOTS, come, strict=True):
            way: list[Callable[[], None]] = [
                partial(self.a_job_becomes_a_bot, bot_id, JOBS[0], BotState.QUEUED),
                partial(self.a_bot_is_assigned, bot_id, 0, "vm1", "w1"),
                partial(self.a_bot_is_queued_again, bot_id, 0, Why.RETRY, 1),
                partial(self.a_bot_is_assigned, bot_id, 0, "vm1", "w1"),
                partial(self.an_agent_claims, bot_id, 0, True, 1),
                partial(self.a_bot_moves, bot_id, 0, BotState.WAITING_ROOM, True),
                partial(self.a_bot_ends, bot_id, Reason.MEETING_ENDED, None, 0),
            ]
            for step in way[:steps]:
                step()
        if ago_s:
            self.time_passes(ago_s)

    # What the model holds

    def bot(self, bot_id: str) -> dict[str, str]:
        return self.plain.hashes[self.keys.bot(bot_id)]

    def attempt(self, bot_id: str) -> int:
        return int(self.bot(bot_id).get("attempt", "0"))

    def lives(self, bot_id: str) -> bool:
        return self.bot(bot_id).get("state", BotState.STOPPED) != BotState.STOPPED

    def counts(self, bot_id: str, attempt: int) -> bool:
        return self.lives(bot_id) and attempt == self.attempt(bot_id)

    def tell(self, bot_id: str, at: float) -> None:
        bot = self.bot(bot_id)
        self.tell_of(bot_id, at, bot["state"], bot["status"], bot["status_reason"], *map(bot.get, _WHERE))

    def tell_of(self, bot_id: str, at: float, *seen: str | None) -> None:
        names = ("state", "status", "reason", *_WHERE)
        told = {name: value or "" for name, value in zip(names, seen, strict=True)}
        if told["state"] == "rejected":
            told["detail"] = "d"
        told["status_reason"] = "invalid_request" if told["state"] == "rejected" else told["reason"]
        streams = [self.keys.status]
        if told["state"] != "rejected" and self.bot(bot_id).get("callback_url"):
            streams.append(self.keys.outbox)
        for stream in streams:
            ends = stream == self.keys.outbox and told["state"] == BotState.STOPPED  # and nothing of it is waited for
            self.plain.add(stream, bot_id=bot_id, at=iso(at), **told, **({"done": "1"} if ends else {}))
            self.plain.lasts(stream, WEEK_S)

    def relate(self, bot_id: str, decision: Any, at: float) -> None:
        """The bot's story is told one thing more."""
        self.plain.lists[self.keys.story(bot_id)].append(story.entry_of(decision, at).decode())

    def order(self, vm_id: str, command: messages.Command, worker: bytes | None = None) -> None:
        workers, commands = self.keys.workers(vm_id), self.keys.commands(vm_id)
        self.plain.add(commands, m=codec.encode(command).decode())
        self.plain.lasts(commands, DAY_S)
        if worker:
            assert not isinstance(command, messages.FinishRecording)
            self.plain.hashes[workers][command.worker_id] = worker.decode()
            self.plain.ends_in(workers, DAY_S)

    def expect_accepted(self, accept: Accept) -> bool:
        if self.bot(accept.bot_id):
            return False
        k, job = self.keys, accept.job
        self.bot(accept.bot_id).update(text({**STANDING, **record.accepted(accept)}))
        self.tell(accept.bot_id, accept.at)
        self.relate(accept.bot_id, accept, accept.at)
        self.plain.ends_in(k.story(accept.bot_id), LONG_S)
        self.plain.scores[k.live][accept.bot_id] = accept.at
        for index in (k.all_bots, *(k.index(field, value) for field, value in job.found_by)):
            self.plain.scores[index][accept.bot_id] = accept.at
            self.plain.lasts(index, LONG_S)
        if job.owner:
            self.plain.sets[k.owned(job.owner)].add(accept.bot_id)
            self.plain.lasts(k.owned(job.owner), LONG_S)
        if job.deduplication_key:
            name = k.deduplication(job.deduplication_key)
            self.plain.strings[name] = accept.bot_id
            self.plain.ends_in(name, WEEK_S)
        if job.held_meeting:
            name = k.meeting(job.held_meeting)
            self.plain.hashes[name] = {"bot_id": accept.bot_id, "bot": k.bot(accept.bot_id)}
            self.plain.ends_in(name, LONG_S)
        self.done_with(job.payload)
        return True

    def done_with(self, payload: str) -> None:
        taken = self.plain.lists[self.keys.taken]
        if payload in taken:
            del taken[len(taken) - 1 - taken[::-1].index(payload)]

    def expect_assigned(self, assign: Assign, at: float) -> bool:
        bot_id, attempt = assign.join.bot_id, assign.join.attempt
        if self.bot(bot_id).get("state") != BotState.QUEUED or attempt != self.attempt(bot_id) + 1:
            return False
        self.bot(bot_id).update(text(record.assigned(assign, at)))
        self.tell(bot_id, at)
        self.relate(bot_id, assign, at)
        self.order(assign.vm_id, assign.join, record.worker_record(assign, at))
        self.ordered[bot_id, attempt] = assign.join.worker_id
        return True

    # What the leader does

    @rule(payload=payloads)
    def a_job_is_taken(self, payload: str) -> None:
        self.do(self.redis.lpush(self.keys.taken, payload))
        self.plain.lists[self.keys.taken].insert(0, payload)

    def make_accept(self, bot_id: str, job: Job, state: BotState = BotState.QUEUED) -> Accept:
        self.seq += 1
        return Accept(bot_id, job, state, self.moment(), self.seq)

    def make_assign(self, bot_id: str, attempt: int, vm_id: str, worker_id: str) -> Assign:
        join = messages.Join(worker_id, bot_id, attempt, "room", PLAIN.meeting_url, "N")
        return Assign(vm_id, join, born=self.now - 5, warm=True, waited_s=0.0)

    @rule(bot_id=bot_ids, job=jobs, state=st.sampled_from([BotState.QUEUED, BotState.QUEUED, BotState.SCHEDULED]))
    def a_job_becomes_a_bot(self, bot_id: str, job: Job, state: BotState) -> None:
        accept = self.make_accept(bot_id, job, state)
        if job.owner and not self.bot(bot_id):  # what the API left, in whose place the record now is
            self.do(self.redis.set(self.keys.submitted(bot_id), "{}", ex=HOUR_S))
        self.apply(accept, agrees=self.expect_accepted(accept))

    @rule(bot_id=bot_ids, job=jobs, vm_id=vm_ids, worker_id=worker_ids, replaced=st.booleans())
    def a_job_finds_a_worker_at_once(self, bot_id: str, job: Job, vm_id: str, worker_id: str, replaced: bool) -> None:
        accept, at = self.make_accept(bot_id, job), self.moment()
        decisions: list[Decision] = [accept, self.make_assign(bot_id, 1, vm_id, worker_id)]
        warm = Warm(vm_id, "w3", at, Why.BELOW_MIN_IDLE)
        agrees = self.expect_accepted(accept)
        if agrees:
            assert self.expect_assigned(self.make_assign(bot_id, 1, vm_id, worker_id), at)
        if replaced:
            decisions.append(warm)
        if replaced and agrees:
            self.order(vm_id, messages.Warm("w3"), record.worker_record(warm, at))
        self.apply(*decisions, agrees=agrees)

    @rule(names=st.lists(bot_ids, min_size=2, max_size=4, unique=True), which=st.sets(st.integers(0, 3)), job=jobs)
    def several_jobs_become_bots_at_once(self, names: list[str], which: set[int], job: Job) -> None:
        """All or none of them; some find a worker at once."""
        accepts, at = [self.make_accept(bot_id, job) for bot_id in names], self.moment()
        agrees = not any(map(self.bot, names))
        decisions: list[Decision] = []
        for place, (bot_id, accept) in enumerate(zip(names, accepts, strict=True)):
            decisions.append(accept)
            assert not agrees or self.expect_accepted(accept)
            if place in which:
                assign = self.make_assign(bot_id, 1, "vm1", f"w{place}")
                decisions.append(assign)
                assert not agrees or self.expect_assigned(assign, at)
        self.apply(*decisions, agrees=agrees)

    @rule(bot_id=bot_ids, offset=offsets, vm_id=vm_ids, worker_id=worker_ids)
    def a_bot_is_assigned(self, bot_id: str, offset: int, vm_id: str, worker_id: str) -> None:
        assign = self.make_assign(bot_id, self.attempt(bot_id) + 1 + offset, vm_id, worker_id)
        self.apply(assign, agrees=self.expect_assigned(assign, self.moment()))

    @rule(bot_id=bot_ids, offset=offsets, state=moves, asked_for_page=st.booleans())
    def a_bot_moves(self, bot_id: str, offset: int, state: BotState, asked_for_page: bool) -> None:
        at = self.moment()
        first = at - 0.5 if asked_for_page else 0.0
        move = Move(bot_id, self.attempt(bot_id) + offset, state, at, "a screen", "a rule", first)
        if self.counts(bot_id, move.attempt):
            self.bot(bot_id).update(text(record.moved(move)))
            self.tell(bot_id, at)
            self.relate(bot_id, move, at)
        self.apply(move)

    @rule(bot_id=bot_ids, offset=offsets, why=st.sampled_from([None, Why.RETRY]), failed=st.integers(0, 2))
    def a_bot_is_queued_again(self, bot_id: str, offset: int, why: Why | None, failed: int) -> None:
        enqueue, at = Enqueue(bot_id, self.attempt(bot_id) + offset, why, failed), self.moment()
        if self.counts(bot_id, enqueue.attempt):
            self.bot(bot_id).update(text(record.enqueued(enqueue)))
            self.tell(bot_id, at)
            self.relate(bot_id, enqueue, at)
        self.apply(enqueue)

    @rule(bot_id=bot_ids, offset=offsets, participants=st.none() | st.integers(1, 3))
    def vitals_are_noted(self, bot_id: str, offset: int, participants: int | None) -> None:
        said = BotVitals("vm", "w", bot_id, self.attempt(bot_id) + offset, self.now, participants, audio_packets=7)
        if self.counts(bot_id, said.attempt):
            self.bot(bot_id).update(text(record.vitals(said)))
        self.apply(Note(said))

    @rule(bot_id=bot_ids, offset=offsets, detail=st.sampled_from(["", "a sentence"]))
    def a_failure_is_remembered(self, bot_id: str, offset: int, detail: str) -> None:
        note = Remember(bot_id, self.attempt(bot_id) + offset, Reason.CONNECTION_LOST, detail)
        if self.counts(bot_id, note.attempt):
            self.bot(bot_id).update(text(record.remembered(note)))
        self.apply(note)

    @rule(bot_id=bot_ids, offset=offsets, did=st.sampled_from(["", "continue"]))
    def a_screen_is_seen(self, bot_id: str, offset: int, did: str) -> None:
        attempt = self.attempt(bot_id) + offset
        said = BotSaw("vm", "w", bot_id, attempt, self.moment(), "a screen", "a rule", did)
        if self.counts(bot_id, said.attempt):
            self.bot(bot_id).update(text(record.seen(said)))
            self.relate(bot_id, said, self.now)
        self.apply(Note(said))

    @rule(bot_id=bot_ids, offset=offsets, evidence=st.sampled_from(["", "e1", "e2"]))
    def an_attempt_fails(self, bot_id: str, offset: int, evidence: str) -> None:
        attempt = self.attempt(bot_id) + offset
        note = NoteFailed(bot_id, attempt, Reason.BROWSER_CRASHED, "a sentence", evidence)
        if self.counts(bot_id, attempt):
            self.relate(bot_id, note, self.now)
            self.add_evidence(bot_id, evidence)
        self.apply(note)

    def add_evidence(self, bot_id: str, name: str) -> None:
        bot = self.bot(bot_id)
        if name:
            bot["evidence"] = f"{bot.get('evidence', '')} {name}".strip()

    @rule(bot_id=bot_ids, offset=offsets)
    def an_assignment_is_revoked(self, bot_id: str, offset: int) -> None:
        bot, attempt = self.bot(bot_id), self.attempt(bot_id) + offset
        unclaimed = bot.get("state") == BotState.ASSIGNED and bot.get("claimed") != str(attempt)
        revoked = unclaimed and self.counts(bot_id, attempt)
        if revoked:
            bot["worker_id"] = ""
            self.revoked.add((bot_id, attempt))
        assert self.apply(Revoke(bot_id, attempt)) == [Revoked(bot_id, attempt, revoked)]

    @rule(bot_id=bot_ids, offset=offsets, as_ordered=st.sampled_from([True, True, False]), times=st.integers(1, 2))
    def an_agent_claims(self, bot_id: str, offset: int, as_ordered: bool, times: int) -> None:
        """Also a second time, when the answer was lost."""
        bot, attempt, at = self.bot(bot_id), self.attempt(bot_id) + offset, iso(self.moment())
        worker_id = self.ordered.get((bot_id, attempt), "w1") if as_ordered else "w9"
        ours = self.counts(bot_id, attempt) and bot["worker_id"] == worker_id
        if ours and bot.get("claimed") != str(attempt):
            bot |= {"claimed": str(attempt), "claimed_at": at}
        if ours:
            self.claimed.add((bot_id, attempt))
        for _ in range(times):
            call = claim(bot=self.keys.bot(bot_id), attempt=attempt, worker_id=worker_id, at=at)
            assert self.do(call.run(self.redis)) == ours
            at = iso(self.moment())

    @rule(
        bot_id=bot_ids,
        offset=offsets,
        vm_id=vm_ids,
        reason=st.sampled_from([Reason.USER_REQUESTED, Reason.SUPERSEDED, Reason.OVERDUE]),
    )
    def an_agent_is_asked_to_leave(self, bot_id: str, offset: int, vm_id: str, reason: Reason) -> None:
        attempt = self.attempt(bot_id) + offset
        ask = Ask(vm_id, "w1", bot_id, attempt, reason)
        if self.bot(bot_id) and offset == 0 and reason is Reason.USER_REQUESTED:
            self.bot(bot_id)["leave_requested"] = "1"
        if self.counts(bot_id, attempt) and reason is not Reason.SUPERSEDED:
            self.relate(bot_id, ask, self.now)
        self.order(vm_id, messages.Leave("w1", bot_id, attempt, reason))
        self.apply(ask)

    @rule(bot_id=bot_ids, offset=offsets, vm_id=vm_ids)
    def an_agent_is_to_end_a_browser(self, bot_id: str, offset: int, vm_id: str) -> None:
        force = EndByForce(vm_id, "w1", bot_id, self.attempt(bot_id) + offset)
        if self.counts(bot_id, force.attempt):
            self.relate(bot_id, force, self.now)
        self.order(vm_id, messages.Retire("w1", by_force=True))
        self.apply(force)

    @rule(
        bot_id=bot_ids,
        reason=st.sampled_from(Reason),
        ago=st.sampled_from([None, 0.5]),
        heard=st.sampled_from([0, 9]),
        evidence=st.sampled_from(["", "e3"]),
    )
    def a_bot_ends(self, bot_id: str, reason: Reason, ago: float | None, heard: int, evidence: str = "") -> None:
        now = self.moment()
        at = now - ago if ago else None
        owner = self.bot(bot_id).get("owner", "")
        end = End(bot_id, self.attempt(bot_id), reason, "a sentence", at, heard, owner, evidence)
        if self.lives(bot_id):
            k = self.keys
            self.bot(bot_id).update(text(record.ended(end, now)), done_at=iso(at or now))
            self.add_evidence(bot_id, evidence)
            self.tell(bot_id, at or now)
            self.relate(bot_id, end, now)
            self.plain.ends_in(k.story(bot_id), WEEK_S + DAY_S)
            by_status = k.index("status", self.bot(bot_id)["status"])
            self.plain.scores[by_status][bot_id] = self.plain.scores[k.live].pop(bot_id)
            self.plain.scores[k.ended][bot_id] = at or now
            self.plain.ends_in(k.bot(bot_id), WEEK_S + DAY_S)
            self.plain.ends_in(k.ended, LONG_S)
            self.plain.ends_in(by_status, LONG_S)
            self.plain.sets[k.owned(owner)].discard(bot_id)
        self.apply(end)

    @rule(bot_id=bot_ids, later_s=st.sampled_from([1, DAY_S]))
    def a_bot_is_to_join_at_another_time(self, bot_id: str, later_s: int) -> None:
        decision = Reschedule(bot_id, self.now + later_s)
        if self.bot(bot_id).get("state") == BotState.SCHEDULED:
            self.bot(bot_id)["join_at"] = iso(decision.join_at)
            self.relate(bot_id, decision, self.now)
        self.apply(decision)

    @rule(bot_id=bot_ids, delivery=st.sampled_from([b"", b'{"id": 1}']))
    def a_bot_is_forgotten(self, bot_id: str, delivery: bytes) -> None:
        bot, k = self.bot(bot_id), self.keys
        beside = k.chats(bot_id)
        if bot:
            self.do(self.redis.rpush(beside, "a line"))
            self.do(self.redis.expire(beside, WEEK_S))
        gone = self.do(forget(self.redis, k, bot_id, deliveries=[delivery] if delivery else None))
        to_be_told = any(change["bot_id"] == bot_id for change in self.plain.streams.get(k.outbox, ()))
        if bot and (self.lives(bot_id) or (delivery and to_be_told)):
            assert gone == (0 if self.lives(bot_id) else -1)
            self.do(self.redis.delete(beside))
            return
        assert bool(gone) == bool(bot)
        if not bot:
            self.plain.scores[k.ended].pop(bot_id, None)
            self.plain.scores[k.all_bots].pop(bot_id, None)
            return
        if delivery:
            self.plain.add(k.outbox, bot_id=bot_id, delivery=delivery.decode())
            self.plain.ends_in(k.outbox, WEEK_S)
        if (key := bot.get("deduplication_key")) and self.plain.strings.get(k.deduplication(key)) == bot_id:
            self.plain.drop(k.deduplication(key))
        if (held := bot.get("held_meeting")) and self.plain.hashes[k.meeting(held)].get("bot_id") == bot_id:
            self.plain.drop(k.meeting(held))
        for index in [k.ended, k.all_bots, k.index("status", bot["status"])]:
            self.plain.scores[index].pop(bot_id, None)
        for field, value in Record.from_hash(bot).found_by:
            self.plain.scores[k.index(field, value)].pop(bot_id, None)
        self.plain.drop(k.bot(bot_id), k.story(bot_id))
        self.claimed = {claim for claim in self.claimed if claim[0] != bot_id}
        self.revoked = {claim for claim in self.revoked if claim[0] != bot_id}

    @rule(payload=payloads, bot_id=st.sampled_from(["", *BOTS]))
    def a_job_is_rejected(self, payload: str, bot_id: str) -> None:
        k, at = self.keys, self.moment()
        job = {"payload": payload, "reason": "no_link", "detail": "d", "bot_id": bot_id, "at": iso(at)}
        self.plain.add(k.dead, **job)
        self.plain.ends_in(k.dead, WEEK_S)
        if bot_id and not self.bot(bot_id):
            self.tell_of(bot_id, at, "rejected", "Error", "no_link", "0", "", "")
        self.done_with(payload)
        self.do(self.redis.set(k.submitted(bot_id or "b9"), "{}", ex=HOUR_S))
        if not bot_id:
            self.plain.strings[k.submitted("b9")] = "{}"
            self.plain.ends_in(k.submitted("b9"), HOUR_S)
        self.do(self.ledger().reject([Rejected(payload.encode(), "no_link", "d", bot_id)], at))

    # What happens to the leader

    @rule()
    def another_leads(self) -> None:
        self.lead(self.epoch + 1)

    @rule(bot_id=bot_ids, offset=offsets, ahead=st.sampled_from([-1, -1, 1]))
    def one_writes_that_does_not_lead(self, bot_id: str, offset: int, ahead: int) -> None:
        """It was replaced, or Redis came back older than it was and does not know of it."""
        ledger = self.ledger(self.epoch + ahead)
        rejected = [Rejected(b"p1", "no_link", "d", bot_id)]
        writes = [
            partial(ledger.apply, decision, self.now)
            for decision in self.every_write(bot_id, self.attempt(bot_id) + offset)
        ]
        self.refused(*writes, partial(ledger.reject, rejected, self.now))

    def every_write(self, bot_id: str, attempt: int) -> list[list[Decision]]:
        new, free = self.make_accept("b9", PLAIN), self.make_assign("b9", 1, "vm1", "w1")
        return [
            [new],
            [new, free],
            [self.make_assign(bot_id, attempt + 1, "vm1", "w1")],
            [Move(bot_id, attempt, BotState.LEAVING, self.now)],
            [Reschedule(bot_id, self.now)],
            [Enqueue(bot_id, attempt, Why.RETRY)],
            [Note(BotVitals("vm", "w", bot_id, attempt, self.now, 1, 1))],
            [Note(BotSaw("vm", "w", bot_id, attempt, self.now, "a screen", "", ""), "room")],
            [NoteFailed(bot_id, attempt, Reason.SHUTDOWN, "", "e")],
            [Remember(bot_id, attempt, Reason.SHUTDOWN, "")],
            [Revoke(bot_id, attempt)],
            [Ask("vm1", "w1", bot_id, attempt, Reason.SHUTDOWN)],
            [End(bot_id, attempt, Reason.SHUTDOWN)],
            [Warm("vm1", "w1", self.now, Why.JOBS_WAIT)],
            [Retire("vm1", "w1", self.now, Why.IDLE_TTL)],
            [KeepWorker("vm1", "w1", WorkerState.IDLE, self.now, self.now)],
            [ForgetWorker("vm1", "w1", GoneCause.SPENT)],
            [KeepVm("vm1", "s", draining=True, lost=True)],
            [ForgetVm("vm1")],
        ]

    @rule(seconds=st.sampled_from([HOUR_S, DAY_S, WEEK_S]))
    def time_passes(self, seconds: int) -> None:
        self.let_pass(seconds)
        self.lead(self.epoch)
        self.claimed = {(bot_id, attempt) for bot_id, attempt in self.claimed if self.bot(bot_id)}
        self.revoked = {(bot_id, attempt) for bot_id, attempt in self.revoked if self.bot(bot_id)}

    # What always holds

    def promises(self, held: dict[str, Any]) -> None:
        assert not self.claimed & self.revoked, "an attempt was claimed and revoked"
        ended: set[str] = set()
        for change in held.get(self.keys.status, []):
            if change["state"] == "rejected":
                continue
            begins = change["attempt"] == "0" and change["state"] in {BotState.QUEUED, BotState.SCHEDULED}
            assert begins or change["bot_id"] not in ended, f"after its end: {change}"
            (ended.add if change["state"] == BotState.STOPPED else ended.discard)(change["bot_id"])
        prefix = self.keys.bot("")
        states = {bot_id: held[prefix + bot_id]["state"] for bot_id in BOTS if prefix + bot_id in held}
        live = {bot_id for bot_id, state in states.items() if state != BotState.STOPPED}
        assert set(held.get(self.keys.live, ())) == live
        assert {bot_id for bot_id in states if bot_id not in live} <= set(held.get(self.keys.ended, ()))
        assert set(states) <= set(held.get(self.keys.all_bots, ()))
        owned = {bot_id for bot_id in live if held[prefix + bot_id].get("owner", "")}
        assert owned == set(held.get(self.keys.owned("app"), ()))

    def teardown(self) -> None:
        check = conftest._check_every_key_has_an_owner  # pyright: ignore[reportPrivateUsage]
        try:
            self.do(check(self.redis, self.keys.prefix))
        finally:
            super().teardown()


def test_bots_are_what_they_should_be_whatever_is_called_in_whatever_order(redis_server: str) -> None:
    run(Bots, redis_server)


FENCE: Final = "if redis.call('GET', epoch_key) ~= epoch then"


@pytest.mark.parametrize(
    ("script", "old", "new"),
    [
        ("accept", "if redis.call('EXISTS', unpack(records)) > 0 then return 0 end", ""),
        pytest.param("assign", " or tonumber(before) ~= attempt - 1", "", marks=pytest.mark.long),
        ("move", " and tonumber(latest) == attempt", ""),
        pytest.param("revoke", " or tonumber(claimed) == attempt", "", marks=pytest.mark.long),
        ("end", " or state == STOPPED", ""),
        pytest.param("end", "redis.call('EXPIRE', bot, record_life_s)", "", marks=pytest.mark.long),
        ("accept", "last(all_bots, INDEX_LIFE_S)", ""),
        ("end", FENCE, "if false then"),
        pytest.param("reject", " and redis.call('EXISTS', bot) == 0", "", marks=pytest.mark.long),
    ],
    ids=[
        "accepted twice",
        "attempt",
        "stale news",
        "claimed",
        "two ends",
        "kept for ever",
        "listed for ever",
        "no fence",
        "other's bot",
    ],
)
def test_a_script_that_forgets_a_condition_is_found_out(
    redis_server: str, monkeypatch: pytest.MonkeyPatch, script: str, old: str, new: str
) -> None:
    break_script(monkeypatch, script, old, new)
    finds_fault(Bots, redis_server)


@pytest.mark.parametrize(
    "condition",
    [
        " and tonumber(latest) == attempt",
        pytest.param(" or assigned ~= worker_id", marks=pytest.mark.long),
        pytest.param(" and state ~= STOPPED", marks=pytest.mark.long),
    ],
)
def test_a_claim_that_is_not_exclusive_is_found_out(
    monkeypatch: pytest.MonkeyPatch, redis_server: str, condition: str
) -> None:
    break_script(monkeypatch, "claim", condition, "")
    finds_fault(Bots, redis_server)
