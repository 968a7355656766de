"""Renders the webhooks of one status change from the bot's record, in order.

Pure, and the same on every call: if a manager dies between rendering and sending, the next one renders the same ids and
bodies.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from common.jobs.outgoing import Delivery
from common.jobs.record import Record, epoch
from common.links.redaction import redact
from common.wire.vocabulary import BotState, Reason

MOST_JOININGS: Final = 3
"""How many bot.joining events clients expect at most."""

_LINK: Final = re.compile(r"https?://[^\s\"'<>]+")

_EVENTS: Final = {
    BotState.SCHEDULED: ("bot.scheduled", "The bot is scheduled and will join at its time."),
    BotState.JOINING: ("bot.joining", "The bot is joining the meeting."),
    BotState.WAITING_ROOM: ("bot.in_waiting_room", "The bot is in the waiting room until somebody lets it in."),
    BotState.IN_MEETING: ("bot.inmeeting", "The bot is in the meeting."),
    BotState.LEAVING: ("bot.leaving", "The bot is leaving the meeting."),
}

_SKIPPED: Final = "Its meeting was not recorded."
_ARTEFACTS: Final = (
    ("manifest.skipped", "manifest_status", f"There is no manifest: {_SKIPPED}"),
    ("audio.skipped", "audio_status", f"There is no audio: {_SKIPPED}"),
    ("transcription.skipped", "transcript_status", f"There is no transcript: {_SKIPPED}"),
    ("video.skipped", "video_status", f"There is no video: {_SKIPPED}"),
)


class _Asked(msgspec.Struct):
    """The fields of a client's job that say what to record."""

    video_required: Any = False


def render(entry_id: str, change: Mapping[str, str], record: Record) -> list[Delivery]:
    """The webhooks of one entry of the outbox, in the order in which they are to arrive. There may be none.

    `change`: the entry's fields. `record`: the bot's current session record.
    Raises: ValueError (also UnicodeError and msgspec's) and KeyError for an unreadable entry.
    """
    url = record.callback_url
    if not url or _was_refused(change, record):
        return []
    state = BotState(change["state"])
    if recorded := change.get("recorded"):
        events = _recorded(recorded, change)
    elif transcribed := change.get("transcribed"):
        events = _transcribed(transcribed, change)
    elif state is BotState.STOPPED:
        events = _end(change, record)
    elif state not in _EVENTS or (state is BotState.JOINING and int(change["attempt"]) > MOST_JOININGS):
        return []
    else:
        name, message = _EVENTS[state]
        events = [_Event(name, name, change["status"], message, 200)]
    return [_delivery(entry_id, event, change, record, url) for event in events]


def deletion(record: Record, deleted_objects: int, at: str) -> Delivery:
    """The webhook for a bot whose data was deleted `at` (ISO 8601). It contains nothing of the deleted data."""
    bot_id, event = record.bot_id, "data_deletion"
    delivery_id = _id(bot_id, at, event)
    body = {
        "event": event,
        "bot_event": event,
        "bot_id": bot_id,
        "bot_status": record.status,
        "message": "The bot's data was deleted.",
        "status_code": 200,
        "timestamp": at,
        "id": delivery_id,
        "deleted_objects": deleted_objects,
    }
    return Delivery(delivery_id, bot_id, event, record.callback_url, _json(body), epoch(at))


class _Event(msgspec.Struct, frozen=True):
    name: str
    bot_event: str
    status: str
    message: str
    code: int
    more: dict[str, str] = {}


def _end(change: Mapping[str, str], record: Record) -> list[_Event]:
    reason = Reason(change["reason"])
    bot_event = reason.end.bot_event
    code = 200 if bot_event in ("bot.stopped", "bot.kicked") else 500
    status = change["status"]
    message = reason.end.sentence or f"The bot's session failed: {reason}."
    failed = bot_event == "bot.failed" and record.platform == "google_meet"  # as in MeetStream's API
    artefacts = _ARTEFACTS if _asked_for_video(record.payload) else _ARTEFACTS[:3]
    done = "All is done for this bot; nothing more will be said of it."
    if record.transcript_status:
        artefacts = tuple(one for one in artefacts if one[1] != "transcript_status")
        done = "All is done for this bot but its transcript, of which transcription.processed will tell."
    if record.audio_status:
        artefacts = artefacts[2:]
        done = "All is done for this bot but its recording, of which audio.processed will tell."
    return [
        _Event("bot.stopped", bot_event, status, message, code, {"failure_reason": reason} if failed else {}),
        *(_Event(name, name, status, text, 200, {field: "skipped"}) for name, field, text in artefacts),
        _Event("bot.done", "bot.done", "Done", done, code),
    ]


def _recorded(what: str, change: Mapping[str, str]) -> list[_Event]:
    """The webhooks of a recording, which come after the bot's end."""
    if what == "recording":
        return [_Event("bot.recording", "bot.recording", "Recording", "The meeting is being recorded.", 200)]
    status = change["status"]
    made = what == "processed"
    audio = (
        ("audio.processed", "The audio is there.") if made else ("audio.skipped", "There is no audio: none was heard.")
    )
    return [
        _Event(name, name, status, text, 200, {field: word, "status": "success"})
        for name, text, field, word in (
            ("manifest.completed", "The manifest is there.", "manifest_status", "completed"),
            (*audio, "audio_status", what),
        )
    ]


def _transcribed(what: str, change: Mapping[str, str]) -> list[_Event]:
    """Of a transcript, which goes its own way after the bot's end. That it is being made, nobody need know."""
    told = {
        "processed": ("transcription.processed", "The transcript is there."),
        "skipped": (
            "transcription.skipped",
            "There is no transcript: nothing was said, or the page wrote nothing down.",
        ),
    }
    if what not in told:
        return []
    name, text = told[what]
    return [_Event(name, name, change["status"], text, 200, {"transcript_status": what, "status": "success"})]


def _delivery(entry_id: str, event: _Event, change: Mapping[str, str], record: Record, url: str) -> Delivery:
    bot_id, at = change["bot_id"], change["at"]
    ended = change["state"] == BotState.STOPPED
    delivery_id = _id(bot_id, entry_id, event.name)
    body = {
        "event": event.name,
        "bot_event": event.bot_event,
        "bot_id": bot_id,
        "bot_status": event.status,
        "message": event.message,
        "status_code": event.code,
        "timestamp": at,
        "custom_attributes": msgspec.Raw(record.custom_attributes.encode()),
        "id": delivery_id,
        "reason": change["reason"],
        "reason_detail": _LINK.sub(lambda link: redact(link[0]), record.reason_detail) if ended else "",
        "attribution": record.attribution if ended else "",
        "user_id": record.user_id,
        "calendar_event_id": record.calendar_event_id,
        "attempt": int(change["attempt"]),
        **event.more,
    }
    return Delivery(delivery_id, bot_id, event.name, url, _json(body), epoch(at))


def _was_refused(change: Mapping[str, str], record: Record) -> bool:
    """Whether the bot ended because its job did not let it wait: its creator got that answer already."""
    return (
        change["reason"] == str(Reason.NO_CAPACITY)
        and change["state"] == BotState.STOPPED
        and change["attempt"] == "0"
        and record.join_at is None
        and record.queue_timeout_s == 0
    )


def _asked_for_video(payload: str) -> bool:
    try:
        return msgspec.json.decode(payload, type=_Asked).video_required is True
    except (msgspec.DecodeError, RecursionError):
        return False


def _id(bot_id: str, entry_id: str, event: str) -> str:
    return f"evt_{hashlib.sha256(chr(0).join((bot_id, entry_id, event)).encode()).hexdigest()[:40]}"


def _json(body: dict[str, Any]) -> str:
    return msgspec.json.encode(body).decode()
