"""What is kept of a meeting: participants, chat, evidence of a failure, and the recording."""

import math
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from common.jobs.record import Record, epoch
from common.runtime.recordings import deletion, manifests
from common.runtime.recordings.sound import m4a
from common.runtime.recordings.sound.m4a import UnencodedError
from common.runtime.recordings.store import Store, StoreError
from common.wire import manifest
from common.wire.manifest import Audio, Kind, Manifest, Stored
from poolmgr.api import links
from poolmgr.api.errors import ApiError, Message, bad_request, later
from poolmgr.api.operation import PREFIX, Answer, Call, File, Operation, Says
from poolmgr.api.operations.bot_views import UNKNOWN_BOT, find_bot
from poolmgr.api.operations.shapes import ChatMessage, Chats, ChatServer, ChatSession, ChatSpeaker, Participant
from poolmgr.store.forgetting import expect_mark, keep_mark
from poolmgr.store.lives import MADE_WITHIN_S
from poolmgr.store.reading.meetings import Attendance, KeptLine

_T = TypeVar("_T")


async def participants(call: Call) -> Answer:
    """Who is or was in the meeting, in the order of joining (200). Raises: ApiError 403, 404."""
    bot = await find_bot(call)
    return Answer(
        200, [_participant(attendance) for attendance in await call.service.meetings.participants(bot.bot_id)]
    )


def _participant(attendance: Attendance) -> Participant:
    return Participant(
        device_id=attendance.id,
        display_name=attendance.name,
        full_name=attendance.name,
        profile_picture=None,
        status=0 if attendance.left_at else 1,
        humanized_status="left" if attendance.left_at else "in_meeting",
        stream_ids=[],
        last_updated=attendance.left_at or attendance.joined_at,
    )


async def chats(call: Call) -> Answer:
    """The meeting's chat (200). Raises: ApiError 403, 404."""
    bot = await find_bot(call)
    return Answer(200, _chats(bot, await call.service.meetings.chat(bot.bot_id)))


def _chats(bot: Record, said: Sequence[KeptLine]) -> Chats:
    messages = [
        ChatMessage(
            message_id=message.id,
            device_id=message.sender_id,
            timestamp=message.at,
            text=message.text,
            speaker_name=message.sender_name,
            speaker_display_name=message.sender_name,
            client_timestamp=message.at,
            session_timestamp=message.at,
        )
        for message in said
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


LINK = Meta(description="Signed, valid for capture.link_s, and needs no token. Of a folder's file, an address here.")


class AudioLink(msgspec.Struct):
    """Where the audio file is."""

    audio_url: Annotated[str, LINK]


class VideoInfo(msgspec.Struct):
    duration: Annotated[float, Meta(description="Seconds.")]
    size_mb: float
    resolution: str
    fps: float
    frames_processed: int
    corrupted_frames: int


class VideoLink(msgspec.Struct):
    video_url: Annotated[str, LINK]
    video_info: VideoInfo


class StreamSegment(msgspec.Struct):
    """A file. Each begins when the recording does, so that all are in step with each other."""

    segment_index: int
    url: Annotated[str, LINK]
    filename: str
    duration_seconds: float
    sample_rate: int = 48_000
    channels: int = 2
    codec: str = "opus"


class StreamTurn(msgspec.Struct):
    """Who speaks on a track on which people take turns. Times are those of its file."""

    participant_name: str
    participant_id: str
    start_seconds: float
    end_seconds: float


class AudioStream(msgspec.Struct):
    stream_id: Annotated[str, Meta(description="The sound track's, as the meeting's page had it.")]
    segments: list[StreamSegment]
    turns: Annotated[list[StreamTurn], Meta(description="Where people take turns on it; else empty.")]


class StreamOwner(msgspec.Struct):
    participant_name: Annotated[
        str, Meta(description="By whom the page marked as speaking. Where that does not tell: the track's id.")
    ]
    participant_id: Annotated[str, Meta(description="As the page had it. Empty: it is not known whose it is.")]
    streams: list[AudioStream]


class StreamCounts(msgspec.Struct):
    total_participants: int
    total_segments: int


class AudioStreams(msgspec.Struct):
    """The sound tracks that the meeting's page received, each in a file of its own."""

    bot_id: str
    audio_status: str
    audio_streams_available: bool
    participants: list[StreamOwner]
    summary: StreamCounts
    message: str | None = None


class WhichAttempt(msgspec.Struct):
    """The query of what is made of a recording."""

    attempt: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1_000_000,
                description="Of which attempt; without: the latest that has it, or may still get it.",
            ),
        ]
        | None
    ) = None


class AudioForm(WhichAttempt):
    """The query of a recording's sound."""

    format: Annotated[
        Literal["ogg", "m4a"], Meta(description="Opus as it was recorded, or AAC, which is made when it is asked for.")
    ] = "ogg"
    track: (
        Annotated[
            int, Meta(ge=0, le=999, description="One sound track alone, by its place in get_audio_streams. Not as M4A.")
        ]
        | None
    ) = None


async def audio(call: Call) -> Answer:
    """A link to the audio file that is valid for capture.link_s: to the object store, or of a folder's file to here."""
    bot = await find_bot(call)
    form: AudioForm = call.query
    made, store = await recorded(call, bot, "audio", form.attempt)
    if made is None or store is None or made.audio is None:
        return Answer(202, NOT_READY)
    path = await _path_of_form(call, store, made, made.audio)
    if path is None:
        return Answer(202, NOT_READY)
    which: dict[str, str] = {} if form.format == "ogg" else {"format": form.format}
    if form.track is not None:
        which["track"] = str(form.track)
    return Answer(200, AudioLink(await address(call, store, made, path, "audio", which)))


async def _path_of_form(call: Call, store: Store, made: Manifest, file: Audio) -> str | None:
    """The path of the file for which the query asks. None: it is being made. Raises: ApiError 400, 404, 503."""
    form: AudioForm = call.query
    if form.track is not None:
        if form.format != "ogg":
            raise bad_request("format: a track alone is there as it was recorded only")
        if form.track >= len(made.tracks):
            raise ApiError(404, f"There is no such track: of this meeting there are {len(made.tracks)}.")
        return path_of(made, made.tracks[form.track])
    if form.format == "ogg":
        return path_of(made, file)
    try:
        return await of_store(call.service.conversions.made(store, made))
    except (UnencodedError, OSError) as error:
        raise later(503, f"The M4A could not be made: {error}", _STORE_RETRY_S) from error


async def audio_streams(call: Call) -> Answer:
    """A link to the file of each sound track (200); 202 while it may still come. Raises: ApiError 403, 404, 503."""
    bot = await find_bot(call)
    which: WhichAttempt = call.query
    made, store = await recorded(call, bot, "tracks", which.attempt)
    if made is None or store is None:
        return Answer(202, NOT_READY)
    owners: dict[tuple[str, str], StreamOwner] = {}
    for place, track in enumerate(made.tracks):
        url = await address(call, store, made, path_of(made, track), "audio", {"track": str(place)})
        segments = [StreamSegment(0, url, track.path, track.duration_s)]
        whose = track.speaker or track.id, track.speaker_id
        turns = [
            StreamTurn(
                *(turn.speaker, turn.speaker_id),
                *(round(at - made.began_at, 1) for at in (turn.began_at, turn.ended_at)),
            )
            for turn in track.turns
        ]
        owners.setdefault(whose, StreamOwner(*whose, [])).streams.append(AudioStream(track.id, segments, turns))
    refused = any(gap.cause == "refused" and gap.kind == "tracks" for gap in made.gaps)
    message = "The meeting did not let all of its tracks be taken." if refused else None
    counts = StreamCounts(len(owners), len(made.tracks))
    return Answer(200, AudioStreams(made.bot_id, "processed", bool(owners), [*owners.values()], counts, message))


async def video(call: Call) -> Answer:
    bot = await find_bot(call)
    which: WhichAttempt = call.query
    made, store = await recorded(call, bot, "video", which.attempt)
    if made is None or store is None or made.video is None:
        return Answer(202, NOT_READY)
    seen = made.video
    info = VideoInfo(
        duration=seen.duration_s,
        size_mb=round(seen.bytes / 1e6, 3),
        resolution=f"{seen.width}x{seen.height}",
        fps=seen.fps,
        frames_processed=seen.pictures,
        corrupted_frames=seen.damaged,
    )
    return Answer(200, VideoLink(await address(call, store, made, path_of(made, seen), "video"), info))


async def address(
    call: Call, store: Store, made: Manifest, path: str, here: str, query: Mapping[str, str] = MappingProxyType({})
) -> str:
    """A link to a file of that recording. `here`, `query`: its operation in this API, for a file in a folder."""
    life_s = call.service.capture.link_s
    if link := await of_store(store.link(path, life_s)):
        return link
    which = {**query, "attempt": str(made.attempt)}
    until = math.ceil(call.service.wall() + life_s)
    secret = await call.service.link_secret.get()
    signed = links.signed(secret, call.token, f"{PREFIX}/bots/{made.bot_id}/{here}", which, until)
    return f"{call.service.scheme}://{call.headers.get('Host', '')}{signed}"


async def audio_file(call: Call) -> Answer:
    """The audio file from the store (200); 202 while it may still come. Raises: ApiError 403, 404, 503."""
    bot = await find_bot(call)
    form: AudioForm = call.query
    made, store = await recorded(call, bot, "audio", form.attempt)
    if made is None or store is None or made.audio is None:
        return Answer(202, NOT_READY)
    path = await _path_of_form(call, store, made, made.audio)
    if path is None:
        return Answer(202, NOT_READY)
    media_type = "audio/ogg" if form.format == "ogg" else m4a.MEDIA_TYPE
    track = "" if form.track is None else f"-track-{form.track}"
    return Answer(200, File(media_type, f"{made.bot_id}-{made.attempt}{track}.{form.format}", local(store, path)))


async def video_file(call: Call) -> Answer:
    bot = await find_bot(call)
    which: WhichAttempt = call.query
    made, store = await recorded(call, bot, "video", which.attempt)
    if made is None or store is None or made.video is None:
        return Answer(202, NOT_READY)
    path = local(store, path_of(made, made.video))
    return Answer(200, File("video/mp4", f"{made.bot_id}-{made.attempt}.mp4", path))


def path_of(made: Manifest, file: Stored) -> str:
    return f"{manifest.folder(made.bot_id, made.attempt)}/{file.path}"


def local(store: Store, where: str) -> Path:
    """Raises: ApiError 404, 503."""
    path = store.path(where)
    if path is None:
        raise ApiError(404, "The file is in an object store: get_audio and get_video say where it can be fetched.")
    if not path.is_file():
        raise store_away(StoreError("the file that the manifest names is not there"))
    return path


async def recorded(
    call: Call, bot: Record, kind: Kind, attempt: int | None = None
) -> tuple[Manifest | None, Store | None]:
    """The final manifest of that attempt, if there is a file of that kind; nothing while it may come. Without
    `attempt`: of the latest that was recorded, and if no such file comes of that, of an earlier one that has it.
    Raises: ApiError 404, 503.
    """
    try:
        store = call.service.store
    except StoreError as error:
        raise store_away(error) from error
    unwanted = not bot.video if kind == "video" else bot.no_audio
    none_is_made = store is None or unwanted or bot.is_probe
    if none_is_made and bot.is_over:
        raise ApiError(404, f"There is none, and there never will be: of its meeting no {_NAMED[kind]} was recorded.")
    if none_is_made or store is None:
        return None, None
    made = await of_store(manifests.find(store, bot.bot_id, attempt))
    if made and made.finished and _has(made, kind):
        return made, store
    is_said = (made and made.finished) or not may_come(call, bot)
    if not (bot.is_over and is_said):
        return None, store
    if attempt is None and (earlier := await of_store(_latest_with(store, bot.bot_id, kind))):
        return earlier, store
    raise ApiError(404, f"There is none: no {_NAMED[kind]} of its meeting is in the store.")


async def _latest_with(store: Store, bot_id: str, kind: Kind) -> Manifest | None:
    """The final manifest of the latest attempt with a file of that kind. Raises: StoreError, ValueError."""
    for attempt in reversed(await store.attempts(bot_id)):
        made = await manifests.find(store, bot_id, attempt)
        if made and made.finished and _has(made, kind):
            return made
    return None


def _has(made: Manifest, kind: Kind) -> bool:
    return "tracks" in made.kinds if kind == "tracks" else bool(made.audio if kind == "audio" else made.video)


def may_come(call: Call, bot: Record) -> bool:
    """Whether an agent may still put something of the bot's meeting into the store."""
    never = bot.is_over and (not bot.inmeeting_at or bot.manifest_status == "expired")
    return not never and (not bot.is_over or ended_lately(call, bot))


def ended_lately(call: Call, bot: Record) -> bool:
    """Whether an agent may still be making the file of the bot's meeting."""
    since = bot.awaited_since or bot.stopped_at
    return bool(since) and call.service.wall() - epoch(since) < MADE_WITHIN_S


async def delete_recording(call: Call, bot: Record) -> int:
    """Delete all of a bot's recordings and transcripts, also what agents still have of them. Returns how many objects
    there were. Raises: ApiError 503.
    """
    try:
        store = call.service.store
        if store is None or not bot.attempt:
            return 0
        service = call.service
        now = service.wall()
        await expect_mark(service.redis, service.keys, bot.bot_id, now)
        gone = await deletion.delete(store, bot.bot_id, now)
        await keep_mark(service.redis, service.keys, bot.bot_id, now)
        return gone
    except StoreError as error:
        raise store_away(error) from error


async def of_store(question: Awaitable[_T]) -> _T:
    try:
        return await question
    except (StoreError, ValueError) as error:
        raise store_away(error) from error


def store_away(error: Exception) -> ApiError:
    return later(503, f"The store of recordings does not answer as it should: {error}", _STORE_RETRY_S)


class WhichEvidence(msgspec.Struct):
    """The query of an evidence bundle."""

    attempt: Annotated[int, Meta(ge=1, le=1_000_000, description="Of which attempt; the latest without.")] | None = None


async def bundle(call: Call) -> Answer:
    """One attempt's evidence as a zip file (200). Raises: ApiError 403, 404."""
    bot, evidence = await find_bot(call), call.service.evidence
    query: WhichEvidence = call.query
    kept = await evidence.kept_of(bot)
    attempt = query.attempt or (kept[-1] if kept else 0)
    found = await evidence.bundle(bot.bot_id, attempt) if attempt in kept else None
    if found:
        return Answer(200, File("application/zip", f"{found.name}.zip", found.data))
    if bot.evidence:
        raise ApiError(404, f"It is not here: {bot.evidence} is on its way, is kept elsewhere, or its time is over.")
    raise ApiError(404, "There is none: evidence is only kept of what failed, and of probes.")


_NAMED: dict[Kind, str] = {"audio": "audio", "video": "video", "tracks": "sound track"}
NOT_READY = Message("Not ready: the meeting goes on, or the file is being made.")
_STORE_RETRY_S = 5.0

UNMADE = {
    202: Says("Not yet: the meeting goes on, or the file is being made.", Message),
    404: Says("There is no such bot, or its meeting was not recorded so."),
}

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
        "/bots/{bot_id}/evidence",
        "getEvidence",
        "What is kept of an attempt that failed: a zip file.",
        bundle,
        {200: Says("The bundle.", Message, "application/zip"), 404: Says("There is no such bot, or none of it.")},
        query=WhichEvidence,
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/get_audio",
        "getAudio",
        "The meeting's sound: where the file can be fetched.",
        audio,
        {
            200: Says("The address.", AudioLink),
            **UNMADE,
        },
        query=AudioForm,
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/get_audio_streams",
        "getAudioStreams",
        "Each participant's sound, where capture.tracks is on: where the files can be fetched.",
        audio_streams,
        {200: Says("The addresses.", AudioStreams), **UNMADE},
        query=WhichAttempt,
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/audio",
        "getAudioFile",
        "The meeting's sound: the file itself, an Ogg of Opus, or an M4A of AAC.",
        audio_file,
        {
            200: Says("The file, or the part of it that the request's Range asks for.", Message, "audio/ogg"),
            **UNMADE,
        },
        query=AudioForm,
        linked=True,
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/get_video",
        "getVideo",
        "The meeting's picture and sound: where the file can be fetched, and what is in it.",
        video,
        {200: Says("The address.", VideoLink), **UNMADE},
        query=WhichAttempt,
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/get_recording_streams",
        "getRecordingStreams",
        "The same as get_video: of a picture there is one file, which shows the meeting as the bot saw it.",
        video,
        {200: Says("The address.", VideoLink), **UNMADE},
        query=WhichAttempt,
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/video",
        "getVideoFile",
        "The meeting's picture and sound: the file itself, an MP4.",
        video_file,
        {
            200: Says("The file, or the part of it that the request's Range asks for.", Message, "video/mp4"),
            **UNMADE,
        },
        query=WhichAttempt,
        linked=True,
    ),
)
