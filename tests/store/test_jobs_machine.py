"""Jobs on their way from clients to bots, or to the dead stream and back, while leaders die in between.

Whatever happens, each job is in one place: waiting, taken, a bot or dead. Their order is kept.
"""

import asyncio
from collections import Counter
from functools import partial
from itertools import chain
from typing import Any, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from common.jobs.record import Job, iso
from common.wire.vocabulary import BotState
from poolmgr.core.decisions import Accept
from poolmgr.store.leader.inbox import Jobs
from poolmgr.store.leader.ledger import Rejected
from poolmgr.store.reading.views import DeadJob, Views
from tests.store.model import DAY_S, HOUR_S, WEEK_S, OnRedis, break_script, finds_fault, run

MOST_BYTES: Final = 60
sizes = st.lists(st.sampled_from([10, 10, 30, 90]), min_size=1, max_size=5)
places = st.integers(0, 9)


class Way(OnRedis):
    ignored = ("poolmgr:bot", "poolmgr:status")

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.jobs = Jobs(self.redis, self.keys)
        self.views = Views(self.redis, self.keys)
        self.submitted: list[str] = []
        self.bots: list[str] = []
        self.dead_ids: list[str] = []  # in the order of the stream
        self.gone_ids: list[str] = []
        self.expired = 0
        self.lead(1)

    @initialize(sizes=sizes, most=st.integers(1, 4), rejected=st.booleans())
    def begin(self, sizes: list[int], most: int, rejected: bool) -> None:
        self.clients_push(sizes)
        self.jobs_are_taken(most)
        if rejected:
            self.a_job_is_rejected(0)

    @property
    def waiting(self) -> list[str]:
        return self.plain.lists[self.keys.jobs]

    @property
    def taken(self) -> list[str]:
        return self.plain.lists[self.keys.taken]

    @rule(sizes=sizes)
    def clients_push(self, sizes: list[int]) -> None:
        for size in sizes:
            payload = f"{len(self.submitted):04}".ljust(size, "x")
            self.submitted.append(payload)
            self.waiting.insert(0, payload)
            self.do(self.views.submit(payload.encode()))

    @precondition(lambda self: self.waiting)  # for the first one would have to be waited
    @rule(most=st.integers(1, 4))
    def jobs_are_taken(self, most: int) -> None:
        """By the leader, or by one that was replaced and does not know it: nothing fences the taking."""
        batch: list[str] = []
        while self.waiting and len(batch) < most and sum(map(len, batch)) < MOST_BYTES:
            batch.append(self.waiting.pop())
            self.taken.insert(0, batch[-1])
        assert self.do(self.jobs.take(most, 1.0)) == [payload.encode() for payload in batch]

    def accept(self, payload: str) -> Accept:
        job = Job(platform="room", meeting_url="http://h/r/x", bot_name="N", payload=payload)
        return Accept(f"b{payload[:4]}", job, BotState.QUEUED, self.moment(), 1)

    @precondition(lambda self: self.taken)
    @rule(place=places)
    def a_job_becomes_a_bot(self, place: int) -> None:
        payload = self.taken.pop(place % len(self.taken))
        self.bots.append(payload)
        self.apply(self.accept(payload))

    @precondition(lambda self: self.bots)
    @rule(place=places)
    def a_job_that_is_a_bot_comes_again(self, place: int) -> None:
        self.apply(self.accept(self.bots[place % len(self.bots)]), agrees=False)

    @precondition(lambda self: self.taken)
    @rule(place=places)
    def a_job_is_rejected(self, place: int) -> None:
        payload, at = self.taken.pop(place % len(self.taken)), self.moment()
        job = {"payload": payload, "reason": "no_link", "detail": "d", "bot_id": "", "at": iso(at)}
        self.plain.add(self.keys.dead, **job)
        self.plain.ends_in(self.keys.dead, WEEK_S)
        self.do(self.ledger().reject([Rejected(payload.encode(), "no_link", "d")], at))
        [newest] = self.do(self.views.dead(most=1))
        self.dead_ids.append(newest.entry_id)

    @rule(place=places)
    def the_leader_dies(self, place: int) -> None:
        """The next one finds what it took, oldest first; what the dead one still writes is refused."""
        self.lead(self.epoch + 1)
        assert self.do(self.jobs.left_over()) == [payload.encode() for payload in self.taken[::-1]]
        if self.taken:
            payload, stale = self.taken[place % len(self.taken)], self.ledger(self.epoch - 1)
            accept, rejected = self.accept(payload), Rejected(payload.encode(), "no_link", "d")
            self.refused(partial(stale.apply, [accept], self.now), partial(stale.reject, [rejected], self.now))

    def expect_back(self, entry_id: str) -> DeadJob | None:
        if entry_id not in self.dead_ids:
            return None
        place = self.dead_ids.index(entry_id)
        self.gone_ids.append(self.dead_ids.pop(place))
        job = self.plain.streams[self.keys.dead].pop(place)
        self.waiting.insert(0, job["payload"])
        return DeadJob(entry_id=entry_id, **job)

    @precondition(lambda self: self.dead_ids or self.gone_ids)
    @rule(place=places)
    def a_job_is_handed_in_again(self, place: int) -> None:
        ids = self.dead_ids + self.gone_ids
        entry_id = ids[place % len(ids)]
        expected = self.expect_back(entry_id)
        assert self.do(self.views.put_back(entry_id)) == expected

    @precondition(lambda self: self.dead_ids)
    @rule(place=places)
    def two_operators_hand_it_in_at_once(self, place: int) -> None:
        entry_id = self.dead_ids[place % len(self.dead_ids)]
        expected = self.expect_back(entry_id)
        answers = self.do(self.twice(entry_id))
        assert expected in answers
        assert None in answers

    async def twice(self, entry_id: str) -> tuple[DeadJob | None, DeadJob | None]:
        return await asyncio.gather(self.views.put_back(entry_id), self.views.put_back(entry_id))

    @rule()
    def all_are_handed_in_again(self) -> None:
        ids = list(self.dead_ids)
        for entry_id in ids:
            self.expect_back(entry_id)
        assert self.do(self.views.put_all_back()) == ids

    @rule(seconds=st.sampled_from([HOUR_S, DAY_S]))
    def time_passes(self, seconds: int) -> None:
        """A rejected job that nobody handed in again is gone a week after the last one."""
        self.let_pass(seconds)
        self.lead(self.epoch)
        if self.keys.dead not in self.plain.streams:
            self.expired += len(self.dead_ids)
            self.dead_ids.clear()

    def promises(self, held: dict[str, Any]) -> None:
        dead = [job["payload"] for job in held.get(self.keys.dead, [])]
        places = chain(held.get(self.keys.jobs, []), held.get(self.keys.taken, []), dead, self.do(self.bot_payloads()))
        found = Counter(places)
        assert max(found.values(), default=1) == 1, f"in two places: {found.most_common(1)}"
        assert len(found) == len(self.submitted) - self.expired, f"lost: {set(self.submitted) - set(found)}"

    async def bot_payloads(self) -> list[str]:
        return [bot.payload for bot in await self.views.bots(most=1000)]


def test_each_job_is_in_one_place_whoever_takes_rejects_dies_or_hands_in_again(
    redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poolmgr.store.leader.inbox._MOST_BYTES", MOST_BYTES)
    run(Way, redis_server)


@pytest.mark.parametrize(
    ("script", "old", "new"),
    [
        ("take", "'RIGHT', 'LEFT'", "'RIGHT', 'RIGHT'"),
        ("take", " and bytes < most_bytes", ""),
        ("accept", "redis.call('LREM', taken, -1, one.payload)", ""),
        ("reject", "return redis.call('LREM', taken, -1, payload)", "return 1"),
        ("put_back", "redis.call('XDEL', dead, entry_id)", ""),
        ("put_back", "redis.call('LPUSH', jobs, fields[i + 1])", ""),
    ],
    ids=["order", "too much", "a bot is still taken", "a dead job is still taken", "twice", "lost"],
)
def test_a_script_that_loses_or_doubles_a_job_is_found_out(
    redis_server: str, monkeypatch: pytest.MonkeyPatch, script: str, old: str, new: str
) -> None:
    monkeypatch.setattr("poolmgr.store.leader.inbox._MOST_BYTES", MOST_BYTES)
    break_script(monkeypatch, script, old, new)
    finds_fault(Way, redis_server)
