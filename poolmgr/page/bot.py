"""What the page shows of one bot: its history as in `poolmgr explain`, the participants, its webhooks."""

import re
from typing import Any, Final

import msgspec

from common.config.settings import EvidenceSettings, Settings
from common.jobs.outgoing import host_of
from common.jobs.record import iso
from common.wire.vocabulary import Attribution
from poolmgr.store.reading.meetings import Meetings
from poolmgr.store.reading.views import Views, VmView
from poolmgr.telling import narrative
from poolmgr.telling.history import BotHistory, evidence_of, look
from poolmgr.telling.meaning import meaning_of
from poolmgr.telling.secrecy import hide_links, hide_links_in_record

_SHOWN: Final = (
    "bot_id", "bot_name", "platform", "meeting_url", "state", "status", "status_reason", "reason_detail", "user_id",
    "calendar_event_id", "owner", "vm_id", "worker_id", "attempt", "participants", "active_speaker", "screen", "rule",
    "created_at", "join_at", "assigned_at", "inmeeting_at", "stopped_at", "leave_requested",
    "manifest_status", "audio_status", "video_status",
)  # fmt: skip
_MOST_PARTICIPANTS: Final = 500
_MOST_ATTEMPTS: Final = 50
_LINK: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")


async def bot_page(
    views: Views, meetings: Meetings, settings: Settings, bot_id: str, fleet: list[VmView]
) -> dict[str, Any] | None:
    """The data of a bot's page; None: there is no such bot. It contains no meeting link."""
    history = await look(views, bot_id, settings, fleet or None)
    if history is None:
        return None
    record = hide_links_in_record(history.record)
    attribution = record.attribution
    meaning = meaning_of(record.status_reason)
    there = await meetings.participants(bot_id)
    return {
        "bot": {name: getattr(record, name) for name in _SHOWN}
        | {"join_at": iso(record.join_at) if record.join_at else ""},
        "whose": narrative.WHOSE[Attribution(attribution)] if attribution in set(Attribution) else "",
        "means": {"what": _plain(meaning.what), "do": _plain(meaning.do)} if meaning else None,
        "waits_for": history.waits_for,
        "story": [
            {"at": line.at, "text": hide_links(line.text)}
            for line in narrative.sentences(history.entries, history.record)
        ],
        "participants": [msgspec.to_builtins(participant) for participant in there[-_MOST_PARTICIPANTS:]],
        "evidence": _evidence(history, settings.evidence),
        "webhooks": await _webhooks(views, bot_id),
    }


def _plain(text: str) -> str:
    """Markdown as plain text."""
    return _LINK.sub(r"\1", text).replace("`", "")


def _evidence(history: BotHistory, settings: EvidenceSettings) -> list[dict[str, Any]]:
    elsewhere = "kept elsewhere" if settings.upload_url else "on its way, or its time is over"
    return [
        {"name": name, "attempt": int(name.rpartition("-")[2]), "here": here, "where": "" if here else elsewhere}
        for name, here in evidence_of(history)
    ]


async def _webhooks(views: Views, bot_id: str) -> dict[str, Any]:
    waiting, due_at = await views.webhooks.waiting(bot_id)
    log = await views.webhooks.log(bot_id)
    return {
        "next_at": iso(due_at) if due_at else "",
        "waiting": [
            {
                "event": webhook.delivery.event,
                "at": iso(webhook.delivery.at),
                "attempts": webhook.attempts,
                "host": host_of(webhook.delivery.url),
            }
            for webhook in waiting[:_MOST_ATTEMPTS]
        ],
        "log": [msgspec.to_builtins(attempt) for attempt in log[:_MOST_ATTEMPTS]],
    }
