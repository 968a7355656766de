"""Webhooks on their way from the outbox to a receiver, or to the dead letters and back, while leaders die in between.

Whatever happens, each webhook is in one place, and those of one bot keep their order.
"""

import asyncio
from functools import partial
from random import Random
from typing import Any, Final

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from common.config.settings import Settings
from common.jobs.outgoing import Delivery
from common.jobs.record import iso
from common.webhooks.courier import Bury, Retry, judge
from common.webhooks.outcome import Outcome
from poolmgr.store.leader.deliveries import Deliveries
from poolmgr.store.leader.inbox import Stream
from poolmgr.store.reading.webhooks import Attempt, Waiting, Webhooks, line_life_s
from tests.store.model import WEEK_S, OnRedis, break_script, finds_fault, run

SETTINGS: Final = Settings()
LIFE_S: Final = line_life_s(SETTINGS)
BOTS: Final = ("b-1", "b-2")
bots = st.sampled_from(BOTS)
places = st.integers(0, 9)


class Lines(OnRedis):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.letters = Webhooks(self.redis, self.keys)
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
                self.line(bot_id).extend(
                    f"0 {delivery.at:.6f} {msgspec.json.encode(delivery).decode()}" for delivery in found
                )
                self.plain.scores[self.keys.webhooks_due].setdefault(bot_id, at)
                self.live_on(bot_id)
        self.do(self.deliveries().put((self.put_before if again else []) + batch, at))
        self.put_before += batch

    def head(self, bot_id: str, *, modelled: bool = True) -> tuple[Waiting, Attempt] | None:
        waiting = self.do(self.deliveries().heads([bot_id]))[bot_id]
        assert not modelled or bool(waiting) is bool(self.line(bot_id))
        if not waiting:
            return None
        delivery = waiting.delivery
        if modelled:
            attempts, _, rest = self.line(bot_id)[0].split(" ", 2)
            assert (waiting.attempts, msgspec.json.decode(rest, type=Delivery)) == (int(attempts), delivery)
        return waiting, Attempt(delivery.id, delivery.event, waiting.attempts + 1, iso(self.moment()), 0.5, "500", "h")

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
            facts = {"reason": "gone", "outcome": "500", "attempts": str(head[1].attempt), "at": iso(self.now)}
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


class LinesTakenOver(Lines):
    """The machine of the lines, at the end of whose run new leaders come, each of which dies soon, often with a webhook
    sent and that not written down. Some receivers answer, some never do.
    """

    def __init__(self, url: str, *, forgets: bool = False) -> None:
        super().__init__(url)
        self.chance = Random(7)
        self.sent: list[Delivery] = []
        self.forgets = forgets  # a fault of ours: what was read and not put in line

    def redis_holds_what_it_should(self) -> None:
        """Looked at by the machine of the lines itself; here only the end counts."""

    def teardown(self) -> None:
        try:
            self.leaders_deliver_all()
        finally:
            super().teardown()

    def dead(self) -> list[str]:
        return [letter.delivery.id for letter in self.do(self.letters.dead(most=1000))]

    def leaders_deliver_all(self) -> None:
        unread = {entry_id: (bot_id, found) for entry_id, bot_id, found in self.entries}
        lines = {
            bot_id: [waiting.delivery.id for waiting in self.do(self.letters.waiting(bot_id))[0]] for bot_id in BOTS
        }
        for bot_id, found in unread.values():
            lines[bot_id] += [delivery.id for delivery in found]
        dead_before, until = self.dead(), self.now + 2 * SETTINGS.webhooks.retry_for_s
        while self.one_leader(unread):
            assert self.now < until, "it is not over within its limits"
        dead = self.dead()[: len(self.dead()) - len(dead_before)]
        delivered = {delivery.id for delivery in self.sent if is_answered(delivery)}
        wanted = [delivery for line in lines.values() for delivery in line]
        assert sorted([*delivered, *dead]) == sorted(wanted), "each is delivered, or given up once"
        for bot_id, line in lines.items():
            assert list(dict.fromkeys(delivery.id for delivery in self.sent if delivery.bot_id == bot_id)) == line, (
                "in order"
            )
        assert self.do(self.redis.xlen(self.keys.outbox)) == 0

    def one_leader(self, unread: dict[bytes, tuple[str, list[Delivery]]]) -> bool:
        """For as long as it lives. False when nothing is left to be done."""
        self.lead(self.epoch + 1)
        deliveries, lives_for = self.deliveries(), self.chance.randrange(8)
        outbox = Stream(self.redis, self.keys, self.keys.outbox, self.epoch)
        entries = self.do(outbox.read(100, 0))
        if lives_for and not self.forgets:
            self.do(deliveries.put([(entry.entry_id, *unread[entry.entry_id]) for entry in entries], self.now))
        elif self.forgets:
            self.do(outbox.done(entries, forget=True))
        for _ in range(lives_for):
            due = self.do(deliveries.due())
            if not due:
                return False
            bot_id = min(due, key=lambda bot: due[bot])
            self.now = max(self.now, due[bot_id])
            head = self.head(bot_id, modelled=False)
            if head is None:
                self.do(deliveries.clear(bot_id))
                continue
            self.sent.append(head[0].delivery)
            if self.chance.random() < 0.2:
                break
            outcome = Outcome(status=200 if is_answered(head[0].delivery) else 500)
            match judge(outcome, head[1].attempt, head[0].since, self.now, SETTINGS.webhooks, self.chance.random()):
                case Retry(at=at):
                    self.do(deliveries.failed(*head, at))
                case Bury(reason=reason):
                    self.do(deliveries.bury(*head, reason, self.now))
                case _:
                    self.do(deliveries.done(*head, self.now))
        return True


def is_answered(delivery: Delivery) -> bool:
    return int(delivery.id.removeprefix("evt_")) % 3 != 0


def test_whatever_the_scripts_have_left_is_delivered_or_given_up_in_order_whoever_dies(redis_server: str) -> None:
    run(LinesTakenOver, redis_server)


def test_a_leader_that_forgets_what_it_has_read_is_found_out(redis_server: str) -> None:
    finds_fault(partial(LinesTakenOver, forgets=True), redis_server)


def test_each_webhook_is_in_one_place_and_in_order(redis_server: str) -> None:
    run(Lines, redis_server)


@pytest.mark.parametrize(
    ("script", "old", "new"),
    [
        pytest.param("deliver_put", "== 0 then return 0 end\nif", "== 2 then return 0 end\nif", marks=pytest.mark.long),
        ("deliver_put", "'RPUSH'", "'LPUSH'"),
        pytest.param("deliver_failed", "if tonumber(before) >= attempts then return 0 end", "", marks=pytest.mark.long),
        pytest.param("deliver_done", "if first_of(line, id) then", "if true then", marks=pytest.mark.long),
        ("deliver_bury", "  redis.call('LPOP', line)\n", ""),
        pytest.param("deliver_again", "== 0 then return 0 end", "== 2 then return 0 end", marks=pytest.mark.long),
    ],
    ids=["twice", "order", "counted twice", "another one", "in two places", "sent again twice"],
)
def test_a_script_that_loses_or_doubles_a_webhook_is_found_out(
    redis_server: str, monkeypatch: pytest.MonkeyPatch, script: str, old: str, new: str
) -> None:
    break_script(monkeypatch, script, old, new)
    finds_fault(Lines, redis_server)
