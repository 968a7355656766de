"""The fields of the session record that each decision writes, and the bot in a record."""

from collections.abc import Mapping
from typing import Final

import msgspec

from common.jobs.record import Fields, Record, epoch, iso
from common.wire import codec, messages
from common.wire.messages import BotSaw, BotStreamed, BotTranscribed, BotVitals
from common.wire.vocabulary import BotState, Feed, Reason, WorkerState, outward_status
from poolmgr.core.decisions import (
    Accept,
    Assign,
    End,
    Enqueue,
    KeepVm,
    KeepWorker,
    Move,
    Remember,
    Retire,
    Warm,
)
from poolmgr.core.model import Bot, Joins, Vm, Worker, labels_of
from poolmgr.store import answers
from poolmgr.store.answers import WorkerRecord

TIME_FIELD: Final = {
    BotState.ASSIGNED: "assigned_at",
    BotState.JOINING: "joining_at",
    BotState.WAITING_ROOM: "waiting_room_at",
    BotState.IN_MEETING: "inmeeting_at",
    BotState.LEAVING: "leaving_at",
    BotState.STOPPED: "stopped_at",
}
"""For each state, the record's field with the time when the bot came to it."""
_CLEARED_WITH_ATTEMPT: Final = (
    "assigned_at", "joining_at", "waiting_room_at", "first_request_at", "claimed", "claimed_at", "screen", "rule",
)  # fmt: skip


def accepted(decision: Accept) -> Fields:
    """The fields of a new record that say something. STANDING has the others that are in it."""
    return {
        **decision.job.to_hash(),
        "bot_id": decision.bot_id,
        "state": decision.state,
        "status": outward_status(decision.state),
        "status_reason": Reason.REQUIREMENT_UNMET if decision.unmet else "",
        "created_at": iso(decision.at),
        "seq": decision.seq,
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


def seen(event: BotSaw, status: str = "") -> Fields:
    changed: Fields = {"status": status} if status else {}
    return {"screen": event.screen, "rule": event.rule, **changed}


def vitals(event: BotVitals) -> Fields:
    level = event.audio_level
    return {
        "participants": "" if event.participants is None else event.participants,
        "audio_packets_received": event.audio_packets,
        "audio_level": "" if level is None else f"{level:g}",
        "active_speaker": event.speaker,
    }


def remembered(decision: Remember) -> Fields:
    return {"failure": decision.reason, "failure_detail": decision.detail[:500]}


def enqueued(decision: Enqueue) -> Fields:
    return {
        "state": BotState.QUEUED,
        "status": outward_status(BotState.QUEUED),
        "status_reason": Reason.REQUIREMENT_UNMET if decision.unmet else decision.why or "",
        "vm_id": "",
        "worker_id": "",
        **dict.fromkeys(_CLEARED_WITH_ATTEMPT, ""),
        "failed_attempts": decision.failed,
        "participants": "",
        "audio_packets_received": 0,
        "audio_level": "",
        "active_speaker": "",
        "permission_reports": 0,
    }


def ended(decision: End, at: float) -> Fields:
    end = decision.reason.end
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


def vm_kept(decision: KeepVm, at: float) -> Fields:
    return {
        "session": decision.session,
        "draining": int(decision.draining),
        "lost": int(decision.lost),
        "stopping": int(decision.stopping),
        "resting": int(decision.resting),
        "processors": f"{decision.processors:g}",
        "labels": msgspec.json.encode(decision.labels).decode(),
        "canary": int(decision.canary),
        "joins_ok": decision.joins_ok,
        "joins_failed": decision.joins_failed,
        "out": decision.out,
        "makes_displays": int(decision.makes_displays),
        "at": iso(at),
    }


def vm_from(vm_id: str, fields: Mapping[str, str]) -> Vm:
    """The VM in a record, for the next leader, without its workers."""
    draining, stopping, shunned = (fields.get(name) == "1" for name in ("draining", "stopping", "resting"))
    vm = Vm(vm_id, fields.get("session", ""), 0.0, draining=draining, stopping=stopping, shunned=shunned)
    vm.processors = answers.number(fields.get("processors", ""))
    vm.labels = labels_of(answers.labels(fields.get("labels", "")))
    vm.canary, vm.out = fields.get("canary") == "1", fields.get("out", "")
    vm.makes_displays = fields.get("makes_displays") == "1"
    ok, failed = (answers.number(fields.get(name, "")) for name in ("joins_ok", "joins_failed"))
    vm.joins = Joins(int(ok), int(failed))
    return vm


def bot_from(fields: Mapping[str, str]) -> Bot:
    """The live bot in a record, for the next leader. Raises: ValueError for an unreadable record."""
    record = Record.from_hash(fields, strict=True)
    return Bot(
        bot_id=record.bot_id,
        job=record.job,
        seq=record.seq,
        created_at=epoch(record.created_at),
        state=BotState(record.state),
        attempt=record.attempt,
        failed=record.failed_attempts,
        failure=Reason(record.failure) if record.failure else None,
        failure_detail=record.failure_detail,
        vm_id=record.vm_id,
        worker_id=record.worker_id,
        leave_requested=record.leave_requested,
        paused=record.paused,
    )


SAID_BEFORE: Final = {
    "recording": ("",),
    "skipped": ("", "recording"),
    "completed": ("", "recording", "skipped"),
}
"""For each `manifest_status`: the earlier ones that it may follow. After any other it is too late and is ignored."""


def transcript_status(event: BotTranscribed) -> str:
    if not event.finished:
        return "processing"
    return "processed" if event.utterances else "skipped"


def streamed(event: BotStreamed) -> Fields:
    return {f"{event.feed}_status": event.status}


def taken_by_receiver(event: BotStreamed) -> str:
    """The field that says so, once a receiver has taken something of this feed; else empty."""
    return "transcript_webhook_received" if event.taken and event.feed is Feed.TRANSCRIPTION else ""


def worker_record(decision: KeepWorker | Warm | Retire | Assign, at: float) -> bytes:
    match decision:
        case KeepWorker():
            d = decision
            record = WorkerRecord(d.state, d.since, d.born, d.bot_id, d.kind, d.display)
        case Warm():
            record = WorkerRecord(WorkerState.WARMING, decision.since, decision.since, display=decision.display)
        case Retire():
            record = WorkerRecord(WorkerState.RETIRING, decision.since)
        case _:  # Assign
            bot = (decision.join.bot_id, decision.kind)
            record = WorkerRecord(WorkerState.BUSY, at, decision.born, *bot, decision.display)
    return msgspec.json.encode(record)


def order_of(decision: Assign | Warm | Retire, at: float) -> tuple[str, bytes, bytes]:
    """The worker, its new record, and the message that orders its agent to do something."""
    match decision:
        case Warm(worker_id=worker_id):
            message = messages.Warm(worker_id, decision.display)
        case Assign(join=message):
            pass
        case _:  # Retire
            message = messages.Retire(decision.worker_id, decision.by_force)
    return message.worker_id, worker_record(decision, at), codec.encode(message)


def worker_from(vm_id: str, worker_id: str, raw: bytes) -> Worker:
    record = answers.worker_record(raw)
    times = (record.since, record.born or record.since)
    return Worker(worker_id, vm_id, record.state, *times, record.bot_id, display=record.display)
