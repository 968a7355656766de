"""What is kept of a meeting: who came and went, and what was said. Only of the attempt that counts, nothing twice."""

import json
from typing import Any, ClassVar, Final

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from common.config.settings import RetentionSettings
from common.jobs.record import Job
from common.wire import codec, messages
from common.wire.messages import ChatHeard, ChatLine, Participant, ParticipantsSeen
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.decisions import Accept, Assign, Decision, End, Enqueue, Move, Note, Pause, Say, Unsaid, Why
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import Ledger, StaleEpochError
from poolmgr.store.leader.snapshot import load_bots
from poolmgr.store.reading.meetings import Attendance, Meetings
from poolmgr.store.record import iso
from tests.store.conftest import NOW
from tests.store.model import DAY_S, WEEK_S, OnRedis, break_script, finds_fault, run

JOB: Final = Job(platform="room", meeting_url="http://h/r/x", bot_name="N", payload="{}")
JOIN: Final = messages.Join("w1", "b1", 1, "room", "http://h/r/x", "N")
INSIDE: Final[list[Decision]] = [
    Accept("b1", JOB, BotState.QUEUED, NOW, seq=1),
    Assign("vm1", JOIN, born=NOW - 5, warm=True, waited_s=0.0),
    Move("b1", 1, BotState.IN_MEETING, NOW),
]
ANN, BOB = Participant("1", 'Ann "the/\\boss" Ü'), Participant("2", "Bob")


def crowd_of(at: float, joined: list[Participant], left: list[str], *, anew: bool) -> Note:
    return Note(ParticipantsSeen("vm1", "w1", "b1", 1, at, joined, left, anew))


def talk(lines: list[ChatLine]) -> Note:
    return Note(ChatHeard("vm1", "w1", "b1", 1, NOW, lines))


STALE: Final[list[Decision]] = [
    crowd_of(NOW, [ANN], [], anew=False),
    talk([ChatLine("7", "1", "Ann", "Hello", NOW)]),
]


def line(number: int, text: str = "Hello") -> ChatLine:
    return ChatLine(f"line-{number}", "1", "Ann", text, NOW + number)


async def test_what_is_kept_is_read_in_the_order_in_which_it_happened(redis: Any, keys: Keys, ledger: Ledger) -> None:
    later = crowd_of(NOW + 1, [ANN], ["2"], anew=False)
    first = crowd_of(NOW, [BOB], [], anew=True)
    await ledger.apply([*INSIDE, first, later, talk([line(1), line(2)])], NOW)
    meetings = Meetings(redis, keys)
    assert await meetings.participants("b1") == [
        Attendance("2", "Bob", iso(NOW), iso(NOW + 1)),
        Attendance("1", ANN.name, iso(NOW + 1)),
    ]
    assert [(message.id, message.at) for message in await meetings.chat("b1")] == [
        ("line-1", iso(NOW + 1)), ("line-2", iso(NOW + 2)),
    ]  # fmt: skip
    assert await meetings.participants("b2") == []
    assert await meetings.chat("b2") == []


async def there(redis: Any, keys: Keys) -> dict[str, dict[str, str]]:
    return {who.decode(): json.loads(raw) for who, raw in (await redis.hgetall(keys.participants("b1"))).items()}


async def said(redis: Any, keys: Keys) -> list[dict[str, str]]:
    return [json.loads(raw) for raw in await redis.lrange(keys.chats("b1"), 0, -1)]


async def test_participants_are_kept_with_the_times_of_their_coming_and_going(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    came = crowd_of(NOW + 1, [ANN, BOB], [], anew=True)
    went = crowd_of(NOW + 2, [], ["2", "nobody"], anew=False)
    await ledger.apply([*INSIDE, came, went], NOW)
    assert await there(redis, keys) == {
        "1": {"id": "1", "name": ANN.name, "joined_at": iso(NOW + 1), "left_at": ""},
        "2": {"id": "2", "name": "Bob", "joined_at": iso(NOW + 1), "left_at": iso(NOW + 2)},
    }
    back = crowd_of(NOW + 3, [BOB], [], anew=False)
    await ledger.apply([back], NOW)
    assert (await there(redis, keys))["2"]["left_at"] == ""
    assert (await there(redis, keys))["2"]["joined_at"] == iso(NOW + 1)
    life_s = RetentionSettings().bot_s + DAY_S
    assert life_s - 60 < await redis.ttl(keys.participants("b1")) <= life_s


async def test_of_more_participants_than_are_kept_the_first_stay(redis: Any, keys: Keys, ledger: Ledger) -> None:
    crowds = [[Participant(f"p{n}") for n in range(start, start + 400)] for start in (0, 400, 800)]
    notes = [crowd_of(NOW, crowd, [], anew=False) for crowd in crowds]
    await ledger.apply([*INSIDE, *notes, crowd_of(NOW + 1, [], ["p0", "p1100"], anew=False)], NOW)
    kept = await there(redis, keys)
    assert set(kept) == {f"p{n}" for n in range(1000)}
    assert kept["p0"]["left_at"] == iso(NOW + 1)


async def test_the_chat_is_kept_in_order_and_a_line_that_comes_again_is_not_said_again(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([*INSIDE, talk([line(1), line(2)])], NOW)
    await ledger.apply(
        [
            talk([line(1), line(2)]),
            talk([line(3, "ü" * 5000)]),
        ],
        NOW,
    )
    first, _, third = await said(redis, keys)
    assert first == {"id": "line-1", "sender_id": "1", "sender_name": "Ann", "text": "Hello", "at": iso(NOW + 1)}
    assert third["text"] == "ü" * 4096
    life_s = RetentionSettings().bot_s + DAY_S
    assert life_s - 60 < await redis.ttl(keys.chats("b1")) <= life_s


async def test_of_a_long_chat_the_latest_lines_are_kept(redis: Any, keys: Keys, ledger: Ledger) -> None:
    notes = [talk([line(n) for n in range(start, start + 100)]) for start in range(0, 1100, 100)]
    await ledger.apply([*INSIDE, *notes], NOW)
    assert [message["id"] for message in await said(redis, keys)] == [f"line-{n}" for n in range(100, 1100)]


@pytest.mark.parametrize("before", [[], [*INSIDE, End("b1", 1, Reason.MEETING_ENDED)]], ids=["no bot", "ended"])
async def test_of_a_bot_that_is_not_there_nothing_is_kept(
    redis: Any, keys: Keys, ledger: Ledger, before: list[Decision]
) -> None:
    await ledger.apply([*before, *STALE], NOW)
    assert await redis.exists(keys.participants("b1"), keys.chats("b1")) == 0


async def test_what_a_bot_is_to_say_is_told_to_its_agent(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([*INSIDE, Say("vm1", "w1", "b1", 1, "Hello")], NOW)
    *_, (_, fields) = await redis.xrange(keys.commands("vm1"))
    assert codec.decode_command(fields[b"m"]) == messages.Say("w1", "b1", 1, "Hello")
    assert await redis.hget(keys.bot("b1"), "leave_requested") is None


async def test_that_its_recording_pauses_is_told_to_its_agent(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([*INSIDE, Pause("vm1", "w1", "b1", 1, paused=True)], NOW)
    *_, (_, fields) = await redis.xrange(keys.commands("vm1"))
    assert codec.decode_command(fields[b"m"]) == messages.Pause("w1", "b1", 1, paused=True)
    assert [bot.paused for bot in await load_bots(redis, keys)] == [True]
    await ledger.apply([Pause("vm1", "w1", "b1", 1, paused=False)], NOW)
    assert [bot.paused for bot in await load_bots(redis, keys)] == [False]


async def test_that_it_pauses_is_noted_also_while_no_agent_has_the_bot(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([*INSIDE, Enqueue("b1", 1, Why.WORKER_LOST, failed=1)], NOW)
    for paused in (True, False):
        await ledger.apply([Pause("", "", "b1", 1, paused)], NOW)
        assert [bot.paused for bot in await load_bots(redis, keys)] == [paused]
    assert await redis.exists(keys.commands("")) == 0


async def test_of_what_is_dropped_redis_hears_nothing(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([Unsaid("b1", None)], NOW)
    await ledger.apply([Unsaid("b1", None), *INSIDE, Unsaid("b1", BotState.LEAVING)], NOW)
    assert await redis.hget(keys.bot("b1"), "state") == b"in_meeting"


@pytest.mark.parametrize("write", [*STALE, Say("vm1", "w1", "b1", 1, "Hello")], ids=lambda write: type(write).__name__)
async def test_a_leader_that_was_replaced_notes_nothing(
    redis: Any, keys: Keys, ledger: Ledger, write: Decision
) -> None:
    await ledger.apply(INSIDE, NOW)
    await redis.incr(keys.epoch)
    orders = await redis.xlen(keys.commands("vm1"))
    with pytest.raises(StaleEpochError):
        await ledger.apply([write], NOW)
    assert await redis.exists(keys.participants("b1"), keys.chats("b1")) == 0
    assert await redis.xlen(keys.commands("vm1")) == orders


people = st.sets(st.sampled_from(["1", "2", "3"]))
offsets = st.sampled_from([0, 0, 0, 1, -1])


class Meeting(OnRedis):
    """One bot in its second attempt."""

    record: ClassVar[dict[str, str]] = {"state": "in_meeting", "attempt": "2"}

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.lead(1)
        self.do(self.redis.hset(self.keys.bot("b1"), mapping=self.record))
        self.plain.hashes[self.keys.bot("b1")] = self.record

    @initialize(joined=people)
    def the_bot_comes_in(self, joined: set[str]) -> None:
        self.people_come_and_go(joined, set(), True, 0)

    @rule(joined=people, left=people, anew=st.booleans(), offset=offsets)
    def people_come_and_go(self, joined: set[str], left: set[str], anew: bool, offset: int) -> None:
        at, gone = self.moment(), left - joined
        came = [Participant(who, f"{who} at {at:.0f}") for who in sorted(joined)]
        if offset == 0:
            kept = self.plain.hashes[self.keys.participants("b1")]
            before = {who: json.loads(raw) for who, raw in kept.items()}
            for person in came:
                joined_at = before.get(person.id, {"joined_at": iso(at)})["joined_at"]
                kept[person.id] = _kept(person.id, person.name, joined_at, "")
            for who in (set(before) - joined) if anew else gone & set(before):
                known = before[who]
                kept[who] = _kept(who, known["name"], known["joined_at"], known["left_at"] or iso(at))
            self.plain.ends_in(self.keys.participants("b1"), WEEK_S + DAY_S)
        self.apply(Note(ParticipantsSeen("vm", "w", "b1", 2 + offset, at, came, sorted(gone), anew)))

    @rule(numbers=st.lists(st.integers(0, 5), max_size=3, unique=True), offset=offsets)
    def people_talk(self, numbers: list[int], offset: int) -> None:
        lines = [line(number) for number in numbers]
        if offset == 0:
            kept = self.plain.lists[self.keys.chats("b1")]
            told = [msgspec.structs.asdict(line) | {"at": iso(line.at)} for line in lines]
            texts = [msgspec.json.encode(line).decode() for line in told]
            kept += [text for text in texts if text not in kept]
            self.plain.ends_in(self.keys.chats("b1"), WEEK_S + DAY_S)
        self.apply(Note(ChatHeard("vm", "w", "b1", 2 + offset, NOW, lines)))

    @rule()
    def some_time_passes(self) -> None:
        self.let_pass(DAY_S)


def _kept(who: str, name: str, joined_at: str, left_at: str) -> str:
    person = {"id": who, "name": name, "joined_at": joined_at, "left_at": left_at}
    return json.dumps(person, separators=(",", ":"))


def test_what_is_kept_of_a_meeting_is_what_was_seen_of_it(redis_server: str) -> None:
    run(Meeting, redis_server)


@pytest.mark.parametrize(
    ("script", "old", "new"),
    [
        ("note_participants", " and tonumber(latest) == attempt", ""),
        pytest.param("note_participants", "cjson.decode(before).joined_at", "at", marks=pytest.mark.long),
        pytest.param("note_participants", "known and known.left_at == ''", "known", marks=pytest.mark.long),
        ("note_chat", " and tonumber(latest) == attempt", ""),
        pytest.param(
            "note_chat", "if not redis.call('LPOS', chats, line) then", "if true then", marks=pytest.mark.long
        ),
    ],
    ids=["people of another attempt", "came again", "went again", "chat of another attempt", "said again"],
)
def test_a_script_that_forgets_a_condition_is_found_out(
    redis_server: str, monkeypatch: pytest.MonkeyPatch, script: str, old: str, new: str
) -> None:
    break_script(monkeypatch, script, old, new)
    finds_fault(Meeting, redis_server)
