"""The session record: a bot as the fields of its hash, and back. Field names are those other programs read."""

from collections.abc import Mapping
from typing import Final

import msgspec

from common.wire.messages import AutomaticLeave
from common.wire.vocabulary import ENDS, BotState, OnWorkerLost, Reason, WorkerState, outward_status
from poolmgr.core.decisions import (
    Accept,
    Assign,
    End,
    Enqueue,
    KeepWorker,
    Move,
    NoteSeen,
    NoteVitals,
    Remember,
    Retire,
    Warm,
)
from poolmgr.core.job import Job
from poolmgr.core.model import Bot, Worker
from poolmgr.store import answers
from poolmgr.store.answers import WorkerRecord, epoch, iso

Fields = dict[str, str | int]

TIME_FIELD: Final = {
    BotState.ASSIGNED: "assigned_at",
    BotState.JOINING: "joining_at",
    BotState.WAITING_ROOM: "waiting_room_at",
    BotState.IN_MEETING: "inmeeting_at",
    BotState.LEAVING: "leaving_at",
    BotState.STOPPED: "stopped_at",
}
"""Where a record says since when the bot is in that state."""
_CLEARED_WITH_ATTEMPT: Final = (
    "assigned_at", "joining_at", "waiting_room_at", "first_request_at", "claimed", "claimed_at", "screen", "rule",
)  # fmt: skip

BLANK: Final[Fields] = {
    **dict.fromkeys(
        (
            "user_id", "calendar_event_id", "status_reason", "reason_detail", "attribution", "join_at", "assigned_at",
            "first_request_at", "joining_at", "waiting_room_at", "inmeeting_at", "leaving_at", "stopped_at", "vm_id",
            "worker_id", "deduplication_key", "on_worker_lost", "callback_url", "owner", "queue_timeout", "bot_message",
            "join_late_limit", "evidence", "passcode", "audio_level", "active_speaker", "failure", "failure_detail",
            "held_meeting",
        ),
        "",
    ),
    **dict.fromkeys(
        (
            "attempt", "priority", "participants", "audio_packets_received", "transcript_webhook_received",
            "audio_webhook_received", "leave_requested", "failed_attempts", "probe",
        ),
        0,
    ),
    "automatic_leave": "{}",
    "custom_attributes": "{}",
    "warnings": "[]",
}  # fmt: skip
"""What a record holds that says nothing yet. Redis knows it by heart (scripts.py), so only what differs is sent."""


def accepted(decision: Accept) -> Fields:
    """The whole record as it begins. Every field that other programs read is there from the start."""
    job = decision.job
    return {
        "bot_id": decision.bot_id,
        "meeting_url": job.meeting_url,
        "platform": job.platform,
        "bot_name": job.bot_name,
        "user_id": job.user_id,
        "calendar_event_id": job.calendar_event_id,
        "state": decision.state,
        "status": outward_status(decision.state),
        "status_reason": "",
        "reason_detail": "",
        "attribution": "",
        "created_at": iso(decision.at),
        "join_at": iso(job.join_at) if job.join_at else "",
        "assigned_at": "",
        "first_request_at": "",
        "joining_at": "",
        "waiting_room_at": "",
        "inmeeting_at": "",
        "leaving_at": "",
        "stopped_at": "",
        "vm_id": "",
        "worker_id": "",
        "attempt": 0,
        "priority": job.priority,
        "deduplication_key": job.deduplication_key,
        "held_meeting": job.held_meeting,
        "automatic_leave": msgspec.json.encode(job.automatic_leave).decode(),
        "on_worker_lost": job.on_worker_lost or "",
        "callback_url": job.callback_url,
        "custom_attributes": job.custom_attributes,
        "warnings": msgspec.json.encode(job.warnings).decode(),
        "owner": job.owner,
        "queue_timeout": "" if job.queue_timeout_s is None else f"{job.queue_timeout_s:g}",
        "join_late_limit": "" if job.join_late_limit_s is None else f"{job.join_late_limit_s:g}",
        "bot_message": job.bot_message,
        "passcode": job.passcode,
        "probe": int(job.is_probe),
        "participants": 0,
        "audio_packets_received": 0,
        "audio_level": "",
        "active_speaker": "",
        "failure": "",
        "failure_detail": "",
        "transcript_webhook_received": 0,
        "audio_webhook_received": 0,
        "leave_requested": 0,
        "failed_attempts": 0,
        "evidence": "",
        "seq": decision.seq,
        "payload": job.payload,
    }


def assigned(decision: Assign, at: float) -> Fields:
    return {
        "state": BotState.ASSIGNED,
        "status": outward_status(BotState.ASSIGNED),
        "status_reason": "",
        "attempt": decision.join.attempt,
        "vm_id": decision.vm_id,
        "worker_id": decision.join.worker_id,
        "assigned_at": iso(at),
    }


def filled_in(fields: Fields) -> Fields:
    """Those of `fields` that are not BLANK."""
    return {name: value for name, value in fields.items() if BLANK.get(name) != value}


def moved(decision: Move) -> Fields:
    fields: Fields = {
        "state": decision.state,
        "status": outward_status(decision.state),
        TIME_FIELD[decision.state]: iso(decision.at),
        "screen": decision.screen,
        "rule": decision.rule,
    }
    if decision.first_request_at:
        fields["first_request_at"] = iso(decision.first_request_at)
    return fields


def seen(decision: NoteSeen) -> Fields:
    return {"screen": decision.screen, "rule": decision.rule}


def vitals(decision: NoteVitals) -> Fields:
    level = decision.audio_level
    return {
        "participants": decision.participants,
        "audio_packets_received": decision.audio_packets,
        "audio_level": "" if level is None else f"{level:g}",
        "active_speaker": decision.speaker,
    }


def remembered(decision: Remember) -> Fields:
    return {"failure": decision.reason, "failure_detail": decision.detail[:500]}


def enqueued(decision: Enqueue) -> Fields:
    return {
        "state": BotState.QUEUED,
        "status": outward_status(BotState.QUEUED),
        "status_reason": decision.why or "",
        "vm_id": "",
        "worker_id": "",
        **dict.fromkeys(_CLEARED_WITH_ATTEMPT, ""),
        "failed_attempts": decision.failed,
        "participants": 0,
        "audio_packets_received": 0,
        "audio_level": "",
        "active_speaker": "",
    }


def ended(decision: End, at: float) -> Fields:
    end = ENDS[decision.reason]
    fields: Fields = {
        "state": BotState.STOPPED,
        "status": end.status,
        "status_reason": decision.reason,
        "reason_detail": decision.detail[:500],
        "attribution": end.attribution,
        "stopped_at": iso(decision.at or at),
    }
    if decision.audio_packets:
        fields["audio_packets_received"] = decision.audio_packets
    return fields


def bot_from(fields: Mapping[str, str]) -> Bot:
    """A live bot as the next leader takes it over. Raises: KeyError, ValueError for a record that is not ours."""
    job = Job(
        platform=fields["platform"],
        meeting_url=fields["meeting_url"],
        bot_name=fields["bot_name"],
        payload=fields["payload"],
        bot_id=fields["bot_id"],
        user_id=fields["user_id"],
        calendar_event_id=fields["calendar_event_id"],
        join_at=epoch(fields["join_at"]) if fields["join_at"] else None,
        priority=int(fields["priority"]),
        deduplication_key=fields["deduplication_key"],
        automatic_leave=msgspec.json.decode(fields["automatic_leave"], type=AutomaticLeave),
        on_worker_lost=OnWorkerLost(word) if (word := fields.get("on_worker_lost")) else None,
        callback_url=fields.get("callback_url", ""),
        custom_attributes=fields.get("custom_attributes", "{}"),
        owner=fields.get("owner", ""),
        queue_timeout_s=float(text) if (text := fields.get("queue_timeout")) else None,
        join_late_limit_s=float(text) if (text := fields.get("join_late_limit")) else None,
        bot_message=fields.get("bot_message", ""),
        passcode=fields.get("passcode", ""),
        is_probe=fields.get("probe") == "1",
        warnings=msgspec.json.decode(fields.get("warnings", "[]"), type=tuple[str, ...]),
        held_meeting=fields.get("held_meeting", ""),
    )
    return Bot(
        bot_id=fields["bot_id"],
        job=job,
        seq=int(fields["seq"]),
        created_at=epoch(fields["created_at"]),
        state=BotState(fields["state"]),
        attempt=int(fields["attempt"]),
        failed=int(fields.get("failed_attempts", "0")),
        failure=Reason(word) if (word := fields.get("failure")) else None,
        failure_detail=fields.get("failure_detail", ""),
        vm_id=fields["vm_id"],
        worker_id=fields["worker_id"],
        leave_requested=fields["leave_requested"] == "1",
    )


def worker_record(decision: KeepWorker | Warm | Retire | Assign, at: float) -> bytes:
    match decision:
        case KeepWorker():
            record = WorkerRecord(decision.state, decision.since, decision.born, decision.bot_id)
        case Warm():
            record = WorkerRecord(WorkerState.WARMING, decision.since, decision.since)
        case Retire():
            record = WorkerRecord(WorkerState.RETIRING, decision.since)
        case _:  # Assign
            record = WorkerRecord(WorkerState.BUSY, at, decision.born, decision.join.bot_id)
    return msgspec.json.encode(record)


def worker_from(vm_id: str, worker_id: str, raw: bytes) -> Worker:
    record = answers.worker_record(raw)
    return Worker(worker_id, vm_id, record.state, record.since, record.born or record.since, record.bot_id)
