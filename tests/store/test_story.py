"""A bot's story: what each decision leaves in it, what a long one loses, and who may not tell it."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest
from msgspec.structs import replace

from common.jobs.record import Job
from common.wire.manifest import Gap
from common.wire.messages import BotRecorded, BotSaw, BotStreamed, BotTranscribed, Join
from common.wire.vocabulary import BotState, Feed, FeedStatus, Reason
from poolmgr.core.decisions import (
    Accept,
    Ask,
    Assign,
    Decision,
    End,
    Enqueue,
    Move,
    Note,
    NoteFailed,
    NoteRecorded,
    Reschedule,
    Retire,
    Why,
)
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import Ledger
from poolmgr.store.lives import TAKEN_OVER_AFTER_S
from poolmgr.store.reading.views import Views
from poolmgr.store.record import iso
from poolmgr.store.story import Entry, What
from poolmgr.telling.narrative import sentence
from tests.store.conftest import NOW

JOB = Job(platform="room", meeting_url="http://127.0.0.1:8090/r/x", bot_name="N", payload="{}")
ACCEPT = Accept("b1", JOB, BotState.QUEUED, NOW, seq=1)
ASSIGN = Assign("vm1", Join("w1", "b1", 1, "room", JOB.meeting_url, "N"), born=NOW, warm=False, waited_s=2.5)


def seen(screen: str, did: str = "") -> Note:
    return Note(BotSaw("vm", "w", "b1", 1, NOW + 2, screen, "a-rule", did), "room")


async def test_what_happened_is_told_in_order_from_the_acceptance_to_the_end(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply(
        [
            ACCEPT,
            ASSIGN,
            Move("b1", 1, BotState.JOINING, NOW + 1, "loading"),
            seen("name_prompt"),
            seen("name_prompt", "fill_name_and_join"),
            NoteFailed("b1", 1, Reason.BROWSER_CRASHED, "it died", "b1-1"),
            Enqueue("b1", 1, Why.RETRY),
            replace(ASSIGN, join=replace(ASSIGN.join, attempt=2, worker_id="w2")),
            Ask("vm1", "w2", "b1", 2, Reason.USER_REQUESTED),
            Ask("vm1", "w2", "b1", 2, Reason.SUPERSEDED),
            End("b1", 2, Reason.USER_REQUESTED, at=NOW + 8, evidence="b1-2"),
            Ask("vm1", "w2", "b1", 2, Reason.USER_REQUESTED),
        ],
        NOW + 5,
    )
    at, later = iso(NOW + 5), iso(NOW + 2)
    assert await Views(redis, keys).story("b1") == [
        Entry(iso(NOW), What.ACCEPTED, state="queued", platform="room"),
        Entry(at, What.ASSIGNED, 1, vm_id="vm1", worker_id="w1", waited_s=2.5),
        Entry(iso(NOW + 1), What.MOVED, 1, state="joining", screen="loading"),
        Entry(later, What.SAW, 1, screen="name_prompt", rule="a-rule"),
        Entry(later, What.SAW, 1, screen="name_prompt", rule="a-rule", did="fill_name_and_join"),
        Entry(at, What.FAILED, 1, reason="browser_crashed", detail="it died", evidence="b1-1"),
        Entry(at, What.QUEUED, 1, why="retry"),
        Entry(at, What.ASSIGNED, 2, vm_id="vm1", worker_id="w2", waited_s=2.5),
        Entry(at, What.ASKED_TO_LEAVE, 2, reason="user_requested"),
        Entry(iso(NOW + 8), What.ENDED, 2, reason="user_requested", attribution="user", evidence="b1-2"),
    ]
    assert await redis.hget(keys.bot("b1"), "evidence") == b"b1-1 b1-2"
    assert [entry.what for entry in await Views(redis, keys).story("b1", 8)] == [What.ASKED_TO_LEAVE, What.ENDED]


async def test_a_worker_that_does_not_go_is_part_of_the_story_of_its_last_bot(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    forced = Retire("vm1", "w1", NOW, Why.RETIRE_OVERDUE, by_force=True, served="b1")
    await ledger.apply([ACCEPT, ASSIGN, End("b1", 1, Reason.USER_REQUESTED), forced], NOW + 5)
    entry = (await Views(redis, keys).story("b1"))[-1]
    assert entry == Entry(iso(NOW + 5), What.FORCED, vm_id="vm1", worker_id="w1", why="retire_overdue")
    assert "its worker w1 did not go: the agent of VM vm1 was ordered" in sentence(entry)
    await ledger.apply([replace(forced, served="forgotten")], NOW + 5)
    assert await redis.exists(keys.story("forgotten")) == 0


async def test_a_recording_is_told_of_once_when_it_begins_and_when_it_is_finished_after_the_bots_end(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    called = replace(ACCEPT, job=replace(JOB, callback_url="https://hooks.example/x"))
    began = BotRecorded("vm", "b1", 1, NOW + 1, kinds=("audio", "video"))
    gaps = (Gap(NOW + 2, NOW + 4.5, "agent_away"), Gap(NOW + 58, NOW + 60, "browser_gone", "video"))
    finished = replace(began, at=NOW + 90, finished=True, audio_s=60.5, gaps=2, first_gaps=gaps, video_s=60.4)
    first = [began, began, replace(began, attempt=2), replace(finished, bot_id="nobody")]
    await ledger.apply([called, ASSIGN, *map(NoteRecorded, first)], NOW)
    statuses = ("manifest_status", "audio_status", "video_status")
    assert await redis.hmget(keys.bot("b1"), *statuses) == [b"recording"] * 3
    await ledger.apply([End("b1", 1, Reason.EVERYONE_LEFT, at=NOW + 60)], NOW + 60)
    assert await redis.zscore(keys.recordings_due, "b1") == NOW + 60 + TAKEN_OVER_AFTER_S
    life_s = await redis.ttl(keys.bot("b1"))
    again = [finished, finished, began, replace(finished, audio_s=0.0)]
    await ledger.apply([*map(NoteRecorded, again)], NOW + 91)
    assert await redis.hmget(keys.bot("b1"), *statuses) == [b"completed", b"processed", b"processed"]
    assert 0 < await redis.ttl(keys.bot("b1")) <= life_s
    assert not await redis.exists(keys.bot("nobody"), keys.story("nobody"), keys.recordings_due)
    assert not await redis.exists(keys.recordings_expiring), "it is kept for as long as the store has it"
    story = [entry for entry in await Views(redis, keys).story("b1") if entry.what is What.RECORDED]
    assert story == [
        Entry(iso(NOW + 1), What.RECORDED, 1),
        Entry(iso(NOW + 90), What.RECORDED, 1, audio_s=60.5, gaps=2, first_gaps=gaps, video_s=60.4),
    ]
    since = [f"{datetime.fromtimestamp(gap.began_at, UTC):%H:%M:%S}" for gap in gaps]
    assert [sentence(entry) for entry in story] == [
        "its meeting is being recorded",
        "its recording is finished: 1m 00s of sound and 1m 00s of picture, 2 gaps: "
        f"no sound from {since[0]} for 2.50 s (agent_away); no picture from {since[1]} for 2.00 s (browser_gone)",
    ]
    of_many = sentence(replace(story[1], gaps=7))
    assert of_many.endswith("for 2.00 s (browser_gone); and 5 more")
    assert sentence(replace(story[1], gaps=1, first_gaps=())).endswith(", 1 gap"), "of an older agent"
    told = [fields for _, fields in await redis.xrange(keys.outbox)]
    of_recording = [[one[name].decode() for name in _TOLD] for one in told if b"recorded" in one]
    assert of_recording == [
        ["recording", "recording", "recording", "", "assigned", iso(NOW + 1)],
        ["completed", "processed", "processed", "recording", "stopped", iso(NOW + 90)],
    ]
    assert [one.get(b"manifest") for one in told if one[b"state"] == b"stopped"] == [b"recording", None]


_TOLD: Final = (b"recorded", b"audio", b"video", b"before", b"state", b"at")


async def test_a_transcript_is_told_of_once_when_it_is_there_and_not_while_it_is_made(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    called = replace(ACCEPT, job=replace(JOB, callback_url="https://hooks.example/x"))
    begun = BotTranscribed("vm", "b1", 1, NOW + 1)
    finished = BotTranscribed("vm", "b1", 1, NOW + 90, finished=True, utterances=3)
    await ledger.apply([called, ASSIGN, NoteRecorded(begun), NoteRecorded(replace(finished, attempt=2))], NOW)
    assert await redis.hget(keys.bot("b1"), "transcript_status") == b"processing"
    await ledger.apply([End("b1", 1, Reason.EVERYONE_LEFT, at=NOW + 60)], NOW + 60)
    again = [finished, finished, begun, replace(finished, utterances=0)]
    await ledger.apply([*map(NoteRecorded, again)], NOW + 91)
    assert await redis.hget(keys.bot("b1"), "transcript_status") == b"processed"
    story = [entry for entry in await Views(redis, keys).story("b1") if entry.what is What.TRANSCRIBED]
    assert [sentence(entry) for entry in story] == [
        "what is said is being written down",
        "its transcript is finished: 3 utterances",
    ]
    told = [fields for _, fields in await redis.xrange(keys.outbox) if b"transcribed" in fields]
    assert [one[b"transcribed"] for one in told] == [b"processing", b"processed"]


async def test_of_a_meeting_in_which_nothing_was_said_there_is_no_transcript(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([ACCEPT, ASSIGN, NoteRecorded(BotTranscribed("vm", "b1", 1, NOW, finished=True))], NOW)
    assert await redis.hget(keys.bot("b1"), "transcript_status") == b"skipped"
    assert sentence((await Views(redis, keys).story("b1"))[-1]) == "nothing was written down"


async def test_how_a_live_feed_fares_is_told_of_the_attempt_that_counts_also_after_its_end(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    feed, status = Feed.TRANSCRIPTION, FeedStatus.WAITING
    waits = BotStreamed("vm", "b1", 1, NOW + 1, feed, status, "timeout")
    taken = replace(waits, status=FeedStatus.CONNECTED, detail="", taken=True)
    await ledger.apply([ACCEPT, ASSIGN, NoteRecorded(waits), NoteRecorded(replace(waits, attempt=2))], NOW)
    record = await redis.hgetall(keys.bot("b1"))
    assert record[b"live_transcription_status"] == b"waiting"
    assert record[b"transcript_webhook_received"] == b"0"
    ended = BotStreamed("vm", "b1", 1, NOW + 70, Feed.AUDIO, FeedStatus.ENDED, sent=70, dropped=3, taken=True)
    apart = [NoteRecorded(taken), End("b1", 1, Reason.EVERYONE_LEFT, at=NOW + 60), NoteRecorded(ended)]
    await ledger.apply(apart, NOW + 70)
    record = await redis.hgetall(keys.bot("b1"))
    assert record[b"live_transcription_status"] == b"connected"
    assert record[b"transcript_webhook_received"] == b"1"
    assert record[b"live_audio_status"] == b"ended"
    assert record[b"audio_webhook_received"] == b"0"
    story = [entry for entry in await Views(redis, keys).story("b1") if entry.what is What.STREAMED]
    assert [sentence(entry) for entry in story] == [
        "what is said, live: its receiver does not take it; it is tried again (timeout)",
        "what is said, live: its receiver takes it",
        "its live sound: ended: 70 sent, 3 dropped",
    ]


async def test_nobody_is_called_of_a_recording_that_is_empty_and_has_nobody_to_call(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([ACCEPT, ASSIGN, NoteRecorded(BotRecorded("vm", "b1", 1, NOW, finished=True))], NOW)
    assert await redis.hmget(keys.bot("b1"), "audio_status", "video_status") == [b"skipped", b""]
    assert await redis.exists(keys.outbox) == 0
    assert sentence((await Views(redis, keys).story("b1"))[-1]).endswith("0 ms of sound, no gap")


async def test_the_record_names_the_screen_that_shows_and_not_only_that_of_a_change_of_state(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([ACCEPT, ASSIGN, Move("b1", 1, BotState.JOINING, NOW + 1, "loading"), seen("captcha")], NOW)
    assert await redis.hmget(keys.bot("b1"), "screen", "rule") == [b"captcha", b"a-rule"]


async def test_a_scheduled_bot_has_its_story_too(redis: Any, keys: Keys, ledger: Ledger) -> None:
    scheduled = replace(ACCEPT, job=replace(JOB, join_at=NOW + 100), state=BotState.SCHEDULED)
    await ledger.apply([scheduled, Reschedule("b1", NOW + 50), Enqueue("b1", 0)], NOW)
    assert await Views(redis, keys).story("b1") == [
        Entry(iso(NOW), What.ACCEPTED, state="scheduled", platform="room", join_at=iso(NOW + 100)),
        Entry(iso(NOW), What.RESCHEDULED, join_at=iso(NOW + 50)),
        Entry(iso(NOW), What.QUEUED),
    ]


async def test_a_long_story_loses_its_middle_and_says_so(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([ACCEPT, ASSIGN, *(seen(f"s{number}") for number in range(400))], NOW)
    story = await Views(redis, keys).story("b1")
    assert len(story) == 300
    screens = [entry.screen for entry in story if entry.what is not What.CUT]
    assert screens == ["", "", *(f"s{number}" for number in [*range(48), *range(151, 400)])]
    assert [number for number, entry in enumerate(story) if entry.what is What.CUT] == [50]


STALE: list[Decision] = [
    Note(BotSaw("vm", "w", "b1", 2, NOW, "in_meeting", "", ""), "room"),
    NoteFailed("b1", 2, Reason.BROWSER_CRASHED, "", "b1-2"),
    Note(BotSaw("vm", "w", "nobody", 1, NOW, "in_meeting", "", ""), "room"),
]


@pytest.mark.parametrize("stale", STALE, ids=["seen", "failed", "nobody"])
async def test_news_of_an_attempt_that_does_not_count_is_not_told(
    redis: Any, keys: Keys, ledger: Ledger, stale: Decision
) -> None:
    await ledger.apply([ACCEPT, ASSIGN], NOW)
    before = await redis.lrange(keys.story("b1"), 0, -1)
    await ledger.apply([stale], NOW)
    assert await redis.lrange(keys.story("b1"), 0, -1) == before
    assert await redis.hget(keys.bot("b1"), "evidence") is None


async def test_what_a_newer_release_told_is_left_out(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([ACCEPT], NOW)
    await redis.rpush(keys.story("b1"), '{"at":"","what":"danced"}', "no JSON")
    assert [entry.what for entry in await Views(redis, keys).story("b1")] == [What.ACCEPTED]
