"""A bot's history: what happened to it, in order, in the key `bot:{bot_id}:story`, for `poolmgr explain`.

The script that makes a change also writes the entry about it. No entry contains names or messages of people.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from common.jobs.record import iso
from common.wire.manifest import Gap
from common.wire.messages import BotRecorded, BotSaw, BotStreamed, BotTranscribed
from poolmgr.core.decisions import (
    Accept,
    Ask,
    Assign,
    End,
    EndByForce,
    Enqueue,
    Move,
    NoteFailed,
    Reschedule,
    Retire,
)
from poolmgr.store.keys import Keys

UNMADE: Final = "unmade"
UNMADE_THERE: Final = "unmade_there"
EXPIRED: Final = "expired"
TAKEN_OVER: Final = "taken_over"


class What(StrEnum):
    ACCEPTED = "accepted"
    RESCHEDULED = "rescheduled"
    QUEUED = "queued"
    ASSIGNED = "assigned"
    MOVED = "moved"
    SAW = "saw"
    ASKED_TO_LEAVE = "asked_to_leave"
    FORCED = "forced"
    RECORDED = "recorded"
    STREAMED = "streamed"
    TRANSCRIBED = "transcribed"
    FAILED = "failed"
    ENDED = "ended"
    CUT = "cut"


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry. `at`: ISO 8601, by the clock of the program that saw it. `warm`, `waited_s`: as in Assign. `audio_s`,
    `video_s`, `gaps`, `first_gaps`: of a finished recording. `feed`, `sent`, `dropped`: of a live feed; its status is
    the reason. `utterances`: of a finished transcript. `by`: the provider that made it.
    """

    at: str
    what: What
    attempt: int = 0
    state: str = ""
    platform: str = ""
    join_at: str = ""
    vm_id: str = ""
    worker_id: str = ""
    warm: bool = False
    waited_s: float = 0.0
    screen: str = ""
    rule: str = ""
    did: str = ""
    why: str = ""
    reason: str = ""
    detail: str = ""
    attribution: str = ""
    evidence: str = ""
    audio_s: float | None = None
    gaps: int = 0
    utterances: int | None = None
    feed: str = ""
    sent: int = 0
    dropped: int = 0
    video_s: float = 0.0
    by: str = ""
    first_gaps: tuple[Gap, ...] = ()


_ByAgent = BotSaw | BotRecorded | BotStreamed | BotTranscribed
_Source = Accept | Assign | Reschedule | Move | _ByAgent | Ask | EndByForce | Retire | Enqueue | NoteFailed | End


def entry_of(decision: _Source, at: float) -> bytes:
    """The entry for a decision, as JSON. `at`: wall clock, epoch seconds."""
    return msgspec.json.encode(_entry(decision, iso(at)))


def of_recording(attempt: int, at: float, why: str, vm_id: str = "") -> bytes:
    """The entry about a recording that the manager writes itself: its files did not come, or are to be made by the VM
    `vm_id`, or it was deleted. `why`: a word.
    """
    return msgspec.json.encode(Entry(iso(at), What.RECORDED, attempt, vm_id=vm_id, why=why))


def of_minutes(attempt: int, at: float, why: str, vm_id: str = "") -> bytes:
    """The entry about a transcript that no agent has made of what was said: it is to be made by the VM `vm_id`, or is
    given up. `why`: a word.
    """
    return msgspec.json.encode(Entry(iso(at), What.TRANSCRIBED, attempt, vm_id=vm_id, why=why))


def of_transcription(attempt: int, at: float, by: str, utterances: int | None = None, why: str = "") -> bytes:
    """The entry about a transcript that is made of a recording: it is asked for, it is there, or why there is none."""
    return msgspec.json.encode(Entry(iso(at), What.TRANSCRIBED, attempt, utterances=utterances, by=by, why=why))


def _entry(decision: _Source, now: str) -> Entry:
    match decision:
        case Accept(job=job, state=state):
            join_at = iso(job.join_at) if job.join_at else ""
            return Entry(iso(decision.at), What.ACCEPTED, state=state, platform=job.platform, join_at=join_at)
        case Assign(join=join, vm_id=vm_id, warm=warm, waited_s=waited_s):
            waited_s, worker_id = round(waited_s, 3), join.worker_id
            return Entry(
                now, What.ASSIGNED, join.attempt, vm_id=vm_id, worker_id=worker_id, warm=warm, waited_s=waited_s
            )
        case Reschedule(join_at=join_at):
            return Entry(now, What.RESCHEDULED, join_at=iso(join_at))
        case Move(attempt=attempt, state=state, screen=screen, rule=rule):
            return Entry(iso(decision.at), What.MOVED, attempt, state=state, screen=screen, rule=rule)
        case BotSaw() | BotRecorded() | BotStreamed() | BotTranscribed():
            return _by_agent(decision)
        case Ask(attempt=attempt, reason=reason):
            return Entry(now, What.ASKED_TO_LEAVE, attempt, reason=reason)
        case EndByForce(attempt=attempt, vm_id=vm_id, worker_id=worker_id):
            return Entry(now, What.FORCED, attempt, vm_id=vm_id, worker_id=worker_id)
        case Retire(vm_id=vm_id, worker_id=worker_id, why=why):
            return Entry(now, What.FORCED, vm_id=vm_id, worker_id=worker_id, why=why)
        case Enqueue(attempt=attempt, why=why):
            return Entry(now, What.QUEUED, attempt, why=why or "")
        case NoteFailed(attempt=attempt, reason=reason, evidence=evidence):
            return Entry(now, What.FAILED, attempt, reason=reason, detail=decision.detail[:500], evidence=evidence)
        case _:  # End
            return Entry(
                iso(decision.at) if decision.at else now,
                What.ENDED,
                decision.attempt,
                reason=decision.reason,
                detail=decision.detail[:500],
                attribution=decision.reason.end.attribution,
                evidence=decision.evidence,
            )


def _by_agent(event: _ByAgent) -> Entry:
    at, attempt = iso(event.at), event.attempt
    match event:
        case BotSaw(screen=screen, rule=rule, did=did):
            return Entry(at, What.SAW, attempt, screen=screen, rule=rule, did=did)
        case BotRecorded(finished=finished, gaps=gaps, video_s=video_s):
            if event.unmade:
                return Entry(at, What.RECORDED, attempt, vm_id=event.vm_id, why=UNMADE_THERE, detail=event.unmade[:500])
            audio_s = event.audio_s if finished else None
            made = Entry(at, What.RECORDED, attempt, audio_s=audio_s, gaps=gaps, video_s=video_s)
            return msgspec.structs.replace(made, first_gaps=event.first_gaps)
        case BotTranscribed(finished=finished, utterances=utterances, by=by):
            return Entry(at, What.TRANSCRIBED, attempt, utterances=utterances if finished else None, by=by)
        case _:  # BotStreamed
            told = Entry(at, What.STREAMED, attempt, reason=event.status, detail=event.detail[:500], feed=event.feed)
            return msgspec.structs.replace(told, sent=event.sent, dropped=event.dropped)


async def read(redis: Any, keys: Keys, bot_id: str, after: int = 0) -> list[Entry]:
    """The bot's entries after the first `after` ones. An entry that this release cannot read is left out."""
    return decoded(await redis.lrange(keys.story(bot_id), after, -1))


def decoded(raws: Sequence[bytes]) -> list[Entry]:
    """The entries, without those that this release cannot read."""
    entries: list[Entry] = []
    for raw in raws:
        try:
            entries.append(msgspec.json.decode(raw, type=Entry))
        except msgspec.DecodeError:
            continue
    return entries
