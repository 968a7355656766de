"""What a meeting leaves behind: who was there, what was written, the evidence of what failed, and the recordings that
this release does not make.
"""

import base64
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from poolmgr.api.errors import ApiError, Message
from poolmgr.api.known import UNKNOWN_BOT, known_bot
from poolmgr.api.operation import Answer, Call, File, Operation, Says
from poolmgr.api.shapes import ChatMessage, Chats, ChatServer, ChatSession, ChatSpeaker, Participant
from poolmgr.core.record import Record
from poolmgr.store.evidence import pictures
from poolmgr.store.meetings import Attendance, KeptLine


async def participants(call: Call) -> Answer:
    bot = await known_bot(call)
    return Answer(200, [_participant(one) for one in await call.service.meetings.participants(bot.bot_id)])


def _participant(one: Attendance) -> Participant:
    return Participant(
        device_id=one.id,
        display_name=one.name,
        full_name=one.name,
        profile_picture=None,
        status=0 if one.left_at else 1,
        humanized_status="left" if one.left_at else "in_meeting",
        stream_ids=[],
        last_updated=one.left_at or one.joined_at,
    )


async def chats(call: Call) -> Answer:
    bot = await known_bot(call)
    return Answer(200, _chats(bot, await call.service.meetings.chat(bot.bot_id)))


def _chats(bot: Record, said: Sequence[KeptLine]) -> Chats:
    messages = [
        ChatMessage(
            message_id=one.id,
            device_id=one.sender_id,
            timestamp=one.at,
            text=one.text,
            speaker_name=one.sender_name,
            speaker_display_name=one.sender_name,
            client_timestamp=one.at,
            session_timestamp=one.at,
        )
        for one in said
    ]
    by_speaker: dict[str, list[ChatMessage]] = {}
    for message in messages:
        by_speaker.setdefault(message.device_id or message.speaker_name, []).append(message)
    speakers = [
        ChatSpeaker(of[-1].device_id, of[-1].speaker_name, of[-1].speaker_name, len(of)) for of in by_speaker.values()
    ]
    latest = messages[-1].timestamp if messages else None
    session = ChatSession(
        session_id=bot.bot_id,
        start_time=bot.inmeeting_at or None,
        last_updated=latest,
        total_messages=len(messages),
        unique_speakers=len(by_speaker),
        bot_id=bot.bot_id,
        meeting_id=bot.meeting_url,
    )
    server = ChatServer(latest, bot.bot_id, bot.meeting_url, "poolmgr")
    return Chats(session, speakers, messages, by_speaker, server)


async def recording(call: Call) -> Answer:
    bot = await known_bot(call)
    if bot.is_over:
        raise ApiError(404, "There is none, and there never will be: this release of poolmgr records nothing.")
    return Answer(202, Message("Not ready: the meeting goes on. This release of poolmgr records nothing."))


class Screenshot(msgspec.Struct):
    """A picture that was taken of the page when an attempt failed, or of a screen that a probe saw."""

    name: str
    attempt: int
    timestamp: str
    content_type: str
    data: Annotated[str, Meta(description="The picture, in base64.")]


class Screenshots(msgspec.Struct):
    bot_id: str
    screenshots_count: int
    screenshots: list[Screenshot]


class WhichEvidence(msgspec.Struct):
    attempt: Annotated[int, Meta(ge=1, le=1_000_000, description="Of which attempt; the latest without.")] | None = None


async def screenshots(call: Call) -> Answer:
    bot, evidence = await known_bot(call), call.service.evidence
    found: list[Screenshot] = []
    for attempt in (await evidence.kept_of(bot))[-_SHOWN_ATTEMPTS:]:
        if bundle := await evidence.bundle(bot.bot_id, attempt):
            found += [
                Screenshot(one.name, one.attempt, one.at, "image/jpeg", base64.b64encode(one.data).decode())
                for one in pictures(bundle)
            ]
    if found:
        return Answer(200, Screenshots(bot.bot_id, len(found), found))
    if bot.is_over:
        raise ApiError(404, "There is none: screenshots are only taken of what failed, and of probes.")
    return Answer(202, Message("There is none yet: screenshots are only taken of what failed, and of probes."))


async def bundle(call: Call) -> Answer:
    bot, evidence = await known_bot(call), call.service.evidence
    query: WhichEvidence = call.query
    kept = await evidence.kept_of(bot)
    attempt = query.attempt or (kept[-1] if kept else 0)
    found = await evidence.bundle(bot.bot_id, attempt) if attempt in kept else None
    if found:
        return Answer(200, File("application/zip", f"{found.name}.zip", found.data))
    if bot.evidence:
        raise ApiError(404, f"It is not here: {bot.evidence} is on its way, is kept elsewhere, or its time is over.")
    raise ApiError(404, "There is none: evidence is only kept of what failed, and of probes.")


_SHOWN_ATTEMPTS = 5
_RECORDINGS = (
    ("get_audio", "getAudio", "The audio recording."),
    ("get_video", "getVideo", "The video recording."),
    ("get_audio_streams", "getAudioStreams", "Each participant's audio."),
    ("get_recording_streams", "getRecordingStreams", "Each participant's video."),
    ("get_speaker_timeline", "getSpeakerTimeline", "Who spoke when."),
)

OPERATIONS = (
    Operation(
        "GET",
        "/bots/{bot_id}/get_participants",
        "getParticipants",
        "Who is in the meeting, and who was.",
        participants,
        {200: Says("One entry a participant.", list[Participant]), **UNKNOWN_BOT},
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/get_chats",
        "getChats",
        "What was written in the meeting's chat.",
        chats,
        {200: Says("The messages, oldest first.", Chats), **UNKNOWN_BOT},
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/get_screenshots",
        "getScreenshots",
        "Pictures of the page, where an attempt failed, and of each screen that a probe saw.",
        screenshots,
        {
            200: Says("The pictures of the latest five attempts, in order.", Screenshots),
            202: Says("None yet: it has not ended.", Message),
            404: Says("There is no such bot, or it has ended and there is none."),
        },
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/evidence",
        "getEvidence",
        "What is kept of an attempt that failed: a zip file.",
        bundle,
        {200: Says("The bundle.", Message, "application/zip"), 404: Says("There is no such bot, or none of it.")},
        query=WhichEvidence,
    ),
    *(
        Operation(
            "GET",
            f"/bots/{{bot_id}}/{path}",
            name,
            f"{what} This release records nothing.",
            recording,
            {
                202: Says("Not yet: it has not ended.", Message),
                404: Says("There is no such bot, or it has ended."),
            },
        )
        for path, name, what in _RECORDINGS
    ),
)
