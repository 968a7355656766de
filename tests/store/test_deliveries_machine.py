"""Webhooks on their way from the outbox to a receiver, or to the dead letters and back, while leaders die in between.

Whatever happens, each webhook is in one place, and those of one bot keep their order.
"""

import asyncio
from functools import partial
from typing import Any, Final

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from poolmgr.core.outgoing import Delivery
from poolmgr.store import record
from poolmgr.store.deliveries import Attempt, Deliveries, Letters, Waiting, line_life_s
from poolmgr.store.inbox import Stream
from tests.store.model import WEEK_S, OnRedis, break_script, finds_fault, run
from wire.settings import Settings

LIFE_S: Final = line_life_s(Settings())
BOTS: Final = ("b-1", "b-2")
bots = st.sampled_from(BOTS)
places = st.integers(0, 9)


class Lines(OnRedis):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.letters = Letters(self.redis, self.keys)
        self.outbox = Stream(self.redis, self.keys, self.keys.outbox, 1)
        self.do(self.outbox.open())
        self.plain.streams[self.keys.outbox] = []
        self.number = 0
        self.entries: list[tuple[bytes, str, list[Delivery]]] = []
        self.put_before: list[tuple[bytes, str, list[Delivery]]] = []
        self.dead_ids: list[str] = []
        self.gone_ids: list[str] = []
        self.lead(1)

    def deliveries(self, epoch: int | None = None) -> Deliveries:
        return Deliveries(self.redis, self.keys, Settings(), self.epoch if epoch is None else epoch)

    def line(self, bot_id: str) -> list[str]:
        return self.plain.lists[self.keys.deliveries(bot_id)]

    def live_on(self, bot_id: str) -> None:
        self.plain.ends_in(self.keys.deliveries(bot_id), LIFE_S)
        self.plain.ends_in(self.keys.webhooks_due, LIFE_S)

    @rule(bot_id=bots, count=st.integers(0, 3))
    def a_bot_changes(self, bot_id: str, count: int) -> None:
        """Its change stands in the outbox, and the leader has read it."""
        self.do(self.redis.xadd(self.keys.outbox, {"bot_id": bot_id}))
        self.plain.streams[self.keys.outbox].append({"bot_id": bot_id})
        found: list[Delivery] = []
        for _ in range(count):
            self.number += 1
            body = f'{{"id":"evt_{self.number}"}}'
            found.append(Delivery(f"evt_{self.number}", bot_id, "bot.x", "https://h.example/", body, self.now))
        entry_id = self.do(self.redis.xrevrange(self.keys.outbox, count=1))[0][0]
        self.do(self.redis.xreadgroup("manager", "leader", {self.keys.outbox: ">"}))
        self.entries.append((entry_id, bot_id, found))

    @precondition(lambda self: self.entries)
    @rule(count=st.integers(1, 3), again=st.booleans())
    def changes_are_put_in_line(self, count: int, again: bool) -> None:
        """`again`: together with some that were put before."""
        batch, self.entries = self.entries[:count], self.entries[count:]
        at = self.moment()
        for _, bot_id, found in batch:
            self.plain.streams[self.keys.outbox].remove({"bot_id": bot_id})
            if found:
                self.line(bot_id).extend(f"0 {one.at:.6f} {msgspec.json.encode(one).decode()}" for one in found)
                self.plain.scores[self.keys.webhooks_due].setdefault(bot_id, at)
                self.live_on(bot_id)
        self.do(self.deliveries().put((self.put_before if again else []) + batch, at))
        self.put_before += batch

    def head(self, bot_id: str) -> tuple[Waiting, Attempt] | None:
        waiting = self.do(self.deliveries().heads([bot_id]))[bot_id]
        assert bool(waiting) is bool(self.line(bot_id))
        if not waiting:
            return None
        one = waiting.delivery
        attempts, _, rest = self.line(bot_id)[0].split(" ", 2)
        assert (waiting.attempts, msgspec.json.decode(rest, type=Delivery)) == (int(attempts), one)
        return waiting, Attempt(one.id, one.event, waiting.attempts + 1, record.iso(self.moment()), 0.5, "500", "h")

    def noted(self, bot_id: str, attempt: Attempt) -> None:
        self.plain.lists[self.keys.delivery_log(bot_id)].insert(0, msgspec.json.encode(attempt).decode())
        self.plain.ends_in(self.keys.delivery_log(bot_id), LIFE_S)

    def moved_up(self, bot_id: str, at: float) -> bool:
        self.line(bot_id).pop(0)
        due = self.plain.scores[self.keys.webhooks_due]
        if self.line(bot_id):
            due[bot_id] = at
        else:
            del due[bot_id]
        return bool(self.line(bot_id))

    @rule(bot_id=bots)
    def one_is_delivered(self, bot_id: str) -> None:
        if head := self.head(bot_id):
            self.noted(bot_id, head[1])
            more = self.moved_up(bot_id, self.now)
            for _ in range(2):
                assert self.do(self.deliveries().done(*head, self.now)) is more

    @rule(bot_id=bots)
    def one_fails(self, bot_id: str) -> None:
        if head := self.head(bot_id):
            self.noted(bot_id, head[1])
            rest = self.line(bot_id)[0].partition(" ")[2]
            self.line(bot_id)[0] = f"{head[1].attempt} {rest}"
            self.plain.scores[self.keys.webhooks_due][bot_id] = self.now + 60
            self.live_on(bot_id)
            for _ in range(2):
                self.do(self.deliveries().failed(*head, self.now + 60))

    @rule(bot_id=bots)
    def one_is_given_up(self, bot_id: str) -> None:
        if head := self.head(bot_id):
            self.noted(bot_id, head[1])
            facts = {"reason": "gone", "outcome": "500", "attempts": str(head[1].attempt), "at": record.iso(self.now)}
            self.plain.add(self.keys.webhooks_dead, delivery=self.line(bot_id)[0].split(" ", 2)[2], **facts)
            self.plain.ends_in(self.keys.webhooks_dead, WEEK_S)
            more = self.moved_up(bot_id, self.now)
            for _ in range(2):
                assert self.do(self.deliveries().bury(*head, "gone", self.now)) is more
            [newest] = self.do(self.letters.dead(most=1))
            self.dead_ids.append(newest.entry_id)

    @precondition(lambda self: self.dead_ids or self.gone_ids)
    @rule(place=places)
    def two_operators_send_one_again_at_once(self, place: int) -> None:
        ids = self.dead_ids + self.gone_ids
        entry_id = ids[place % len(ids)]
        at = self.moment()
        expected = [False, entry_id in self.dead_ids]
        if entry_id in self.dead_ids:
            place = self.dead_ids.index(entry_id)
            self.gone_ids.append(self.dead_ids.pop(place))
            delivery = self.plain.streams[self.keys.webhooks_dead].pop(place)["delivery"]
            bot_id = msgspec.json.decode(delivery, type=Delivery).bot_id
            self.line(bot_id).append(f"0 {at} {delivery}")
            self.plain.scores[self.keys.webhooks_due].setdefault(bot_id, at)
            self.live_on(bot_id)
            self.plain.add(self.keys.outbox, bot_id=bot_id, again=entry_id)
            self.plain.ends_in(self.keys.outbox, WEEK_S)
        assert sorted(self.do(self.twice(entry_id, at))) == expected
        if expected[1]:
            self.the_leader_hears_of_it()

    async def twice(self, entry_id: str, at: float) -> list[bool]:
        return await asyncio.gather(*(self.letters.send_again(entry_id, at, LIFE_S) for _ in range(2)))

    def the_leader_hears_of_it(self) -> None:
        (_, [(entry_id, _)]) = self.do(self.redis.xreadgroup("manager", "leader", {self.keys.outbox: ">"}))[0]
        self.plain.streams[self.keys.outbox].pop()
        self.do(self.deliveries().put([(entry_id, "b-1", [])], self.now))

    @rule()
    def the_leader_dies(self) -> None:
        """What the dead one still writes is refused."""
        self.lead(self.epoch + 1)
        stale = self.deliveries(self.epoch - 1)
        writes: list[Any] = [
            partial(stale.clear, "b-1"),
            partial(stale.put, self.entries or [(b"1-0", "b-1", [])], self.now),
        ]
        for bot_id in BOTS:
            if head := self.head(bot_id):
                writes += [
                    partial(stale.done, *head, self.now),
                    partial(stale.failed, *head, self.now),
                    partial(stale.bury, *head, "gone", self.now),
                ]
        self.refused(*writes)

    def promises(self, held: dict[str, Any]) -> None:
        due = held.get(self.keys.webhooks_due, {})
        assert set(due) == {bot_id for bot_id in BOTS if self.keys.deliveries(bot_id) in held}


def test_each_webhook_is_in_one_place_and_in_order(redis_server: str) -> None:
    run(Lines, redis_server)


@pytest.mark.parametrize(
    ("script", "old", "new"),
    [
        ("deliver_put", "== 0 then return 0 end\nif", "== 2 then return 0 end\nif"),
        ("deliver_put", "'RPUSH'", "'LPUSH'"),
        ("deliver_failed", "if tonumber(attempts) >= tonumber(ARGV[4]) then return 0 end", ""),
        ("deliver_done", "if first_of(KEYS[2], ARGV[3]) then", "if true then"),
        ("deliver_bury", "  redis.call('LPOP', KEYS[2])\n", ""),
        ("deliver_again", "== 0 then return 0 end", "== 2 then return 0 end"),
    ],
    ids=["twice", "order", "counted twice", "another one", "in two places", "sent again twice"],
)
def test_a_script_that_loses_or_doubles_a_webhook_is_found_out(
    redis_server: str, monkeypatch: pytest.MonkeyPatch, script: str, old: str, new: str
) -> None:
    break_script(monkeypatch, script, old, new)
    finds_fault(Lines, redis_server)
