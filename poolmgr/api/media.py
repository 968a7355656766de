"""What a meeting leaves behind: who was there, what was written, and the recordings that this release does not make."""

from collections.abc import Sequence

from poolmgr.api.errors import ApiError, Message
from poolmgr.api.known import UNKNOWN_BOT, Bot, is_over, known_bot
from poolmgr.api.operation import Answer, Call, Operation, Says
from poolmgr.api.shapes import ChatMessage, Chats, ChatServer, ChatSession, ChatSpeaker, Participant
from poolmgr.store.meetings import Attendance, KeptLine


async def participants(call: Call) -> Answer:
    bot = await known_bot(call)
    return Answer(200, [_participant(one) for one in await call.service.meetings.participants(bot["bot_id"])])


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
    return Answer(200, _chats(bot, await call.service.meetings.chat(bot["bot_id"])))


def _chats(bot: Bot, said: Sequence[KeptLine]) -> Chats:
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
        session_id=bot["bot_id"],
        start_time=bot["inmeeting_at"] or None,
        last_updated=latest,
        total_messages=len(messages),
        unique_speakers=len(by_speaker),
        bot_id=bot["bot_id"],
        meeting_id=bot["meeting_url"],
    )
    server = ChatServer(latest, bot["bot_id"], bot["meeting_url"], "poolmgr")
    return Chats(session, speakers, messages, by_speaker, server)


async def recording(call: Call) -> Answer:
    bot = await known_bot(call)
    if is_over(bot):
        raise ApiError(404, "There is none, and there never will be: this release of poolmgr records nothing.")
    return Answer(202, Message("Not ready: the meeting goes on. This release of poolmgr records nothing."))


_RECORDINGS = (
    ("get_audio", "getAudio", "The audio recording."),
    ("get_video", "getVideo", "The video recording."),
    ("get_audio_streams", "getAudioStreams", "Each participant's audio."),
    ("get_recording_streams", "getRecordingStreams", "Each participant's video."),
    ("get_speaker_timeline", "getSpeakerTimeline", "Who spoke when."),
    ("get_screenshots", "getScreenshots", "Screenshots of the meeting."),
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
