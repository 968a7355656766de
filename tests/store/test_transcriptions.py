"""Transcripts of recordings: asked for, by a job or afterwards, put off, made, given up; each told of once."""

from typing import Any, Final

import pytest
from msgspec.structs import replace

from common.config.settings import RetentionSettings
from common.jobs.record import Job, iso
from common.wire.messages import BotRecorded, BotTranscribed, Join
from common.wire.minutes import CAPTIONS
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.decisions import Accept, Assign, End, Enqueue, NoteRecorded, Why
from poolmgr.store.actions import Actions, By, Way
from poolmgr.store.forgetting import forget
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import Ledger, StaleEpochError
from poolmgr.store.leader.transcriptions import Concluded, DueTranscriptions, UnderWay
from poolmgr.store.reading.views import Views
from poolmgr.store.scripts import MOST_TRANSCRIPTS
from poolmgr.store.story import What
from poolmgr.store.transcriptions import Transcription, Transcriptions, Unasked
from poolmgr.telling.narrative import sentence
from tests.store.conftest import NOW

JOB: Final = Job(
    platform="room", meeting_url="http://127.0.0.1:8090/r/x", bot_name="N", payload="{}", callback_url="https://h.example/",
    transcript=True,
)  # fmt: skip
ACCEPT: Final = Accept("b1", JOB, BotState.QUEUED, NOW, seq=1)
ASSIGN: Final = Assign("vm1", Join("w1", "b1", 1, "room", JOB.meeting_url, "N"), born=NOW, warm=False, waited_s=2.5)
ENDED: Final = End("b1", 1, Reason.EVERYONE_LEFT, at=NOW + 60)
WRITTEN: Final = BotTranscribed("vm", "b1", 1, NOW + 70, finished=True, utterances=3)
ASKED: Final = Transcription("openai", iso(NOW + 80), attempt=1, callback="https://else.example/")
BY: Final = By("app", Way.API)


@pytest.fixture
def due(redis: Any, keys: Keys) -> DueTranscriptions:
    return DueTranscriptions(redis, keys, 1)


@pytest.fixture
def asked(redis: Any, keys: Keys) -> Transcriptions:
    return Transcriptions(redis, keys)


async def told(redis: Any, keys: Keys) -> list[tuple[bytes, ...]]:
    entries = [fields for _, fields in await redis.xrange(keys.outbox) if b"transcribed" in fields]
    return [(one[b"transcribed"], one.get(b"why", b""), one.get(b"callback", b"")) for one in entries]


async def story(redis: Any, keys: Keys) -> list[str]:
    entries = await Views(redis, keys).story("b1")
    return [sentence(entry) for entry in entries if entry.what is What.TRANSCRIBED]


@pytest.mark.parametrize(
    ("wanted", "fleet", "utterances", "by"),
    [("deepgram", "", 3, "deepgram"), ("deepgram", "openai", 0, "deepgram"), ("", "openai", 0, "openai")],
)
async def test_the_recording_is_to_be_made_words_of_where_its_job_wishes_for_it_or_nothing_was_written_down(
    redis: Any, keys: Keys, due: DueTranscriptions, wanted: str, fleet: str, utterances: int, by: str
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(), 1, fleet)
    accept = replace(ACCEPT, job=replace(JOB, speech_after=wanted, language="de"))
    written = replace(WRITTEN, utterances=utterances)
    await ledger.apply([accept, ASSIGN, ENDED, *map(NoteRecorded, (written, written))], NOW + 71)
    assert await redis.hget(keys.bot("b1"), "transcript_status") == b"processing"
    assert await told(redis, keys) == []
    assert await due.due(NOW + 70, 5) == []
    assert await due.due(NOW + 71, 5) == ["b1"]
    one = await due.under_way("b1")
    assert one
    assert (one.number, one.what.provider, one.what.language, one.what.attempt) == (1, by, "de", 1)
    assert one.attempt is None, "whichever was recorded last"
    assert one.is_stopgap == (not wanted)
    assert one.what.captions == (CAPTIONS if utterances else "")
    await due.put_off(one, NOW + 100, why="busy (429)")
    assert await due.due(NOW + 99, 5) == []
    again = await due.under_way("b1")
    assert again
    assert (again.what.tries, again.what.why) == (1, "busy (429)")
    await due.put_off(again, NOW + 100)
    assert await due.conclude(again, NOW + 101, utterances=7) is Concluded.NOTED
    assert await due.due(NOW + 1000, 5) == []
    assert await redis.hmget(keys.bot("b1"), "transcript_status", "transcript_by") == [b"processed", by.encode()]
    assert await told(redis, keys) == [(b"processed", b"", b"")]
    assert (await story(redis, keys))[-1] == f"its transcript by {by} is finished: 7 utterances"


@pytest.mark.parametrize("wanted", ["openai", ""])
async def test_what_waits_for_the_files_of_its_recording_is_due_when_they_are_there(
    redis: Any, keys: Keys, ledger: Ledger, due: DueTranscriptions, wanted: str
) -> None:
    accept = replace(ACCEPT, job=replace(JOB, speech_after=wanted))
    began = BotRecorded("vm", "b1", 1, NOW + 2)
    await ledger.apply([accept, ASSIGN, NoteRecorded(began), ENDED, NoteRecorded(WRITTEN)], NOW + 71)
    if one := await due.under_way("b1"):
        await due.put_off(one, NOW + 100)
    made = replace(began, at=NOW + 75, finished=True, audio_s=60.0)
    await ledger.apply([NoteRecorded(made)], NOW + 75)
    assert await due.due(NOW + 75, 5) == (["b1"] if wanted else [])


AGAIN: Final = Enqueue("b1", 1, Why.VM_LOST)
WRITING: Final = BotTranscribed("vm", "b1", 1, NOW + 2)
SECOND: Final = replace(ASSIGN, join=replace(ASSIGN.join, attempt=2, worker_id="w2"))


async def test_a_bot_that_is_sent_in_again_is_written_down_anew_and_each_transcript_is_told_of(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    writing = BotTranscribed("vm", "b1", 1, NOW + 2)
    await ledger.apply([ACCEPT, ASSIGN, *map(NoteRecorded, (writing, WRITTEN)), AGAIN, SECOND], NOW + 71)
    assert [one[0] for one in await told(redis, keys)] == [b"processing", b"processed"]
    again = [NoteRecorded(replace(each, attempt=2)) for each in (writing, WRITTEN, WRITTEN)]
    await ledger.apply(again[:1], NOW + 80)
    assert await redis.hmget(keys.bot("b1"), "transcript_status", "transcript_by") == [b"processing", b""]
    await ledger.apply([NoteRecorded(WRITTEN), *again], NOW + 90)
    assert [one[0] for one in await told(redis, keys)] == 2 * [b"processing", b"processed"]
    assert await redis.hget(keys.bot("b1"), "transcribed_attempt") == b"2"


async def test_a_transcript_of_an_earlier_attempt_counts_where_the_later_one_has_none(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([ACCEPT, ASSIGN, NoteRecorded(BotTranscribed("vm", "b1", 1, NOW + 2)), AGAIN, SECOND], NOW + 71)
    nothing = replace(WRITTEN, attempt=2, utterances=0)
    await ledger.apply([NoteRecorded(WRITTEN), NoteRecorded(nothing)], NOW + 80)
    assert [one[0] for one in await told(redis, keys)] == [b"processing", b"processed"]
    assert await redis.hget(keys.bot("b1"), "transcript_status") == b"processed"


@pytest.mark.parametrize("fleet", ["", "openai"])
async def test_a_transcript_of_an_earlier_attempt_is_waited_for_where_the_later_one_has_none(
    redis: Any, keys: Keys, fleet: str
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(), 1, fleet)
    nothing = NoteRecorded(replace(WRITTEN, attempt=2, utterances=0))
    await ledger.apply([ACCEPT, ASSIGN, NoteRecorded(WRITING), AGAIN, SECOND, nothing], NOW + 71)
    await ledger.apply([replace(ENDED, attempt=2)], NOW + 80)
    assert await redis.hmget(keys.bot("b1"), "transcript_status", "done_at") == [b"processing", b""]
    assert await redis.zscore(keys.recordings_due, "b1")
    await ledger.apply([NoteRecorded(WRITTEN)], NOW + 90)
    assert [one[0] for one in await told(redis, keys)] == [b"processing", b"processed"]
    assert await redis.hget(keys.bot("b1"), "done_at") == iso(WRITTEN.at).encode()


async def test_the_recording_of_a_later_attempt_is_sent_to_the_provider_as_that_of_the_first_was(
    redis: Any, keys: Keys, due: DueTranscriptions
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(recording_s=1800.0), 1)
    accept = replace(ACCEPT, job=replace(JOB, speech_after="openai"))
    await ledger.apply([accept, ASSIGN, NoteRecorded(WRITTEN)], NOW + 71)
    first = await due.under_way("b1")
    assert first
    became = await due.conclude(first, NOW + 10_000, utterances=7)
    assert became is Concluded.NOTED, "nothing is deleted before the bot's end"
    again = replace(ENDED, attempt=2)
    await ledger.apply([AGAIN, SECOND, NoteRecorded(replace(WRITTEN, attempt=2)), again], NOW + 10_001)
    second = await due.under_way("b1")
    assert second
    assert (second.number, second.what.attempt) == (1, 2)
    assert await due.conclude(second, NOW + 10_002, utterances=7) is Concluded.NOTED
    assert await told(redis, keys) == [(b"processed", b"", b""), (b"processed", b"", b"")]


async def test_a_later_attempt_is_written_down_anew_also_where_of_the_first_only_its_recording_was_sent(
    redis: Any, keys: Keys, due: DueTranscriptions
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(), 1, "openai")
    await ledger.apply([ACCEPT, ASSIGN, NoteRecorded(replace(WRITTEN, utterances=0)), AGAIN, SECOND], NOW + 71)
    first = await due.under_way("b1")
    assert first
    later = [NoteRecorded(replace(one, attempt=2)) for one in (WRITING, WRITTEN)]
    await ledger.apply([*later, replace(ENDED, attempt=2)], NOW + 80)
    assert await due.conclude(first, NOW + 100, utterances=7) is Concluded.SUPERSEDED
    fields = "transcript_status", "transcript_by", "transcribed_attempt"
    assert await redis.hmget(keys.bot("b1"), *fields) == [b"processed", CAPTIONS.encode(), b"2"]


@pytest.mark.parametrize("is_written", [False, True], ids=["before there is another one", "beside another one"])
async def test_what_is_made_of_an_earlier_attempt_concludes_nothing_of_a_later_one(
    redis: Any, keys: Keys, due: DueTranscriptions, *, is_written: bool
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(), 1)
    accept = replace(ACCEPT, job=replace(JOB, speech_after="openai"))
    await ledger.apply([accept, ASSIGN, *map(NoteRecorded, (WRITING, WRITTEN))], NOW + 71)
    first = await due.under_way("b1")
    assert first
    later = [replace(one, attempt=2) for one in (WRITING, WRITTEN)]
    await ledger.apply([AGAIN, SECOND, *map(NoteRecorded, later[: 1 + is_written])], NOW + 80)
    await ledger.apply([replace(ENDED, attempt=2)], NOW + 81)
    before = await redis.hgetall(keys.bot("b1")), await redis.hgetall(keys.transcriptions("b1"))
    await due.put_off(first, NOW + 500, why="busy (429)")
    for why in ("", "unauthorized (401)"):
        assert await due.conclude(first, NOW + 100, why=why) is Concluded.SUPERSEDED
    assert (await redis.hgetall(keys.bot("b1")), await redis.hgetall(keys.transcriptions("b1"))) == before
    assert [one[0] for one in await told(redis, keys)] == [b"processing", b"processing"]
    second = await due.under_way("b1")
    assert (second.what.attempt if second else 0) == (2 if is_written else 0)
    assert await due.due(NOW + 100, 5) == (["b1"] if is_written else [])
    assert second is None or await due.conclude(second, NOW + 101, utterances=7) is Concluded.NOTED


async def test_a_job_that_wants_captions_has_its_recording_sent_to_nobody(
    redis: Any, keys: Keys, due: DueTranscriptions
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(), 1, "openai")
    accept = replace(ACCEPT, job=replace(JOB, speech_after=CAPTIONS))
    await ledger.apply([accept, ASSIGN, ENDED, NoteRecorded(replace(WRITTEN, utterances=0))], NOW + 71)
    assert await redis.hget(keys.bot("b1"), "transcript_status") == b"skipped"
    assert await due.due(NOW + 1000, 5) == []


@pytest.mark.parametrize(
    ("utterances", "why", "status"),
    [
        (3, "unauthorized (401)", b"processed"),
        (0, "unauthorized (401)", b"failed"),
        (0, "nothing_said", b"skipped"),
        (0, "no_recording", b"skipped"),
    ],
)
async def test_what_is_given_up_leaves_the_captions_if_there_are_any_and_says_why(
    redis: Any, keys: Keys, ledger: Ledger, due: DueTranscriptions, utterances: int, why: str, status: bytes
) -> None:
    accept = replace(ACCEPT, job=replace(JOB, speech_after="deepgram"))
    written = replace(WRITTEN, utterances=utterances)
    await ledger.apply([accept, ASSIGN, ENDED, NoteRecorded(written)], NOW + 71)
    one = await due.under_way("b1")
    assert one
    assert await due.conclude(one, NOW + 101, why=why) is Concluded.NOTED
    assert await redis.hmget(keys.bot("b1"), "transcript_status", "transcript_by") == [status, CAPTIONS.encode()]
    assert await told(redis, keys) == [(status, why.encode(), b"")]
    assert (await story(redis, keys))[-1] == f"no words were made of its recording by deepgram: {why}"
    assert await due.under_way("b1") is None


async def test_another_one_is_asked_for_once_at_a_time_after_the_end_and_told_to_whom_it_names(
    redis: Any, keys: Keys, ledger: Ledger, due: DueTranscriptions, asked: Transcriptions
) -> None:
    await ledger.apply([ACCEPT, ASSIGN], NOW)
    assert await asked.ask("b1", ASKED, NOW + 80, BY) == Unasked("not_ended")
    assert await asked.ask("nobody", ASKED, NOW + 80, BY) == Unasked("not_ended")
    await ledger.apply([NoteRecorded(WRITTEN), ENDED], NOW + 71)
    assert await asked.ask("b1", ASKED, NOW + 80, BY) == 2
    assert await asked.ask("b1", ASKED, NOW + 80, BY) == Unasked("under_way")
    one = await due.under_way("b1")
    assert one
    assert one.attempt == ASKED.attempt
    assert await due.conclude(one, NOW + 90, utterances=4) is Concluded.NOTED
    assert await told(redis, keys) == [(b"processed", b"", b""), (b"processed", b"", b"https://else.example/")]
    assert await redis.hget(keys.bot("b1"), "transcript_by") == CAPTIONS.encode()  # that of its job is another one
    assert await asked.ask("b1", replace(ASKED, provider="whisper"), NOW + 95, BY) == 3
    listed = await asked.all("b1")
    assert [(number, one.provider, one.status) for number, one in listed.items()] == [
        (2, "openai", "processed"), (3, "whisper", "processing"),
    ]  # fmt: skip
    assert (await story(redis, keys))[-1] == "words are to be made of its recording by whisper"
    [first, _] = await Actions(redis, keys).since(0, most=9)
    assert (first.who, first.what, first.of, first.detail) == ("app", "transcribe", "b1", "by openai")
    await redis.zrem(keys.transcriptions_due, "b1")
    await redis.hset(keys.transcriptions("b1"), mapping={str(n): b"{}" for n in range(4, MOST_TRANSCRIPTS + 1)})
    assert await asked.ask("b1", ASKED, NOW + 99, BY) == Unasked("too_many")


async def test_words_that_come_after_all_take_the_place_of_what_was_to_be_made_because_there_were_none(
    redis: Any, keys: Keys, due: DueTranscriptions
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(), 1, "openai")
    await ledger.apply([ACCEPT, ASSIGN, ENDED, NoteRecorded(replace(WRITTEN, utterances=0))], NOW + 71)
    one = await due.under_way("b1")
    assert one
    await ledger.apply([NoteRecorded(WRITTEN)], NOW + 80)
    assert await told(redis, keys) == [(b"processed", b"", b"")]
    assert await due.conclude(one, NOW + 90, why="unauthorized (401)") is Concluded.SUPERSEDED
    assert await redis.hmget(keys.bot("b1"), "transcript_status", "transcript_by") == [b"processed", CAPTIONS.encode()]
    assert await due.under_way("b1") is None
    assert await due.due(NOW + 999, 5) == []
    assert await told(redis, keys) == [(b"processed", b"", b"")]


async def test_of_words_that_were_there_before_the_provider_had_any_the_record_says_whose_they_are(
    redis: Any, keys: Keys, due: DueTranscriptions
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(), 1, "openai")
    await ledger.apply([ACCEPT, ASSIGN, ENDED, NoteRecorded(replace(WRITTEN, utterances=0))], NOW + 71)
    one = await due.under_way("b1")
    assert one
    assert await due.conclude(one, NOW + 90, utterances=3, by=CAPTIONS) is Concluded.NOTED
    assert await redis.hmget(keys.bot("b1"), "transcript_status", "transcript_by") == [b"processed", CAPTIONS.encode()]
    assert (await story(redis, keys))[-1].endswith("is finished: 3 utterances")
    await ledger.apply([NoteRecorded(WRITTEN)], NOW + 95)
    assert await told(redis, keys) == [(b"processed", b"", b"")], "their VM tells it, too"


async def hear_nothing(ledger: Ledger) -> None:
    """A bot of which its agent has no words: a provider makes them of the recording."""
    accept = replace(ACCEPT, job=replace(JOB, speech_after="deepgram"))
    await ledger.apply([accept, ASSIGN, ENDED, NoteRecorded(replace(WRITTEN, utterances=0))], NOW + 71)


async def test_words_that_come_after_all_stay_where_the_provider_that_the_job_wishes_for_fails(
    redis: Any, keys: Keys, ledger: Ledger, due: DueTranscriptions
) -> None:
    await hear_nothing(ledger)
    await ledger.apply([NoteRecorded(WRITTEN)], NOW + 80)
    one = await due.under_way("b1")
    assert one
    assert (one.what.provider, one.what.captions) == ("deepgram", CAPTIONS)
    assert await due.conclude(one, NOW + 90, why="unauthorized (401)") is Concluded.NOTED
    assert await redis.hget(keys.bot("b1"), "transcript_status") == b"processed"


async def test_words_that_come_while_the_provider_is_at_work_stay_if_it_fails_just_then(
    redis: Any, keys: Keys, ledger: Ledger, due: DueTranscriptions
) -> None:
    await hear_nothing(ledger)
    early = await due.under_way("b1")
    assert early
    await ledger.apply([NoteRecorded(WRITTEN)], NOW + 80)
    await due.put_off(early, NOW + 500, why="busy (429)")
    assert await due.due(NOW + 90, 5) == ["b1"]
    assert await due.conclude(early, NOW + 90, why="unauthorized (401)") is Concluded.SUPERSEDED
    one = await due.under_way("b1")
    assert one
    assert await due.conclude(one, NOW + 95, why="unauthorized (401)") is Concluded.NOTED
    assert await redis.hget(keys.bot("b1"), "transcript_status") == b"processed"


async def test_what_a_provider_has_made_takes_the_place_of_words_that_came_meanwhile(
    redis: Any, keys: Keys, ledger: Ledger, due: DueTranscriptions
) -> None:
    await hear_nothing(ledger)
    one = await due.under_way("b1")
    assert one
    await ledger.apply([NoteRecorded(WRITTEN)], NOW + 80)
    assert await due.conclude(one, NOW + 90, utterances=4) is Concluded.NOTED
    assert await redis.hmget(keys.bot("b1"), "transcript_status", "transcript_by") == [b"processed", b"deepgram"]


@pytest.mark.parametrize("is_heard", [False, True])
async def test_one_that_is_asked_for_while_that_of_the_job_is_awaited_is_made_besides_it(
    redis: Any, keys: Keys, due: DueTranscriptions, asked: Transcriptions, is_heard: bool
) -> None:
    """`is_heard`: the one that was asked for, in the moment in which that of the job is to be made, too."""
    ledger = Ledger(redis, keys, RetentionSettings(), 1, "openai")
    await ledger.apply([ACCEPT, ASSIGN, NoteRecorded(WRITING), ENDED], NOW)
    assert await asked.ask("b1", ASKED, NOW + 80, BY) == 2
    early = await due.under_way("b1")
    await ledger.apply([NoteRecorded(replace(WRITTEN, utterances=0))], NOW + 90)
    made: list[int] = []
    while await due.due(NOW + 99, 5):
        one = early if is_heard and not made else await due.under_way("b1")
        assert one
        made.append(one.number)
        assert await due.conclude(one, NOW + 99, utterances=4) is Concluded.NOTED
        assert bool(await redis.hget(keys.bot("b1"), "done_at")) == (1 in made)
    assert made == ([2, 1] if is_heard else [1, 2])
    assert await redis.hget(keys.bot("b1"), "transcript_status") == b"processed"
    entries = [fields for _, fields in await redis.xrange(keys.outbox) if fields.get(b"done") == b"1"]
    assert [entry[b"number"] for entry in entries] == [b"1"]


async def test_a_transcript_that_is_asked_for_while_there_is_none_stays_due(
    redis: Any,
    keys: Keys,
    ledger: Ledger,
    due: DueTranscriptions,
    asked: Transcriptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the look and what follows from it; and who was replaced meanwhile takes no bot out."""
    await ledger.apply([ACCEPT, ASSIGN, NoteRecorded(WRITTEN), ENDED], NOW)
    await redis.zadd(keys.transcriptions_due, {"b1": NOW})
    with pytest.raises(StaleEpochError):
        await DueTranscriptions(redis, keys, 0).under_way("b1")
    assert await due.due(NOW, 5) == ["b1"]
    assert await due.under_way("b1") is None
    assert await due.due(NOW, 5) == []

    def sees_none(_raw: dict[bytes, bytes]) -> dict[int, Transcription]:
        return {}

    monkeypatch.setattr("poolmgr.store.leader.transcriptions.in_order", sees_none)
    assert await asked.ask("b1", ASKED, NOW, BY) == 2
    assert await due.under_way("b1") is None
    assert await due.due(NOW, 5) == ["b1"]


async def test_of_a_bot_that_is_forgotten_meanwhile_nothing_is_left(
    redis: Any, keys: Keys, ledger: Ledger, due: DueTranscriptions, asked: Transcriptions
) -> None:
    await ledger.apply([replace(ACCEPT, job=replace(JOB, callback_url="")), ASSIGN, NoteRecorded(WRITTEN), ENDED], NOW)
    known: UnderWay | None = None
    for leave in ("put off", "conclude", "look"):
        assert await asked.ask("b1", ASKED, NOW + 80, BY) in (2, Unasked("not_ended"))
        one = await due.under_way("b1")
        if leave == "put off":
            assert one
            known = one
            assert await forget(redis, keys, "b1") > 0
            await due.put_off(known, NOW + 100)
        elif leave == "conclude":
            await redis.zadd(keys.transcriptions_due, {"b1": NOW})
            assert known
            assert await due.conclude(known, NOW + 100) is Concluded.FORGOTTEN
        else:
            await redis.zadd(keys.transcriptions_due, {"b1": NOW})
            assert await due.under_way("b1") is None
        assert await redis.exists(keys.transcriptions_due, keys.transcriptions("b1"), keys.bot("b1")) == 0
