"""The recording of one bot, whose job may send it in again and again, between its agents, a leader and the store.

Redis holds what the plain model says: how the recording fares, of which attempt, and until when it is waited for or
kept.
"""

from typing import Any, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from common.jobs.record import Job
from common.wire.messages import BotRecorded, Join
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.decisions import Accept, Assign, End, Enqueue, NoteRecorded, Why
from poolmgr.store.leader.recordings import DueRecordings
from poolmgr.store.lives import (
    DELETED_MARK_LIFE_S,
    INDEX_LIFE_S,
    MADE_WITHIN_S,
    RETENTION_LIFE_S,
    TAKEN_OVER_AFTER_S,
)
from tests.store.conftest import NOW
from tests.store.model import DAY_S, HOUR_S, OnRedis, break_script, finds_fault, run

JOB: Final = Job(platform="room", meeting_url="http://h/r/x", bot_name="N", payload="p1", recording_hours=1.0)
KEPT_S: Final = HOUR_S
offsets: Final = st.sampled_from([0, 0, 0, -1])
"""How far the attempt of a report is from the one that counts."""


class Recordings(OnRedis):
    ignored = tuple(f"poolmgr:{name}" for name in ("bot", "status", "vm", "live", "ended", "owned", "index", "events"))

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.attempt, self.status = 0, ""
        self.of: int = 0
        self.attempts = 0
        self.state, self.ended_at = "queued", 0.0
        self.is_done = False
        self.now: float = NOW
        self.lead(1)

    @initialize(is_sent_in=st.booleans(), attempts=st.sampled_from([0, 1, 2, 2, 3, 3]))
    def begin(self, is_sent_in: bool, attempts: int) -> None:
        """`attempts`: it does not end before it was sent in so often. Most that goes wrong does with a later one."""
        self.attempts = attempts
        self.apply(Accept("b1", JOB, BotState.QUEUED, self.moment(), seq=1))
        if is_sent_in:
            self.it_is_sent_in()

    @property
    def due(self) -> DueRecordings:
        return DueRecordings(self.redis, self.keys, self.epoch)

    @precondition(lambda self: self.state == "queued")
    @rule()
    def it_is_sent_in(self) -> None:
        self.attempt += 1
        self.state = "in"
        join = Join("w1", "b1", self.attempt, "room", JOB.meeting_url, "N")
        self.apply(Assign("vm1", join, self.moment(), warm=True, waited_s=0.0))

    @precondition(lambda self: self.state == "in")
    @rule(is_sent_in=st.booleans())
    def its_vm_is_lost(self, is_sent_in: bool) -> None:
        self.state = "queued"
        self.moment()
        self.apply(Enqueue("b1", self.attempt, Why.VM_LOST))
        if is_sent_in:
            self.it_is_sent_in()

    @precondition(lambda self: self.state != "over" and self.attempt >= self.attempts)
    @rule()
    def it_ends(self) -> None:
        self.state, self.ended_at = "over", self.moment()
        self.apply(End("b1", self.attempt, Reason.EVERYONE_LEFT, at=self.ended_at))
        if self.status == "recording":
            self.plain.scores[self.keys.recordings_due]["b1"] = self.ended_at + TAKEN_OVER_AFTER_S
            self.plain.ends_in(self.keys.recordings_due, INDEX_LIFE_S)

    @precondition(lambda self: self.attempt)
    @rule(offset=offsets, finished=st.booleans())
    def an_agent_reports(self, offset: int, finished: bool) -> None:
        attempt = self.attempt + offset
        before, expiring = self.status, self.plain.scores[self.keys.recordings_expiring]
        is_told = self.state == "over" and before != "recording"
        if (0 < self.of < attempt or before == "") and before != "expired":
            before = "skipped" if is_told else ""
        follows = before in ("", "recording", "skipped") if finished else before == ""
        counts = attempt in (self.attempt, self.of or self.attempt) and follows
        if counts:
            if 0 < self.of < attempt:
                expiring.pop("b1", None)
            self.status, self.of = "completed" if finished else "recording", attempt
        at = self.moment()
        if counts and finished:
            self.plain.scores[self.keys.recordings_due].pop("b1", None)
            self.is_kept(at)
        self.apply(NoteRecorded(BotRecorded("vm1", "b1", attempt, at, finished=finished)))

    def is_kept(self, since: float) -> None:
        self.plain.scores[self.keys.recordings_expiring]["b1"] = since + KEPT_S
        self.plain.ends_in(self.keys.recordings_expiring, RETENTION_LIFE_S)

    @rule(later_s=st.sampled_from([60, HOUR_S, HOUR_S, 31 * DAY_S]))
    def time_passes(self, later_s: int) -> None:
        """Of Redis' own time nothing passes: records live longer than what is looked at here."""
        self.now += later_s

    @rule()
    def files_are_waited_for_no_longer(self) -> None:
        found = self.do(self.due.unmade(self.now))
        until = self.plain.scores[self.keys.recordings_due].get("b1")
        assert [one.bot_id for one in found] == (["b1"] if until is not None and until <= self.now else [])
        for one in found:
            assert one.is_given_up(self.now) == (self.now >= self.ended_at + MADE_WITHIN_S)
            if one.is_given_up(self.now):
                assert one.attempt == self.of
                self.do(self.due.give_up(one, self.now))
                self.status = "skipped"
                self.plain.scores[self.keys.recordings_due].pop("b1")
                self.is_kept(self.now)

    @rule()
    def what_is_over_is_deleted(self) -> None:
        expiring = self.plain.scores[self.keys.recordings_expiring]
        is_over = expiring.get("b1", self.now + 1) <= self.now
        expected = ["b1"] if is_over and self.state == "over" else []
        assert self.do(self.due.over(self.now)) == expected
        if is_over and not expected:
            expiring["b1"] = self.now + 60
        for bot_id in expected:
            marked = self.status != "expired"
            self.do(self.due.note_deleted(bot_id, self.now, marked=marked))
            self.status = "expired"
            if marked:
                expiring[bot_id] = self.now + DELETED_MARK_LIFE_S
                self.plain.ends_in(self.keys.recordings_expiring, RETENTION_LIFE_S)
            else:
                expiring.pop(bot_id)

    def promises(self, held: dict[str, Any]) -> None:
        fields = "manifest_status", "recorded_attempt", "done_at"
        *said, done_at = self.do(self.redis.hmget(self.keys.bot("b1"), *fields))
        self.is_done |= self.state == "over" and self.status != "recording"
        assert bool(done_at) == self.is_done, "bot.done is told then"
        assert [part.decode() if part else "" for part in said] == [self.status, str(self.of or "")]
        if self.status == "recording" and self.of == self.attempt:
            assert "b1" not in held.get(self.keys.recordings_expiring, {}), "it may be deleted in mid-call"
        if self.status == "recording" and self.state == "over":
            assert "b1" in held.get(self.keys.recordings_due, {}), "nobody waits for its files"


def test_a_recording_is_what_it_should_be_whatever_comes_in_whatever_order(redis_server: str) -> None:
    run(Recordings, redis_server)


@pytest.mark.parametrize(
    ("script", "old", "new"),
    [
        pytest.param("recorded", "(is_anew or before == '')", "before == ''", marks=pytest.mark.long),
        pytest.param("recorded", "is_told and 'skipped' or ''", "''", marks=pytest.mark.long),
        pytest.param(
            "recorded", "if is_anew then redis.call('ZREM', expiring, bot_id) end", "", marks=pytest.mark.long
        ),
        ("recorded", "tonumber(of) < attempt", "tonumber(of) <= attempt"),
        ("recorded", "(tonumber(latest) ~= attempt and tonumber(of) ~= attempt) or", ""),
        ("recorded", "and tonumber(of) ~= attempt", ""),
        ("recorded", "state == STOPPED and conclude(bot, at) or ''", "''"),
        pytest.param("end", ", conclude(bot, at))", ")", marks=pytest.mark.long),
        pytest.param(
            "recording_deleted",
            "redis.call('HSET', bot, 'manifest_status', 'expired', 'expired_at', at)",
            "",
            marks=pytest.mark.long,
        ),
    ],
    ids=[
        "never again",
        "waited for by nobody",
        "deleted in mid-call",
        "twice",
        "of an earlier attempt",
        "made by nobody",
        "never done",
        "never done at its end",
        "still there",
    ],
)
def test_a_script_that_forgets_a_condition_is_found_out(
    redis_server: str, monkeypatch: pytest.MonkeyPatch, script: str, old: str, new: str
) -> None:
    break_script(monkeypatch, script, old, new)
    finds_fault(Recordings, redis_server)
