"""The JSON of requests and answers, as the published clients expect it. Field names and odd capitals are theirs.

A request may have further fields. They are kept with the bot and ignored.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from common.jobs.fields import JobFields, Socket, Url
from common.jobs.job import BOT_ID
from common.links.links import MAX_TEXT_LENGTH
from common.wire.messages import MOST_MESSAGE_CHARS

AnyObject = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]
"""Any JSON object; it is answered as it was sent."""

Printable = Annotated[str, Meta(min_length=1, max_length=2000, pattern=r"^[\x20-\x7e]+$")]


# In: create_bot


class Retention(msgspec.Struct):
    """How long a recording is kept, in hours. Kept with the job and ignored."""

    type: Literal["timed"] | None = None
    hours: Annotated[int, Meta(ge=1, le=87600)] | None = None


class TranscriptWish(msgspec.Struct):
    """`provider`: an object with exactly one key, the provider's name; its value is that provider's configuration."""

    provider: Annotated[dict[str, Any], Meta(min_length=1, max_length=1)] | None = None


class RealtimeEndpoint(msgspec.Struct):
    """Where events are to be sent while the meeting runs. Kept with the job and ignored."""

    type: Annotated[str, Meta(max_length=64)] | None = None
    url: Url | None = None
    events: Annotated[list[Annotated[str, Meta(max_length=128)]], Meta(max_length=100)] | None = None


class RecordingConfig(msgspec.Struct):
    """How to record. Kept with the job and ignored."""

    retention: Retention | None = None
    transcript: TranscriptWish | None = None
    realtime_endpoints: Annotated[list[RealtimeEndpoint], Meta(max_length=16)] | None = None
    video_layout: Literal["speaker_view", "grid_view"] | None = None
    audio_separate_streams: bool | None = None
    video_separate_streams: bool | None = None


class ZoomTokens(msgspec.Struct, forbid_unknown_fields=True):
    """Exactly one of the two is set: the address from which the bot fetches a token for the meeting."""

    zak_url: Url | None = None
    obf_url: Url | None = None


class SignIn(msgspec.Struct):
    """How the bot is to sign in. Kept with the job and ignored."""

    login_required: bool | None = None
    google_login_domain: Annotated[str, Meta(max_length=253)] | None = None
    teams_login_domain: Annotated[str, Meta(max_length=253)] | None = None
    sign_in_email: Annotated[str, Meta(max_length=254)] | None = None
    strict_email: bool | None = None


class CreateBot(JobFields):
    """A job over HTTP: `meeting_link` (or `meeting_url`) is required. Some fields are checked more strictly than on the
    list; those that a JobFields lacks are only kept.
    """

    meeting_link: (
        Annotated[
            str, Meta(max_length=MAX_TEXT_LENGTH, description="The meeting's link, or an invitation with it inside.")
        ]
        | None
    ) = None
    meeting_url: Annotated[str, Meta(max_length=MAX_TEXT_LENGTH, description="The same as meeting_link.")] | None = None
    bot_id: (
        Annotated[str, Meta(pattern=f"^{BOT_ID.pattern}$", description="The id to have; a random one if left out.")]
        | None
    ) = None
    join_at: (
        Annotated[str, Meta(max_length=64, description="ISO 8601; without an offset it is UTC. Default: now.")] | None
    ) = None
    deduplication_key: Annotated[Printable, Meta(description="A second bot with the same key is not made.")] | None = (
        None
    )
    bot_image_url: Annotated[str, Meta(max_length=4096)] | None = None
    video_required: bool | None = None
    audio_separate_streams: bool | None = None
    video_separate_streams: bool | None = None
    agent_config_id: Annotated[str, Meta(max_length=256)] | None = None
    workflow_config_ids: Annotated[list[Annotated[str, Meta(max_length=256)]], Meta(max_length=100)] | None = None
    socket_connection_url: Socket | Url | None = None
    live_video_required: Socket | None = None
    recording_config: RecordingConfig | None = None
    transcription: dict[str, Any] | None = None
    zoom: ZoomTokens | None = None
    google_meet: SignIn | None = None
    teams: SignIn | None = None


# Out: bots


class Created(msgspec.Struct):
    """The created bot. `warnings`: one sentence for each thing that the request does not get as asked."""

    bot_id: str
    transcript_id: str | None
    meeting_url: str
    status: str
    warnings: tuple[str, ...] = ()


class Replayed(msgspec.Struct):
    """The request was sent before; this is the bot that it made."""

    message: str
    bot_id: str
    transcript_id: str | None
    meeting_url: str
    status: str
    warnings: tuple[str, ...] = ()


class StatusOf(msgspec.Struct):
    """`status`: the outward status word."""

    bot_id: str
    status: str
    custom_attributes: AnyObject
    warnings: list[str]


class Stage(msgspec.Struct):
    """`status`: whether the bot reached this stage. `timestamp`: when, ISO 8601."""

    message: str
    status: bool
    timestamp: str | None


class CaptionFile(msgspec.Struct):
    """Whether there is a file of captions: never in this release."""

    available: bool


class Details(msgspec.Struct):
    """Everything about a bot. Times are ISO 8601, `Duration` seconds in the meeting, `LastUpdatedAt` epoch seconds."""

    BotID: str
    BotUsername: str
    BotMessage: str
    BotImageURL: str
    BotProfile: str
    CreatedAt: str
    StartTime: str | None
    EndTime: str | None
    Duration: int
    LastUpdatedAt: int
    ManifestStatus: str
    AudioStatus: str
    TranscriptStatus: str
    MeetingLink: str
    NativeSTT: bool
    OfferingType: str
    Platform: str
    Status: str
    StatusCreatedAt: str
    Reason: str
    ReasonDetail: str
    Attribution: str
    ErrorReason: str
    UserID: str
    CalendarEventID: str
    JoinAt: str | None
    RequestPayload: AnyObject
    StatusTimeline: dict[str, Stage]
    custom_attributes: AnyObject
    caption_file: CaptionFile
    transcript_id: str | None
    participant_events: list[dict[str, Any]]
    warnings: list[str]
    live_audio_status: str
    live_transcription_status: str
    paused: Annotated[bool, Meta(description="Somebody has paused its recording, in whichever attempt.")]
    transcript_webhook_received: bool
    audio_webhook_received: bool


class DetailsOf(msgspec.Struct):
    """The detail of one bot."""

    bot_details: Details


class BotRow(msgspec.Struct):
    """A bot in a list. `BotID`, `BotUsername` and so on say the same as in its detail."""

    bot_id: str
    bot_name: str
    status: str
    platform: str
    meeting_url: str
    created_at: str
    join_at: str | None
    user_id: str
    calendar_event_id: str
    reason: str
    custom_attributes: AnyObject
    BotID: str
    BotUsername: str
    Status: str
    Platform: str
    MeetingLink: str
    CreatedAt: str
    StartTime: str | None
    EndTime: str | None
    Duration: int


class BotsPage(msgspec.Struct, rename="camel"):
    """A page of bots. `next_cursor`: for the next page; None: this is the last one."""

    bots: list[BotRow]
    has_next_page: bool
    next_cursor: str | None


class Deleted(msgspec.Struct):
    """What was deleted: `deleted_objects` counts keys, index entries and files."""

    message: str
    bot_id: str
    deleted_objects: int


class Accepted(msgspec.Struct):
    """The command was passed on to the bot."""

    status: str
    bot_id: str
    command: str


# In and out: in the meeting


class MessageMetadata(msgspec.Struct):
    """Facts about a message. Accepted and ignored."""

    message_type: str | None = None


class SendMessage(msgspec.Struct):
    """A message for the meeting's chat."""

    message: Annotated[str, Meta(min_length=1, max_length=MOST_MESSAGE_CHARS)]
    metadata: MessageMetadata | None = None


class SendImage(msgspec.Struct):
    """An image to show in the meeting. `display_duration`: seconds."""

    img_url: Url
    display_duration: Annotated[int, Meta(ge=1, le=86400)] | None = None
    metadata: MessageMetadata | None = None


class Participant(msgspec.Struct, rename="camel"):
    """`status` 1 and "in_meeting" while there, 0 and "left" afterwards."""

    device_id: str
    display_name: str
    full_name: str
    profile_picture: str | None
    status: int
    humanized_status: str = msgspec.field(name="humanized_status")
    stream_ids: list[str]
    last_updated: str


class ChatSession(msgspec.Struct, rename="camel"):
    """Numbers of a chat. Times are ISO 8601."""

    session_id: str
    start_time: str | None
    last_updated: str | None
    total_messages: int
    unique_speakers: int
    bot_id: str
    meeting_id: str


class ChatSpeaker(msgspec.Struct, rename="camel"):
    """Somebody who wrote in the chat."""

    device_id: str
    name: str
    display_name: str
    message_count: int


class ChatMessage(msgspec.Struct, rename="camel"):
    """A message of the chat. All times are ISO 8601, and the same: when the bot saw it."""

    message_id: str
    device_id: str
    timestamp: str
    text: str
    speaker_name: str
    speaker_display_name: str
    client_timestamp: str
    session_timestamp: str


class ChatServer(msgspec.Struct, rename="camel"):
    """Which bot read the chat, and when it last did (ISO 8601)."""

    saved_at: str | None
    server_bot_id: str
    server_meeting_id: str
    server_version: str


class Chats(msgspec.Struct, rename="camel"):
    """A meeting's chat, in order and by sender."""

    metadata: ChatSession
    speakers: list[ChatSpeaker]
    chat_messages: list[ChatMessage]
    messages_by_speaker: dict[str, list[ChatMessage]]
    server_metadata: ChatServer


# Transcripts


class Transcribe(msgspec.Struct):
    """The provider that is to transcribe a recording, of which attempt, and a further address for the webhook about it,
    besides callback_url.
    """

    provider: (
        Annotated[
            dict[str, Any],
            Meta(min_length=1, max_length=1, description="One key, the provider's name. Default: that of the fleet."),
        ]
        | None
    ) = None
    callback_url: Url | None = None
    attempt: (
        Annotated[
            int,
            Meta(ge=1, le=1_000_000, description="Of which attempt's recording; without: of the latest that has one."),
        ]
        | None
    ) = None


class Transcribing(msgspec.Struct):
    """A transcript is being made; `transcript_id` names it."""

    bot_id: str
    transcript_id: str
    provider: str
    message: str


class Transcriptions(msgspec.Struct):
    """The transcripts of a bot, in the order in which they were asked for."""

    bot_id: str
    transcriptions: list[dict[str, Any]]


# Scheduled


class ScheduledBot(msgspec.Struct):
    """A bot that waits. `scheduled_join_time`: ISO 8601."""

    bot_id: str
    platform: str
    status: str
    scheduled_join_time: str
    bot_username: str
    meeting_link: str
    custom_attributes: AnyObject


class ScheduledBots(msgspec.Struct):
    """The bots that wait for their time."""

    scheduled_bots: list[ScheduledBot]


class NewTime(msgspec.Struct):
    """The new time of a scheduled bot."""

    scheduled_join_time: Annotated[str, Meta(max_length=64, description="ISO 8601; without an offset it is UTC.")]


class Moved(msgspec.Struct):
    """A scheduled bot has its new time."""

    message: str
    bot_id: str
    updated_fields: list[str]
    schedule_updated: bool


class Unscheduled(msgspec.Struct):
    """A scheduled bot will not join."""

    message: str
    bot_id: str
