"""Finds the bot that a request names, if its caller may see it, and shows it as the clients' JSON."""

from collections.abc import Callable
from operator import attrgetter

import msgspec

from common.config.settings import TokenSettings
from common.jobs.record import Job, Record, epoch, iso
from common.wire import minutes
from common.wire.vocabulary import DONE, BotState, FeedStatus, Status
from poolmgr.api.errors import ApiError, bot_not_found
from poolmgr.api.operation import Call, Says
from poolmgr.api.operations.shapes import BotRow, CaptionFile, Details, Stage
from poolmgr.telling.capture_trouble import capture_trouble

SUBMITTED = "submitted"
"""The `state` of a bot whose job no manager has taken yet."""

UNKNOWN_BOT = {404: Says("There is no such bot.")}

PLATFORMS = {"google_meet": "GMeet", "zoom": "Zoom", "teams": "Teams", "jitsi": "Jitsi", "room": "Room"}

_STAGES: tuple[tuple[str, str, Callable[[Record], str]], ...] = (
    ("Scheduled", "The bot was scheduled.", lambda bot: bot.created_at if bot.join_at else ""),
    ("Joining", "The bot is joining the meeting.", attrgetter("joining_at")),
    ("WaitingRoom", "The bot is waiting to be let in.", attrgetter("waiting_room_at")),
    ("InMeeting", "The bot is in the meeting.", attrgetter("inmeeting_at")),
    ("Recording", "The bot is recording.", attrgetter("recording_at")),
    ("Leaving", "The bot is leaving the meeting.", attrgetter("leaving_at")),
)
_ENDS = {
    "Stopped": (Status.STOPPED, "The bot has stopped, in the meeting or before it."),
    "BotNotAllowed": (Status.NOT_ALLOWED, "The bot was not let in."),
    "BotRejected": (Status.DENIED, "The bot was refused."),
    "Error": (Status.ERROR, "The bot failed."),
}
_AFTERWARDS: tuple[tuple[str, str, Callable[[Record], str]], ...] = (
    ("AudioProcessing", "The audio is there.", lambda bot: bot.files_at if bot.audio_status == "processed" else ""),
    ("VideoProcessing", "The video is there.", lambda bot: bot.files_at if bot.video_status == "processed" else ""),
    ("TranscriptionReady", "The transcript is there.", attrgetter("transcribed_at")),
    ("Done", "All is done for this bot.", attrgetter("done_at")),
    ("MediaExpired", "What was recorded is deleted: its time was over.", attrgetter("expired_at")),
)


def may_see(token: TokenSettings, bot: Record) -> bool:
    """Whether the token may see the bot: it sees all bots, or owns this one."""
    return token.sees == "all" or bot.owner == token.name


async def find_bot(call: Call) -> Record:
    """The bot that the request names. Raises: ApiError 404 if there is none, 403 if it is another token's."""
    bot_id = call.path["bot_id"]
    bot = await call.service.submissions.find(bot_id)
    if bot is None:
        raise bot_not_found()
    if not may_see(call.token, bot):
        raise ApiError(403, "This bot is another token's, and yours sees only its own.")
    return bot


def join_at(bot: Record) -> str | None:
    """The bot's join_at as ISO 8601; None: it joins at once."""
    return None if bot.join_at is None else iso(bot.join_at)


def attributes(bot: Record) -> msgspec.Raw:
    """The bot's custom_attributes as the JSON object that was sent."""
    return msgspec.Raw(bot.custom_attributes)


def transcript_id(bot_id: str, job: Job) -> str | None:
    """The id of the transcript that the bot's job asked for."""
    return minutes.transcript_id(bot_id) if job.transcript else None


async def warnings(call: Call, bot: Record) -> list[str]:
    """What of its job does not happen as it says, as far as is known by now. Of its recording until the files are made:
    then their manifest says it.
    """
    story = await call.service.views.story(bot.bot_id) if _is_being_recorded(call, bot) else []
    return [
        *bot.warnings,
        *(
            f"{field}: {status}: {why}"
            for field, status in (
                ("live_audio_required", bot.live_audio_status),
                ("live_transcription_required", bot.live_transcription_status),
            )
            if (why := _FEED_TROUBLE.get(status))
        ),
        *(f"recording: {trouble}" for trouble in capture_trouble(story, bot.attempt)),
    ]


def _is_being_recorded(call: Call, bot: Record) -> bool:
    """Whether its recording has begun, or should have by now, and its files are not made yet."""
    if bot.manifest_status or bot.state != BotState.IN_MEETING:
        return bot.manifest_status == "recording"
    return bool(call.service.capture.store) and (bot.video or not bot.no_audio)


_FEED_TROUBLE: dict[str, str] = {
    FeedStatus.WAITING: "its receiver does not take what is sent; it is tried again",
    FeedStatus.REFUSED: "its address may not be called, or the browser gives no sound, so nothing is sent",
    FeedStatus.UNTRANSCRIBED: "nobody makes words of the meeting's sound, so there is nothing to send",
    FeedStatus.CAPTIONS_UNAVAILABLE: "the meeting's page shows no captions, so there is nothing to send",
}


async def details(call: Call, bot: Record) -> Details:
    """The detail of a bot for clients."""
    payload = bot.payload or "{}"
    latest = max(getattr(bot, name) for name in _TIMES)
    updated = max(latest, *(getattr(bot, name) for name in _LATER_TIMES))
    none = "skipped" if bot.is_over else ""  # before its end nothing is known
    return Details(
        BotID=bot.bot_id,
        BotUsername=bot.bot_name,
        BotMessage=bot.bot_message,
        BotImageURL=_image(payload),
        BotProfile="",
        CreatedAt=bot.created_at,
        StartTime=bot.inmeeting_at or None,
        EndTime=bot.stopped_at or None,
        Duration=_seconds_in(bot, call.service.wall()),
        LastUpdatedAt=int(epoch(updated)),
        ManifestStatus=bot.manifest_status or none,
        AudioStatus=bot.audio_status or none,
        TranscriptStatus=bot.transcript_status or none,
        MeetingLink=bot.meeting_url,
        NativeSTT=False,
        OfferingType="",
        Platform=PLATFORMS.get(bot.platform, bot.platform),
        Status=bot.shown_status,
        StatusCreatedAt=bot.done_at if bot.shown_status == DONE else latest,
        Reason=bot.status_reason,
        ReasonDetail=bot.reason_detail,
        Attribution=bot.attribution,
        ErrorReason=bot.status_reason if bot.is_over and bot.status != Status.STOPPED else "",
        UserID=bot.user_id,
        CalendarEventID=bot.calendar_event_id,
        JoinAt=join_at(bot),
        RequestPayload=msgspec.Raw(payload),
        StatusTimeline=_timeline(bot),
        custom_attributes=attributes(bot),
        caption_file=CaptionFile(available=bot.has_transcript),
        transcript_id=transcript_id(bot.bot_id, bot),
        participant_events=[],
        warnings=await warnings(call, bot),
        live_audio_status=bot.live_audio_status,
        live_transcription_status=bot.live_transcription_status,
        paused=bot.paused,
        transcript_webhook_received=bot.transcript_webhook_received,
        audio_webhook_received=bot.audio_webhook_received,
    )


_TIMES = (
    "created_at", "assigned_at", "joining_at", "waiting_room_at", "inmeeting_at", "recording_at", "leaving_at",
    "stopped_at",
)  # fmt: skip


_LATER_TIMES = ("files_at", "transcribed_at", "done_at", "expired_at")


def row(bot: Record, now: float) -> BotRow:
    """The bot as a row of a list. `now`: epoch seconds, for the duration of a live bot."""
    platform = PLATFORMS.get(bot.platform, bot.platform)
    return BotRow(
        bot_id=bot.bot_id,
        bot_name=bot.bot_name,
        status=bot.shown_status,
        platform=platform,
        meeting_url=bot.meeting_url,
        created_at=bot.created_at,
        join_at=join_at(bot),
        user_id=bot.user_id,
        calendar_event_id=bot.calendar_event_id,
        reason=bot.status_reason,
        custom_attributes=attributes(bot),
        BotID=bot.bot_id,
        BotUsername=bot.bot_name,
        Status=bot.shown_status,
        Platform=platform,
        MeetingLink=bot.meeting_url,
        CreatedAt=bot.created_at,
        StartTime=bot.inmeeting_at or None,
        EndTime=bot.stopped_at or None,
        Duration=_seconds_in(bot, now),
    )


def _timeline(bot: Record) -> dict[str, Stage]:
    ends = [
        (stage, message, bot.stopped_at if bot.is_over and bot.status == status else "")
        for stage, (status, message) in _ENDS.items()
    ]
    before, after = ([(stage, message, at_of(bot)) for stage, message, at_of in of] for of in (_STAGES, _AFTERWARDS))
    return {
        stage: Stage(message if at else "", bool(at), at or None) for stage, message, at in (*before, *ends, *after)
    }


def _seconds_in(bot: Record, now: float) -> int:
    """How long the bot was in the meeting, or has been so far."""
    if not bot.inmeeting_at:
        return 0
    until = epoch(bot.stopped_at) if bot.stopped_at else now
    return max(0, int(until - epoch(bot.inmeeting_at)))


class _Shown(msgspec.Struct):
    bot_image_url: object = ""


def _image(payload: str) -> str:
    try:
        value = msgspec.json.decode(payload, type=_Shown).bot_image_url
    except msgspec.DecodeError:  # a job pushed to Redis may contain anything there
        return ""
    return value if isinstance(value, str) else ""
