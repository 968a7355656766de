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
from common.wire.minutes import transcript_id
from common.wire.vocabulary import UNSERVED, BotState, Reason

MOST_JOININGS: Final = 3
"""How many bot.joining events clients expect at most."""

UNSAID: Final = "unsaid"
"""The `done` of an entry about a bot that a release before has ended. An entry of that release has none."""

_LINK: Final = re.compile(r"https?://[^\s\"'<>]+")

_EVENTS: Final = {
    BotState.SCHEDULED: ("bot.scheduled", "The bot is scheduled and will join at its time."),
    BotState.JOINING: ("bot.joining", "The bot is joining the meeting."),
    BotState.WAITING_ROOM: ("bot.in_waiting_room", "The bot is in the waiting room until somebody lets it in."),
    BotState.IN_MEETING: ("bot.inmeeting", "The bot is in the meeting."),
    BotState.LEAVING: ("bot.leaving", "The bot is leaving the meeting."),
}

_UNRECORDED: Final = "its meeting was not recorded"
_UNMADE: Final = "nobody has made files of its recording in time"
_DONE: Final = "All is done for this bot. What of its meeting should still come is told of, too."
_DELETED: Final = "All is done for this bot: it is deleted."


def render(entry_id: str, change: Mapping[str, str], record: Record) -> list[Delivery]:
    """The webhooks of one entry of the outbox, in the order in which they are to arrive. There may be none. The last is
    bot.done if with this entry all is done for the bot (`done`: `1`, empty, or UNSAID).

    `change`: the entry's fields. `record`: the bot's current session record.
    Raises: ValueError (also UnicodeError and msgspec's) and KeyError for an unreadable entry.
    """
    url = change.get("callback") or record.callback_url
    if not url or _was_refused(change, record):
        return []
    state = BotState(change["state"])
    if recorded := change.get("recorded"):
        events = _recorded(recorded, change, record)
    elif permission := change.get("permission"):
        events = [_permission(permission, change["status"])]
    elif transcribed := change.get("transcribed"):
        events = _transcribed(transcribed, change)
    elif state is BotState.STOPPED:
        events = _end(change, record)
    elif state not in _EVENTS or (state is BotState.JOINING and int(change["attempt"]) > MOST_JOININGS):
        return []
    else:
        name, message = _EVENTS[state]
        events = [_Event(name, name, change["status"], message, 200)]
    done = change.get("done", UNSAID)
    if done == "1" or (done == UNSAID and _was_done_with(change, state)):
        events.append(_done(Reason(change["reason"]), record))
    return [_delivery(entry_id, event, change, record, url) for event in events]


def _was_done_with(change: Mapping[str, str], state: BotState) -> bool:
    """Whether all was done with such an entry for a release that told bot.done before any transcript: with the end, or
    with the files of what was being recorded then.
    """
    if state is not BotState.STOPPED or "transcribed" in change or "permission" in change:
        return False
    if recorded := change.get("recorded"):
        return recorded != "recording" and change["before"] != "skipped"
    return change.get("manifest") != "recording"


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
    return Delivery(delivery_id, bot_id, event, record.callback_url, _json(body), epoch(at), record.traceparent)


def done_by_deletion(record: Record, at: str) -> Delivery:
    """The bot.done of an ended bot that is deleted `at` (ISO 8601), while something of its meeting is waited for."""
    event = msgspec.structs.replace(_done(Reason(record.status_reason), record), message=_DELETED)
    return _delivery(at, event, _change_of(record, at), record, record.callback_url)


def untranscribed_by_deletion(record: Record, number: int, url: str, at: str) -> Delivery:
    """The transcription.skipped for `url`, the receiver of the transcript with that number, which is being made when
    its bot is deleted `at` (ISO 8601).
    """
    told = {"status": record.status, "number": str(number), "callback": url, "why": "the bot was deleted"}
    change = {**_change_of(record, at), **told}
    [event] = _transcribed("skipped", change)
    return _delivery(f"{at}~{number}", event, change, record, url)


def _change_of(record: Record, at: str) -> dict[str, str]:
    """What an entry of the outbox would say of an ended bot."""
    return {
        "bot_id": record.bot_id,
        "state": BotState.STOPPED,
        "reason": record.status_reason,
        "attempt": str(record.attempt),
        "at": at,
    }


class _Event(msgspec.Struct, frozen=True):
    name: str
    bot_event: str
    status: str
    message: str
    code: int
    more: dict[str, str] = {}


def _end(change: Mapping[str, str], record: Record) -> list[_Event]:
    """The webhooks of a bot's end, but for bot.done. If the bot is being recorded, the others follow when the files are
    made (`_recorded`).
    """
    reason = Reason(change["reason"])
    bot_event = reason.end.bot_event
    failed = bot_event == "bot.failed" and record.platform == "google_meet"  # as clients of MeetStream know it
    more = {"failure_reason": str(reason)} if failed else {}
    message = reason.end.sentence or f"The bot's session failed: {reason}."
    stop = _Event("bot.stopped", bot_event, change["status"], message, _end_code(reason), more)
    manifest = change.get("manifest", "")
    if manifest == "recording":
        return [stop]
    if manifest:  # an earlier attempt was recorded, and its webhooks were sent
        return [stop, *_no_transcript(change, record)]
    skipped = [_skipped(kind, change["status"]) for kind in ("manifest", "audio", "video")]
    return [stop, *skipped[:2], *_no_transcript(change, record), *(skipped[2:] if record.video else [])]


def _recorded(what: str, change: Mapping[str, str], record: Record) -> list[_Event]:
    """The webhooks of a recording, whose files are made after the bot's end. In `change`, `before` is the status of the
    recording that was last sent.
    """
    status = change["status"]
    if what == "recording":
        return [_Event("bot.recording", "bot.recording", "Recording", "The meeting is being recorded.", 200)]
    unmade = (change.get("why") or _UNMADE) if what != "completed" else ""
    manifest = _artefact("manifest.completed", "manifest_status", what, status, "The manifest is there.")
    events = [_failed("manifest", status, unmade) if unmade else manifest]
    ends = change["state"] == BotState.STOPPED and change["before"] != "skipped"
    audio, video = change["audio"], change["video"] or ("skipped" if record.video else "")
    events += _made("audio", audio or "skipped", status, unmade)
    events += _no_transcript(change, record) if ends else []
    events += _made("video", video, status, unmade) if video else []
    return events


def _permission(what: str, status: str) -> _Event:
    """The webhook of a meeting that permits no recording (`denied`), or permits it again (`allowed`)."""
    name, is_allowed = f"bot.recording_permission_{what}", what == "allowed"
    message = f"The meeting {'permits recording again' if is_allowed else 'does not permit recording'}."
    return _Event(name, name, status, message, 200 if is_allowed else 500)


def _made(kind: str, made: str, status: str, unmade: str) -> list[_Event]:
    """`unmade`: why no files were made of what was recorded."""
    if unmade:
        return [_failed(kind, status, unmade)]
    text = f"The {kind} is there." if made == "processed" else f"There is no {kind}: none was recorded."
    return [_artefact(f"{kind}.{made}", f"{kind}_status", made, status, text)]


def _skipped(kind: str, status: str) -> _Event:
    return _artefact(f"{kind}.skipped", f"{kind}_status", "skipped", status, f"There is no {kind}: {_UNRECORDED}.")


def _failed(kind: str, status: str, why: str) -> _Event:
    """The webhook of a file that there should be, and is not."""
    name, more = f"{kind}.skipped", {f"{kind}_status": "skipped", "status": "error"}
    return _Event(name, name, status, f"There is no {kind}: {why}.", 200, more)


def _no_transcript(change: Mapping[str, str], record: Record) -> list[_Event]:
    """The webhook of a bot without a transcript. If there is one, `_transcribed` sends it."""
    if record.transcript_status:
        return []
    text = "There is no transcript of its meeting."
    return [_artefact("transcription.skipped", "transcript_status", "skipped", change["status"], text)]


def _transcribed(what: str, change: Mapping[str, str]) -> list[_Event]:
    """The webhook of a transcript, which is made after the bot's end. None is sent while it is being made. `failed`:
    there was something to transcribe, and who was to do it could not.
    """
    why = change.get("why", "")
    told = {
        "processed": (
            "transcription.processed",
            f"The transcript is there, of captions: there is none of the recording ({why})."
            if why
            else "The transcript is there.",
        ),
        "failed": ("transcription.failed", f"The recording could not be transcribed: {why}."),
        "skipped": (
            "transcription.skipped",
            f"There is no transcript of the recording: {why}."
            if why
            else "There is no transcript: nothing was said, the page wrote nothing down, or no agent made one in time.",
        ),
    }
    if what not in told:
        return []
    name, text = told[what]
    failed = what == "failed"
    more = {"transcript_status": what, "status": "error" if failed else "success"}
    if number := change.get("number"):
        more["transcript_id"] = transcript_id(change["bot_id"], int(number))
    return [_Event(name, name, change["status"], text, 500 if failed else 200, more)]


def _artefact(name: str, field: str, word: str, status: str, text: str) -> _Event:
    return _Event(name, name, status, text, 200, {field: word, "status": "success"})


def _done(reason: Reason, record: Record) -> _Event:
    """With the code of a failure, too, if there should be files of a recording, and are not."""
    code = 500 if record.manifest_status == "skipped" else _end_code(reason)
    return _Event("bot.done", "bot.done", "Done", _DONE, code)


def _end_code(reason: Reason) -> int:
    return 200 if reason.end.bot_event in ("bot.stopped", "bot.kicked") else 500


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
        **({"sequence": change["sequence"]} if "sequence" in change else {}),
        **event.more,
    }
    number = int(change["number"]) if change.get("callback") else 0
    return Delivery(delivery_id, bot_id, event.name, url, _json(body), epoch(at), record.traceparent, number)


def _was_refused(change: Mapping[str, str], record: Record) -> bool:
    """Whether the bot ended at once because its job did not let it wait. Then the answer to its creation already said
    so.
    """
    return (
        change["reason"] in UNSERVED
        and change["state"] == BotState.STOPPED
        and change["attempt"] == "0"
        and record.join_at is None
        and record.queue_timeout_s == 0
    )


def _id(bot_id: str, entry_id: str, event: str) -> str:
    return f"evt_{hashlib.sha256(chr(0).join((bot_id, entry_id, event)).encode()).hexdigest()[:40]}"


def _json(body: dict[str, Any]) -> str:
    return msgspec.json.encode(body).decode()
