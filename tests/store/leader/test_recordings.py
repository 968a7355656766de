"""Recordings of which no files come are given up, and those whose time is over are found to be deleted."""

from itertools import permutations
from typing import Any, Final

import pytest
from msgspec.structs import replace

from common.config.settings import RetentionSettings
from common.jobs.record import Job, iso
from common.wire import codec
from common.wire.messages import BotRecorded, BotTranscribed, FinishRecording, Join, PermissionSeen
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.decisions import Accept, Assign, End, Enqueue, Move, Note, NoteRecorded, Why
from poolmgr.store.forgetting import expect_mark, keep_mark
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import Ledger, StaleEpochError
from poolmgr.store.leader.recordings import DueRecordings, Unmade
from poolmgr.store.leader.transcriptions import DueTranscriptions
from poolmgr.store.lives import (
    DELETED_MARK_LIFE_S,
    MADE_WITHIN_S,
    RETENTION_LIFE_S,
    TAKEN_OVER_AFTER_S,
    VM_LIFE_S,
)
from poolmgr.store.reading.views import Views
from poolmgr.store.story import EXPIRED, TAKEN_OVER, UNMADE, Entry, What
from poolmgr.telling.narrative import sentence
from tests.store.conftest import NOW

JOB: Final = Job(platform="room", meeting_url="http://127.0.0.1:8090/r/x", bot_name="N", payload="{}")
ACCEPT: Final = Accept("b1", JOB, BotState.QUEUED, NOW, seq=1)
ASSIGN: Final = Assign("vm1", Join("w1", "b1", 1, "room", JOB.meeting_url, "N"), born=NOW, warm=False, waited_s=2.5)
BEGAN: Final = BotRecorded("vm", "b1", 1, NOW + 1)
FINISHED: Final = replace(BEGAN, at=NOW + 90, finished=True, audio_s=60.0)
ENDED: Final = End("b1", 1, Reason.EVERYONE_LEFT, at=NOW + 60)
CALLED: Final = replace(ACCEPT, job=replace(JOB, callback_url="https://hooks.example/x"))


async def test_whether_the_meeting_permits_recording_is_told_each_once_and_only_of_the_attempt_that_counts(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    moved = Move("b1", 1, BotState.IN_MEETING, NOW + 1)
    first, second = (
        Note(PermissionSeen("vm1", "w1", "b1", 1, NOW + 1 + number, allowed=number == 2, number=number))
        for number in (1, 2)
    )
    await ledger.apply([CALLED, ASSIGN, moved, first, first, second, first, second], NOW)
    assert await told_of_permission(redis, keys) == [(b"1", b"denied"), (b"1", b"allowed")]
    of_next = Note(replace(first.event, attempt=2))
    await ledger.apply([of_next, AGAIN, SECOND, second, of_next, of_next], NOW + 9)
    assert await told_of_permission(redis, keys) == [(b"1", b"denied"), (b"1", b"allowed"), (b"2", b"denied")]
    await ledger.apply([ENDED_AGAIN, Note(replace(of_next.event, number=2))], NOW + 10)
    assert len(await told_of_permission(redis, keys)) == 3, "it has ended"


async def test_who_has_no_receiver_is_told_nothing_of_the_permission(redis: Any, keys: Keys, ledger: Ledger) -> None:
    seen = PermissionSeen("vm1", "w1", "b1", 1, NOW + 1, allowed=False, number=1)
    await ledger.apply([ACCEPT, ASSIGN, Note(seen)], NOW)
    assert await redis.xlen(keys.outbox) == 0
    assert await redis.hget(keys.bot("b1"), "permission_reports") == b"1"


async def told_of_permission(redis: Any, keys: Keys) -> list[tuple[bytes, bytes]]:
    """The attempt of each such entry of the outbox, and what it says."""
    entries = [fields for _, fields in await redis.xrange(keys.outbox) if b"permission" in fields]
    return [(fields[b"attempt"], fields[b"permission"]) for fields in entries]


@pytest.fixture
def due(redis: Any, keys: Keys) -> DueRecordings:
    return DueRecordings(redis, keys, 1)


async def test_what_nobody_made_files_of_is_given_up_and_told_all_the_same_when_they_come(
    redis: Any, keys: Keys, ledger: Ledger, due: DueRecordings
) -> None:
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(BEGAN), ENDED], NOW)
    first, until = NOW + 60 + TAKEN_OVER_AFTER_S, NOW + 60 + MADE_WITHIN_S
    assert await due.unmade(first - 1) == []
    [one] = await due.unmade(first)
    assert (one, one.is_given_up(until - 1), one.is_given_up(until)) == (
        Unmade("b1", 1, "vm1", NOW + 60, NOW + 60, recording=True), False, True,
    )  # fmt: skip
    await redis.zadd(keys.recordings_due, {"forgotten": 1})
    forgotten, _ = await due.unmade(first)
    assert (forgotten, forgotten.is_given_up(first)) == (Unmade("forgotten"), True)
    for each in (one, one, forgotten):
        await due.give_up(each, until)
    assert await redis.exists(keys.recordings_due, keys.bot("forgotten"), keys.story("forgotten")) == 0
    assert await redis.hmget(keys.bot("b1"), "manifest_status", "audio_status", "video_status") == [
        b"skipped", b"skipped", b"",
    ]  # fmt: skip
    last = (await Views(redis, keys).story("b1"))[-1]
    assert last == Entry(iso(until), What.RECORDED, 1, why=UNMADE)
    assert "no agent has made files" in sentence(last)
    await ledger.apply([NoteRecorded(FINISHED)], until + 90)
    told = [fields for _, fields in await redis.xrange(keys.outbox) if b"recorded" in fields]
    assert [(one[b"recorded"], one[b"before"]) for one in told] == [
        (b"recording", b""), (b"skipped", b"recording"), (b"completed", b"skipped"),
    ]  # fmt: skip


@pytest.mark.parametrize(("ahead_s", "awaited_s"), [(-7200.0, 0.0), (300.0, 300.0), (1e9, TAKEN_OVER_AFTER_S)])
async def test_what_a_vm_makes_whose_clock_is_wrong_is_waited_for_as_long_as_that_of_any_other(
    redis: Any, keys: Keys, ledger: Ledger, due: DueRecordings, ahead_s: float, awaited_s: float
) -> None:
    now = NOW + 60
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(BEGAN), replace(ENDED, at=now + ahead_s)], now)
    first = now + awaited_s + TAKEN_OVER_AFTER_S
    assert await due.unmade(first - 1) == []
    [one] = await due.unmade(first)
    assert one == Unmade("b1", 1, "vm1", now + ahead_s, now + awaited_s, recording=True)
    until = now + awaited_s + MADE_WITHIN_S
    assert (one.is_given_up(until - 1), one.is_given_up(until)) == (False, True)
    await due.order(one, "vm2", until - 1)
    assert await due.unmade(until) == [one]


async def test_another_vm_is_told_to_make_the_files_as_long_as_they_are_to_be_made(
    redis: Any, keys: Keys, ledger: Ledger, due: DueRecordings
) -> None:
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(BEGAN), ENDED], NOW)
    now = NOW + 60 + TAKEN_OVER_AFTER_S
    [one] = await due.unmade(now)
    await due.order(one._replace(attempt=2), "vm2", now)
    await due.order(one, "vm2", now)
    orders = [codec.decode_command(fields[b"m"]) for _, fields in await redis.xrange(keys.commands("vm2"))]
    assert (orders, await due.unmade(now)) == ([FinishRecording("b1", 1, NOW + 60)], [])
    assert 0 < await redis.ttl(keys.commands("vm2")) <= VM_LIFE_S
    last = (await Views(redis, keys).story("b1"))[-1]
    assert last == Entry(iso(now), What.RECORDED, 1, vm_id="vm2", why=TAKEN_OVER)
    again = now + TAKEN_OVER_AFTER_S  # its agent may have died and forgotten it
    assert (await due.unmade(again - 1), await due.unmade(again)) == ([], [one])
    await due.order(one, "vm2", again)
    late = NOW + 60 + MADE_WITHIN_S - 1
    await due.order(one, "vm2", late)
    assert (await due.unmade(late), await due.unmade(late + 1)) == ([], [one]), "given up no later than else"
    await ledger.apply([NoteRecorded(FINISHED)], now + 5)
    await due.order(one, "vm3", now + 6)
    assert await redis.exists(keys.commands("vm3")) == 0
    assert await redis.zscore(keys.recordings_due, "b1") is None
    with pytest.raises(StaleEpochError):
        await DueRecordings(redis, keys, 0).order(one, "vm3", now)


async def test_what_a_vm_cannot_make_another_one_is_to_make_and_if_nobody_does_the_cause_is_told(
    redis: Any, keys: Keys, ledger: Ledger, due: DueRecordings
) -> None:
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(BEGAN), ENDED], NOW)
    unmade = BotRecorded("vm1", "b1", 1, NOW + 300, unmade="no file was made")
    await ledger.apply([NoteRecorded(unmade), NoteRecorded(replace(unmade, attempt=2, vm_id="vm9"))], NOW)
    [one] = await due.unmade(NOW + 60 + TAKEN_OVER_AFTER_S)
    assert (one.recording, one.unmade_by) == (True, "vm1")
    assert sentence((await Views(redis, keys).story("b1"))[-1]) == (
        "VM vm1 can make no files of its recording: no file was made"
    )
    until = NOW + 60 + MADE_WITHIN_S
    await due.give_up(one, until)
    [*_, (_, last)] = await redis.xrange(keys.outbox)
    assert (last[b"recorded"], last[b"why"]) == (b"skipped", b"no file was made")
    await ledger.apply([NoteRecorded(FINISHED), NoteRecorded(unmade)], until + 1)
    assert await redis.hmget(keys.bot("b1"), "manifest_status", "unmade_by", "unmade_why") == [b"completed", None, None]


async def test_who_makes_the_files_is_told_whether_a_transcript_is_waited_for_and_it_is_made_of_the_sound_if_need_be(
    redis: Any, keys: Keys
) -> None:
    """The whole way of a transcript whose VM is gone: as a leader with `transcription.after` has it."""
    ledger, due = Ledger(redis, keys, RetentionSettings(), 1, "whisper"), DueRecordings(redis, keys, 1)
    writing = NoteRecorded(BotTranscribed("vm", "b1", 1, NOW + 1))
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(BEGAN), writing, ENDED], NOW)
    now = NOW + 60 + TAKEN_OVER_AFTER_S
    [one] = await due.unmade(now)
    await due.order(one, "vm2", now)
    [order] = [codec.decode_command(fields[b"m"]) for _, fields in await redis.xrange(keys.commands("vm2"))]
    assert order == FinishRecording("b1", 1, NOW + 60, transcript=True)
    transcribing = DueTranscriptions(redis, keys, 1)
    assert await transcribing.due(now + 60, 10) == []
    nothing = NoteRecorded(BotTranscribed("vm2", "b1", 1, now + 1, finished=True))
    await ledger.apply([NoteRecorded(FINISHED), nothing, nothing], now + 1)
    assert await transcribing.due(now + 60, 10) == ["b1"]
    task = await transcribing.under_way("b1")
    assert task
    assert (task.number, task.what.provider, task.bot.transcript_status) == (1, "whisper", "processing")
    assert await redis.exists(keys.recordings_due) == 0, "no agent is waited for"


WRITING: Final = BotTranscribed("vm", "b1", 1, NOW + 1)
WRITTEN: Final = replace(WRITING, at=NOW + 90, finished=True, utterances=3)


async def told_of_transcripts(redis: Any, keys: Keys) -> list[bytes]:
    return [fields[b"transcribed"] for _, fields in await redis.xrange(keys.outbox) if b"transcribed" in fields]


async def test_of_a_meeting_that_is_not_recorded_another_vm_is_told_to_make_the_transcript(
    redis: Any, keys: Keys, ledger: Ledger, due: DueRecordings
) -> None:
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(WRITING), ENDED], NOW)
    now = NOW + 60 + TAKEN_OVER_AFTER_S
    assert await due.unmade(now - 1) == []
    [one] = await due.unmade(now)
    assert one == Unmade("b1", 1, "vm1", NOW + 60, NOW + 60, transcript=True)
    await due.order(one._replace(attempt=2), "vm2", now)
    await due.order(one, "vm2", now)
    orders = [codec.decode_command(fields[b"m"]) for _, fields in await redis.xrange(keys.commands("vm2"))]
    assert orders == [FinishRecording("b1", 1, NOW + 60, transcript=True, recording=False)]
    last = (await Views(redis, keys).story("b1"))[-1]
    assert last == Entry(iso(now), What.TRANSCRIBED, 1, vm_id="vm2", why=TAKEN_OVER)
    assert sentence(last).startswith("its VM has made no transcript of it: VM vm2 is to make it")
    assert (await due.unmade(now + TAKEN_OVER_AFTER_S - 1), await due.unmade(now + TAKEN_OVER_AFTER_S)) == ([], [one])
    await ledger.apply([NoteRecorded(WRITTEN), NoteRecorded(replace(WRITTEN, utterances=1))], now + 5)
    await due.order(one, "vm3", now + 6)
    await due.give_up(one, now + 7)
    assert await redis.exists(keys.commands("vm3"), keys.recordings_due) == 0
    assert await told_of_transcripts(redis, keys) == [b"processing", b"processed"]


async def test_a_transcript_that_nobody_made_is_given_up_and_told_all_the_same_when_it_comes(
    redis: Any, keys: Keys, ledger: Ledger, due: DueRecordings
) -> None:
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(WRITING), ENDED], NOW)
    until = NOW + 60 + MADE_WITHIN_S
    [one] = await due.unmade(until)
    assert one.is_given_up(until)
    for _ in range(2):
        await due.give_up(one, until)
    assert await redis.hmget(keys.bot("b1"), "manifest_status", "transcript_status") == [None, b"skipped"]
    assert await redis.exists(keys.recordings_due, keys.transcriptions_due) == 0
    last = (await Views(redis, keys).story("b1"))[-1]
    assert last == Entry(iso(until), What.TRANSCRIBED, 1, why=UNMADE)
    assert "no agent has made its transcript in time" in sentence(last)
    late = [WRITING, replace(WRITTEN, utterances=0), WRITTEN, WRITTEN, replace(WRITTEN, utterances=0)]
    await ledger.apply([*map(NoteRecorded, late)], until + 90)
    assert await redis.hget(keys.bot("b1"), "transcript_status") == b"processed"
    assert await told_of_transcripts(redis, keys) == [b"processing", b"skipped", b"processed"]


async def test_a_transcript_of_which_is_first_heard_after_the_end_is_waited_for_as_any_other(
    redis: Any, keys: Keys, ledger: Ledger, due: DueRecordings
) -> None:
    await ledger.apply([CALLED, ASSIGN, ENDED], NOW)
    await ledger.apply([NoteRecorded(WRITING)], NOW + 70)
    now = NOW + 70 + TAKEN_OVER_AFTER_S
    assert await due.unmade(now - 1) == []
    [one] = await due.unmade(now)
    assert (one.attempt, one.transcript, one.is_given_up(NOW + 60 + MADE_WITHIN_S)) == (1, True, True)
    await due.give_up(one, NOW + 60 + MADE_WITHIN_S)
    assert await redis.hget(keys.bot("b1"), "transcript_status") == b"skipped"
    assert await redis.exists(keys.recordings_due) == 0


async def test_files_and_transcript_are_waited_for_until_both_are_there(
    redis: Any, keys: Keys, ledger: Ledger, due: DueRecordings
) -> None:
    now = NOW + 60 + TAKEN_OVER_AFTER_S
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(BEGAN), NoteRecorded(WRITING), ENDED], NOW)
    both = Unmade("b1", 1, "vm1", NOW + 60, NOW + 60, recording=True, transcript=True)
    assert await due.unmade(now) == [both]
    await ledger.apply([NoteRecorded(FINISHED)], now)
    assert await due.unmade(now) == [both._replace(recording=False)]
    await ledger.apply([NoteRecorded(WRITTEN)], now)
    assert await due.unmade(now) == []


async def test_where_only_the_transcript_came_the_files_are_waited_for(
    redis: Any, keys: Keys, ledger: Ledger, due: DueRecordings
) -> None:
    writing, written = NoteRecorded(WRITING), NoteRecorded(WRITTEN)
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(BEGAN), writing, ENDED, written], NOW)
    until = NOW + 60 + MADE_WITHIN_S
    [one] = await due.unmade(until)
    assert (one.recording, one.transcript) == (True, False)
    await due.give_up(one, until)
    assert await redis.hmget(keys.bot("b1"), "manifest_status", "transcript_status") == [b"skipped", b"processed"]


@pytest.mark.parametrize("wanted", ["", "deepgram"])
async def test_of_files_that_are_there_a_provider_makes_the_transcript_that_is_given_up(
    redis: Any, keys: Keys, wanted: str
) -> None:
    """What the fleet, or the job, names; and an agent that comes late is not waited for any more."""
    ledger = Ledger(redis, keys, RetentionSettings(), 1, "whisper")
    due, transcribing = DueRecordings(redis, keys, 1, "whisper"), DueTranscriptions(redis, keys, 1)
    accept = replace(CALLED, job=replace(CALLED.job, speech_after=wanted))
    said = [NoteRecorded(BEGAN), NoteRecorded(WRITING), ENDED, NoteRecorded(FINISHED)]
    await ledger.apply([accept, ASSIGN, *said], NOW)
    until = NOW + 60 + MADE_WITHIN_S
    [one] = await due.unmade(until)
    await due.give_up(one, until)
    await due.give_up(one, until)
    task = await transcribing.under_way("b1")
    assert task
    assert (task.what.provider, await transcribing.due(until, 10)) == (wanted or "whisper", ["b1"])
    await redis.zadd(keys.recordings_due, {"b1": 1})
    assert await due.unmade(until) == [Unmade("b1")], "a provider makes it"
    await transcribing.conclude(task, until + 5, why="unauthorized (401)")
    await ledger.apply([NoteRecorded(WRITTEN)], until + 90)
    record = await redis.hmget(keys.bot("b1"), "transcript_status", "transcript_by")
    assert record == [b"processed", b"meeting_captions"]
    assert await told_of_transcripts(redis, keys) == [b"processing", b"failed", b"processed"]


@pytest.mark.parametrize(("of_job", "of_fleet_s", "after_s"), [(2.0, 0.0, 7200), (None, 60.0, 60), (0.5, 60.0, 1800)])
async def test_a_recording_whose_time_is_over_is_found_and_its_record_says_so(
    redis: Any, keys: Keys, due: DueRecordings, of_job: float | None, of_fleet_s: float, after_s: float
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(recording_s=of_fleet_s), 1)
    accept = replace(ACCEPT, job=replace(JOB, recording_hours=of_job))
    await ledger.apply([accept, ASSIGN, NoteRecorded(BEGAN), ENDED, NoteRecorded(FINISHED)], NOW)
    assert await due.over(NOW + after_s - 1) == []
    assert await due.over(NOW + after_s) == ["b1"]
    await redis.zadd(keys.recordings_expiring, {"forgotten": 1})
    for bot_id in ("b1", "forgotten"):
        await due.note_deleted(bot_id, NOW + after_s)
    assert await redis.hget(keys.bot("b1"), "manifest_status") == b"expired"
    assert await redis.exists(keys.bot("forgotten"), keys.story("forgotten")) == 0
    again = NOW + after_s + DELETED_MARK_LIFE_S
    assert (await due.over(again - 1), await due.over(again)) == ([], ["b1", "forgotten"])
    assert [await due.is_still_over("b1", at) for at in (again - 1, again)] == [False, True]
    for bot_id in ("b1", "forgotten"):
        await due.note_deleted(bot_id, again, marked=False)
        assert not await due.is_still_over(bot_id, again), "it is gone"
    assert await redis.exists(keys.recordings_expiring) == 0
    await ledger.apply([NoteRecorded(FINISHED)], again + 1)
    assert await redis.hget(keys.bot("b1"), "manifest_status") == b"expired", "nobody has it any more"
    last = (await Views(redis, keys).story("b1"))[-1]
    assert last == Entry(iso(NOW + after_s), What.RECORDED, why=EXPIRED)
    assert "was deleted" in sentence(last)


async def test_the_mark_of_a_bot_that_a_client_deleted_is_looked_at_when_its_time_is_over(
    redis: Any, keys: Keys, due: DueRecordings
) -> None:
    await expect_mark(redis, keys, "b1", NOW - 5)
    for _ in range(2):
        await keep_mark(redis, keys, "b1", NOW)
    await expect_mark(redis, keys, "b1", NOW + 5)
    until = NOW + DELETED_MARK_LIFE_S
    assert (await due.over(until - 1), await due.over(until)) == ([], ["b1"])


async def test_what_is_kept_for_ten_years_is_deleted_then_however_little_is_recorded_meanwhile(
    redis: Any, keys: Keys, ledger: Ledger, due: DueRecordings
) -> None:
    hours, now = 87_600.0, NOW + 9999
    for bot_id, kept_for in (("b1", hours), ("b2", 0.5)):
        accept = replace(ACCEPT, bot_id=bot_id, job=replace(JOB, recording_hours=kept_for))
        join = replace(ASSIGN.join, bot_id=bot_id)
        recorded = [NoteRecorded(replace(each, bot_id=bot_id)) for each in (BEGAN, FINISHED)]
        await ledger.apply([accept, replace(ASSIGN, join=join), *recorded, replace(ENDED, bot_id=bot_id)], NOW)
    left = [await redis.ttl(keys.recordings_expiring)]
    await due.note_deleted("b2", now)
    left.append(await redis.ttl(keys.recordings_expiring))
    await keep_mark(redis, keys, "b3", now)
    left.append(await redis.ttl(keys.recordings_expiring))
    assert all(hours * 3600 < each <= RETENTION_LIFE_S for each in left), left


@pytest.mark.parametrize("job", [JOB, replace(JOB, recording_hours=0.5)], ids=["as the fleet says", "as the job says"])
async def test_a_transcript_is_kept_no_longer_than_a_recording_if_there_is_none(
    redis: Any, keys: Keys, due: DueRecordings, job: Job
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(recording_s=1800.0), 1)
    await ledger.apply([replace(ACCEPT, job=job), ASSIGN, NoteRecorded(WRITING)], NOW)
    assert await due.over(NOW + 9000) == [], "it is being written"
    await ledger.apply([ENDED, NoteRecorded(WRITTEN), NoteRecorded(WRITTEN)], NOW)
    assert await due.over(NOW + 1799) == []
    assert await due.over(NOW + 1800) == ["b1"]


@pytest.mark.parametrize("is_finished", [False, True])
async def test_a_transcript_goes_with_its_recording_whichever_is_there_first(
    redis: Any, keys: Keys, due: DueRecordings, *, is_finished: bool
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(recording_s=1800.0), 1)
    await ledger.apply([ACCEPT, ASSIGN, NoteRecorded(BEGAN), NoteRecorded(WRITING), ENDED], NOW)
    first, second = (FINISHED, WRITTEN) if is_finished else (WRITTEN, FINISHED)
    await ledger.apply([NoteRecorded(first)], NOW)
    assert await due.over(NOW + 1800) == (["b1"] if is_finished else []), "its files are still to be made"
    await ledger.apply([NoteRecorded(second)], NOW + 900)
    until = NOW + 1800 + (0 if is_finished else 900)
    assert (await due.over(until - 1), await due.over(until)) == ([], ["b1"])


@pytest.mark.parametrize(
    ("begun", "late"), [(WRITING, None), (BEGAN, FINISHED)], ids=["a transcript", "files, which come all the same"]
)
async def test_what_the_store_has_of_something_that_was_given_up_is_kept_no_longer_than_else(
    redis: Any, keys: Keys, begun: BotTranscribed | BotRecorded, late: BotRecorded | None
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(recording_s=1800.0), 1)
    due = DueRecordings(redis, keys, 1, retention_s=1800.0)
    await ledger.apply([ACCEPT, ASSIGN, NoteRecorded(begun), ENDED], NOW)
    until = NOW + 60 + MADE_WITHIN_S
    [one] = await due.unmade(until)
    await due.give_up(one, until)
    assert (await due.over(until + 1799), await due.over(until + 1800)) == ([], ["b1"])
    if late:
        await ledger.apply([NoteRecorded(late)], until + 90)
        assert (await due.over(until + 1889), await due.over(until + 1890)) == ([], ["b1"])


DAY_S: Final = 86_400.0
AGAIN: Final = Enqueue("b1", 1, Why.VM_LOST)
SECOND: Final = replace(ASSIGN, join=replace(ASSIGN.join, attempt=2, worker_id="w2"))
BEGAN_AGAIN: Final = replace(BEGAN, attempt=2, at=NOW + 200)
FINISHED_AGAIN: Final = replace(FINISHED, attempt=2, at=NOW + 400)
ENDED_AGAIN: Final = replace(ENDED, attempt=2, at=NOW + 300)


async def test_a_bot_that_is_sent_in_again_after_its_files_were_made_is_recorded_anew(
    redis: Any, keys: Keys, due: DueRecordings
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(recording_s=1800.0), 1)
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(BEGAN), AGAIN, NoteRecorded(FINISHED)], NOW)
    assert await due.over(NOW + 1800) == [], "it may come in once more"
    assert await due.over(NOW + 1860) == []
    await ledger.apply([SECOND, *map(NoteRecorded, (BEGAN_AGAIN, BEGAN_AGAIN, BEGAN, FINISHED))], NOW + 200)
    assert await redis.hmget(keys.bot("b1"), "manifest_status", "recorded_attempt") == [b"recording", b"2"]
    assert await redis.zscore(keys.recordings_expiring, "b1") is None
    await ledger.apply([ENDED_AGAIN], NOW + 300)
    [one] = await due.unmade(NOW + 300 + TAKEN_OVER_AFTER_S)
    assert (one.attempt, one.recording) == (2, True)
    await ledger.apply([*map(NoteRecorded, (FINISHED_AGAIN, FINISHED_AGAIN, BEGAN_AGAIN))], NOW + 400)
    assert (await due.over(NOW + 2199), await due.over(NOW + 2200)) == ([], ["b1"])
    told = [fields for _, fields in await redis.xrange(keys.outbox) if b"recorded" in fields]
    assert [(one[b"attempt"], one[b"recorded"], one[b"before"]) for one in told] == [
        (b"1", b"recording", b""), (b"1", b"completed", b"recording"),
        (b"2", b"recording", b""), (b"2", b"completed", b"recording"),
    ]  # fmt: skip


async def test_the_files_of_an_earlier_attempt_are_waited_for_where_the_later_one_is_not_recorded(
    redis: Any, keys: Keys, due: DueRecordings
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(), 1)
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(BEGAN), AGAIN, SECOND, ENDED_AGAIN], NOW)
    now = NOW + 300 + TAKEN_OVER_AFTER_S
    [one] = await due.unmade(now)
    assert (one.attempt, one.recording) == (1, True)
    await due.order(one, "vm2", now)
    [order] = [codec.decode_command(fields[b"m"]) for _, fields in await redis.xrange(keys.commands("vm2"))]
    assert order == FinishRecording("b1", 1, NOW + 300)
    await ledger.apply([*map(NoteRecorded, (FINISHED, FINISHED))], now + 5)
    assert await redis.hmget(keys.bot("b1"), "manifest_status", "recorded_attempt") == [b"completed", b"1"]
    told = [fields for _, fields in await redis.xrange(keys.outbox) if b"recorded" in fields]
    assert [(one[b"attempt"], one[b"recorded"]) for one in told] == [(b"1", b"recording"), (b"1", b"completed")]
    assert await redis.zscore(keys.recordings_due, "b1") is None


async def test_a_later_attempt_has_neither_files_nor_transcript_until_they_are_there(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    times = "files_at", "transcribed_at"
    said = [BEGAN, WRITING, FINISHED, WRITTEN]
    await ledger.apply([CALLED, ASSIGN, *map(NoteRecorded, said), AGAIN, SECOND], NOW)
    assert await redis.hmget(keys.bot("b1"), *times) == [iso(one.at).encode() for one in (FINISHED, WRITTEN)]
    later = [replace(one, attempt=2, at=one.at + 900) for one in said]
    await ledger.apply([*map(NoteRecorded, later[:2])], NOW + 900)
    assert await redis.hmget(keys.bot("b1"), *times) == [None, None]
    await ledger.apply([*map(NoteRecorded, later[2:])], NOW + 900)
    assert await redis.hmget(keys.bot("b1"), *times) == [iso(one.at).encode() for one in later[2:]]


async def test_files_of_one_attempt_and_a_transcript_of_another_are_each_ordered(
    redis: Any, keys: Keys, due: DueRecordings
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(), 1)
    writing = NoteRecorded(replace(WRITING, attempt=2))
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(BEGAN), AGAIN, SECOND, writing, ENDED_AGAIN], NOW)
    now = NOW + 300 + TAKEN_OVER_AFTER_S
    for one in await due.unmade(now):
        await due.order(one, "vm2", now)
    orders = [codec.decode_command(fields[b"m"]) for _, fields in await redis.xrange(keys.commands("vm2"))]
    assert orders == [
        FinishRecording("b1", 1, NOW + 300), FinishRecording("b1", 2, NOW + 300, transcript=True, recording=False),
    ]  # fmt: skip
    for one in await due.unmade(now + TAKEN_OVER_AFTER_S):
        await due.give_up(one, now + TAKEN_OVER_AFTER_S)
    said = await redis.hmget(keys.bot("b1"), "manifest_status", "transcript_status")
    assert (said, await due.unmade(now + DAY_S)) == ([b"skipped", b"skipped"], [])


async def test_a_leader_that_dies_between_two_attempts_of_a_bot_leaves_the_second_one_to_the_next(
    redis: Any, keys: Keys, due: DueRecordings
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(), 1)
    again = [NoteRecorded(BEGAN_AGAIN), ENDED_AGAIN]
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(BEGAN), NoteRecorded(WRITING), AGAIN, SECOND, *again], NOW)
    until = NOW + 300 + MADE_WITHIN_S
    first, second = await due.unmade(until)
    assert [(one.attempt, one.recording, one.transcript) for one in (first, second)] == [
        (1, False, True), (2, True, False),
    ]  # fmt: skip
    await due.give_up(first, until)
    await due.give_up(Unmade("b1"), until)  # as one who looked before
    assert await due.unmade(until) == [second]
    await due.give_up(second, until)
    assert await due.unmade(until) == []
    assert await told_in_order(redis, keys) == [("end", False), ("transcribed", False), ("recorded", True)]


async def test_a_leader_that_was_replaced_takes_no_bot_out_of_those_that_are_waited_for(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(BEGAN), ENDED], NOW)
    await redis.hset(keys.bot("b1"), "manifest_status", "completed")
    with pytest.raises(StaleEpochError):
        await DueRecordings(redis, keys, 0).give_up(Unmade("b1"), NOW)
    assert await redis.zscore(keys.recordings_due, "b1")


async def test_what_was_recorded_of_an_earlier_attempt_is_kept_where_the_later_one_is_not_recorded(
    redis: Any, keys: Keys, due: DueRecordings
) -> None:
    ledger = Ledger(redis, keys, RetentionSettings(recording_s=1800.0), 1)
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(BEGAN), AGAIN, NoteRecorded(FINISHED), SECOND], NOW)
    assert await due.over(NOW + 1800) == []
    await ledger.apply([ENDED_AGAIN], NOW + 1801)
    assert await redis.hmget(keys.bot("b1"), "manifest_status", "recorded_attempt") == [b"completed", b"1"]
    assert (await due.over(NOW + 1859), await due.over(NOW + 1860)) == ([], ["b1"])


async def told_in_order(redis: Any, keys: Keys) -> list[tuple[str, bool]]:
    """What each entry of the outbox from the bot's end on is about, and whether all is done with it."""
    entries = [fields for _, fields in await redis.xrange(keys.outbox)]
    about = [next((name for name in ("recorded", "transcribed") if name.encode() in one), "end") for one in entries]
    found = zip(about, entries, strict=True)
    return [(name, one.get(b"done") == b"1") for name, one in found if one[b"state"] == b"stopped"]


@pytest.mark.parametrize("order", [*permutations(("end", "files", "words"))], ids="-".join)
@pytest.mark.parametrize("after", ["", "whisper"], ids=["of captions", "by a provider"])
async def test_all_is_done_once_with_the_last_of_end_files_and_transcript_whatever_is_said_twice(
    redis: Any, keys: Keys, order: tuple[str, ...], after: str
) -> None:
    ledger, transcribing = Ledger(redis, keys, RetentionSettings(), 1, after), DueTranscriptions(redis, keys, 1)
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(BEGAN), NoteRecorded(WRITING)], NOW)
    words = replace(WRITTEN, utterances=0 if after else 3)
    steps = {"end": ENDED, "files": NoteRecorded(FINISHED), "words": NoteRecorded(words)}
    for name in order:
        await ledger.apply([steps[name]], NOW + 70)
        await ledger.apply([steps[name]], NOW + 71)  # a leader that died had not said that it was read
    if after:
        assert not any(done for _, done in await told_in_order(redis, keys)), "the transcript is being made"
        task = await transcribing.under_way("b1")
        assert task
        for _ in range(2):
            await transcribing.conclude(task, NOW + 80, why="unauthorized (401)")
    last = "transcribed" if after else {"files": "recorded", "words": "transcribed", "end": "end"}[order[-1]]
    assert [name for name, done in await told_in_order(redis, keys) if done] == [last]
    assert await redis.hget(keys.bot("b1"), "done_at")


@pytest.mark.parametrize("is_ended", [True, False], ids=["has ended", "has accepted"])
async def test_of_a_bot_that_a_release_before_has_ended_it_is_not_said_again_that_all_is_done(
    redis: Any, keys: Keys, ledger: Ledger, *, is_ended: bool
) -> None:
    """Its record has no done_at. One that was only accepted gets it with its end."""
    end = [NoteRecorded(BEGAN), ENDED]
    await ledger.apply([CALLED, ASSIGN, *(end if is_ended else [])], NOW)
    assert await redis.hdel(keys.bot("b1"), "done_at") == is_ended
    await ledger.apply([*([] if is_ended else end), NoteRecorded(FINISHED), NoteRecorded(WRITTEN)], NOW + 70)
    entries = [fields for _, fields in await redis.xrange(keys.outbox) if fields[b"state"] == b"stopped"]
    assert [one[b"done"] for one in entries] == ([b"", b"unsaid", b"unsaid"] if is_ended else [b"", b"1", b""])


async def test_all_is_done_for_a_bot_of_whose_transcript_nothing_is_heard_when_it_is_given_up(
    redis: Any, keys: Keys, ledger: Ledger, due: DueRecordings
) -> None:
    await ledger.apply([CALLED, ASSIGN, NoteRecorded(BEGAN), NoteRecorded(WRITING), ENDED], NOW)
    until = NOW + 60 + MADE_WITHIN_S
    [one] = await due.unmade(until)
    for _ in range(2):
        await due.give_up(one, until)
    assert await told_in_order(redis, keys) == [("end", False), ("recorded", False), ("transcribed", True)]
    await ledger.apply([NoteRecorded(FINISHED), NoteRecorded(WRITTEN)], until + 90)
    late = await told_in_order(redis, keys)
    assert late[3:] == [("recorded", False), ("transcribed", False)]
