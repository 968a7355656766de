"""Agents write events under one vm_id: answers get lost, batches come again and overlap, one agent follows another.

Readers see each event once and in order. Heartbeats say what is, and are left out when nobody reads.
"""

from typing import Any, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from common.runtime.redis.scripts import resign
from tests.store.model import DAY_S, OnRedis, break_script, finds_fault, run
from worker.link import scripts
from worker.link.scripts import ALIVE_S, COMMANDS_LIFE_S, WRITTEN_LIFE_S

UNREAD: Final = 5
"""With so many entries in the stream no heartbeat is added."""

FIRST: Final = 1_800_000_000_000
"""An agent's events are numbered from its clock, in milliseconds."""

HEARTBEAT: Final = (0, "heartbeat")


class Agents(OnRedis):
    """`queue`: what the agent of now has to say, as long as it has no answer; `said`: all of its events."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.queue: list[tuple[int, str]] = []
        self.session = 0
        self.number = 0
        self.said: list[str] = []
        self.read_ids: list[str] = []
        self.another_agent_begins(0)

    @initialize(ordered=st.booleans())
    def begin(self, ordered: bool) -> None:
        if ordered:
            self.it_orders()

    @property
    def name(self) -> str:
        return f"s{self.session}"

    @property
    def presence(self) -> str:
        return f'{{"session":"{self.name}"}}'

    # What agents do

    @rule(back_s=st.sampled_from([0, 60]))
    def another_agent_begins(self, back_s: int) -> None:
        """Its predecessor's state folder is lost, and with it what was not written; its own clock may be behind."""
        self.session += 1
        self.number = FIRST - back_s * 1000
        self.queue.clear()

    @rule()
    def it_restarts(self) -> None:
        """Events are in the journal, a heartbeat is not."""
        self.queue = [each for each in self.queue if each != HEARTBEAT]

    @rule(
        events=st.integers(0, 3),
        number_skipped=st.booleans(),
        beats=st.booleans(),
        after_s=st.sampled_from([0, 0, ALIVE_S, DAY_S // 2]),
        most=st.integers(1, 6),
        answered=st.booleans(),
    )
    def it_writes(
        self, events: int, number_skipped: bool, beats: bool, after_s: int, most: int, answered: bool
    ) -> None:
        """What happened and what waits. Not answered, all of it comes again, together with what happens meanwhile."""
        self.number += number_skipped
        for _ in range(events):
            self.number += 1
            self.queue.append((self.number, f"{self.name} {self.number}"))
        if beats:
            self.it_restarts()
            self.queue.append(HEARTBEAT)
        self.time_passes(after_s)
        if self.queue:
            self.write(most, answered)

    def write(self, most: int, answered: bool) -> None:
        k, batch = self.keys, self.queue[:most]
        before = self.expect_written(batch)
        call = scripts.write(
            events=k.events,
            written=k.written("vm1"),
            alive=k.alive("vm1"),
            commands=k.commands("vm1"),
            session=self.name,
            presence=self.presence,
            most_unread=UNREAD,
            entries=[part for each in batch for part in each],
        )
        answer = self.do(call.run(self.redis))
        assert (answer and answer.decode()) == before
        if answered:
            del self.queue[:most]

    def expect_written(self, batch: list[tuple[int, str]]) -> str | None:
        k, nobody_reads = self.keys, len(self.plain.streams.get(self.keys.events, ())) >= UNREAD
        wrote = False
        for number, message in batch:
            if (number, message) == HEARTBEAT:
                if not nobody_reads:
                    self.plain.add(k.events, m=message)
            elif message not in self.said:
                self.said.append(message)
                self.plain.add(k.events, m=message, id=f"{self.name}-{number}")
                self.plain.hashes[k.written("vm1")] = {"session": self.name, "number": str(number)}
                wrote = True
        if wrote:
            self.plain.ends_in(k.written("vm1"), WRITTEN_LIFE_S)
        before = self.plain.strings.get(k.alive("vm1"))
        self.plain.strings[k.alive("vm1")] = self.presence
        self.plain.ends_in(k.alive("vm1"), ALIVE_S)
        self.plain.ends_in(k.commands("vm1"), COMMANDS_LIFE_S)
        self.plain.ends_in(k.events, WRITTEN_LIFE_S)
        return before

    @rule(own=st.booleans())
    def one_gives_its_place_back(self, own: bool) -> None:
        """Also one that was replaced meanwhile: it has none to give."""
        presence = self.presence if own else f'{{"session":"s{self.session - 1}"}}'
        ours = self.plain.strings.get(self.keys.alive("vm1")) == presence
        if ours:
            self.plain.drop(self.keys.alive("vm1"))
        assert self.do(resign(name=self.keys.alive("vm1"), holder=presence).run(self.redis)) == ours

    # What the manager does

    @rule(most=st.integers(1, 20))
    def the_manager_reads(self, most: int) -> None:
        """And trims: what an agent wrote is not to be looked for in the stream."""
        events = self.plain.streams.get(self.keys.events, [])
        del events[:most]
        for entry_id, fields in self.do(self.redis.xrange(self.keys.events, count=most)):
            self.do(self.redis.xdel(self.keys.events, entry_id))
            if event_id := fields.get(b"id", b"").decode():
                self.read_ids.append(event_id)

    @rule()
    def it_orders(self) -> None:
        self.do(self.redis.xadd(self.keys.commands("vm1"), {"m": "warm"}))
        self.do(self.redis.expire(self.keys.commands("vm1"), COMMANDS_LIFE_S))
        self.plain.add(self.keys.commands("vm1"), m="warm")
        self.plain.ends_in(self.keys.commands("vm1"), COMMANDS_LIFE_S)

    def time_passes(self, seconds: int) -> None:
        """What was written is remembered for a week after the last event; for longer no answer is waited for."""
        self.let_pass(seconds)
        if not self.plain.hashes[self.keys.written("vm1")]:
            self.said.clear()
            self.read_ids.clear()

    def promises(self, held: dict[str, Any]) -> None:
        in_stream = [event["id"] for event in held.get(self.keys.events, []) if "id" in event]
        ids = [
            (session, int(number)) for session, _, number in (each.partition("-") for each in self.read_ids + in_stream)
        ]
        assert len(set(ids)) == len(ids), f"twice: {ids}"
        for own in {session for session, _ in ids}:
            numbers = [number for session, number in ids if session == own]
            assert numbers == sorted(numbers), f"out of order: {numbers}"


def test_each_event_is_read_once_and_in_order_whatever_comes_again(redis_server: str) -> None:
    run(Agents, redis_server)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("elseif mine > newest then", "else"),
        ("last[1] == session and tonumber(last[2]) or 0", "tonumber(last[2] or 0)"),
        ("if not nobody_reads then", "if true then"),
        ("redis.call('EXPIRE', written, WRITTEN_LIFE_S)", ""),
    ],
    ids=["twice", "a successor unheard", "heartbeats that nobody reads", "remembered for ever"],
)
def test_a_write_that_forgets_a_condition_is_found_out(
    monkeypatch: pytest.MonkeyPatch, redis_server: str, old: str, new: str
) -> None:
    break_script(monkeypatch, "write", old, new)
    finds_fault(Agents, redis_server)


def test_an_agent_that_gives_back_what_is_anothers_is_found_out(
    monkeypatch: pytest.MonkeyPatch, redis_server: str
) -> None:
    break_script(monkeypatch, "resign", "redis.call('GET', name) == holder", "true")
    finds_fault(Agents, redis_server)
