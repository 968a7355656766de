"""The fields of a job that this release reads, with types and limits. The list of jobs and the API check them by this.

A new option of a job is a field here, its value in job.py, and a field of common.jobs.record.Job.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from common.wire.labels import MOST_LABELS, LabelName, LabelValue
from common.wire.messages import MOST_MESSAGE_CHARS
from common.wire.vocabulary import OnWorkerLost

DEFAULT_NAME: Final = "Notetaker"
MAX_ATTRIBUTES: Final = 50
"""How many custom_attributes a bot may have. Each is an index entry by which bots can be found."""
FARTHEST_S: Final = 366 * 86400.0
"""In seconds: how far ahead a bot can be scheduled, and how long a job may let it wait for a worker."""

Url = Annotated[str, Meta(min_length=1, max_length=4096)]
ShortText = Annotated[str, Meta(max_length=256)]
Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
LeaveSeconds = Annotated[int, Meta(ge=1, le=7 * 86400)]
Attributes = Annotated[
    dict[str, Any],
    Meta(max_length=MAX_ATTRIBUTES, description="Yours: echoed everywhere, and bots are found by them."),
]
Name = Annotated[str, Meta(min_length=1, max_length=100, description="What the bot is called in the meeting.")]


class NameDetection(msgspec.Struct):
    """Participants are bots if their names contain one of `matches`, in any case, as whole words (`whole_words` true)
    or anywhere.
    """

    matches: Annotated[list[Annotated[str, Meta(max_length=256)]], Meta(max_length=100)] | None = None
    activate_after: LeaveSeconds | None = None
    timeout: LeaveSeconds | None = None
    whole_words: bool | None = None


class BotDetection(msgspec.Struct):
    using_participant_names: NameDetection | None = None


class AutomaticLeaveFields(msgspec.Struct):
    """After how long the bot leaves by itself. All in seconds, from 1 to 604800 (7 days)."""

    waiting_room_timeout: LeaveSeconds | None = None
    everyone_left_timeout: LeaveSeconds | None = None
    noone_joined_timeout: LeaveSeconds | None = None
    no_one_joined_timeout: LeaveSeconds | None = None
    voice_inactivity_timeout: LeaveSeconds | None = None
    in_call_recording_timeout: LeaveSeconds | None = None
    recording_permission_denied_timeout: LeaveSeconds | None = None
    bot_detection: BotDetection | None = None


class Socket(msgspec.Struct):
    websocket_url: Url


class LiveTranscription(msgspec.Struct):
    webhook_url: Url


class JobFields(msgspec.Struct):
    """`meeting_link` (or `meeting_url`) is required. Other fields than these are kept and ignored."""

    meeting_link: str | None = None
    meeting_url: str | None = None
    bot_name: Name = DEFAULT_NAME
    bot_id: str | None = None
    user_id: ShortText | Number | None = None
    calendar_event_id: Annotated[str, Meta(max_length=1024)] | None = None
    join_at: str | None = None
    callback_url: Annotated[str, Meta(max_length=4096, description="Where the bot's webhooks go.")] | None = None
    custom_attributes: Attributes | None = None
    queue_timeout: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=FARTHEST_S,
                description="Seconds to wait for a free worker; 0: answer 503 if there is none now.",
            ),
        ]
        | None
    ) = None
    join_late_limit: (
        Annotated[
            float,
            Meta(
                ge=1,
                le=FARTHEST_S,
                description="Seconds after join_at within which it is to be sent in; else it ends as missed_start.",
            ),
        ]
        | None
    ) = None
    bot_message: (
        Annotated[str, Meta(max_length=MOST_MESSAGE_CHARS, description="Said in the chat once the bot is in.")] | None
    ) = None
    priority: Annotated[int, Meta(ge=-1000, le=1000, description="Higher goes first.")] = 0
    deduplication_key: Annotated[str, Meta(min_length=1, max_length=2000)] | None = None
    automatic_leave: AutomaticLeaveFields | None = None
    on_worker_lost: OnWorkerLost | None = None
    passcode: (
        Annotated[ShortText, Meta(description="The meeting's passcode, typed where its page asks for one.")] | None
    ) = None
    requires: Annotated[
        dict[LabelName, LabelValue],
        Meta(max_length=MOST_LABELS, description="Labels that its VM has to have: it waits for one that has them all."),
    ] = {}
    traceparent: (
        Annotated[
            str,
            Meta(
                max_length=512,
                description="The span that the bot belongs to, as in the header of that name (W3C Trace Context).",
            ),
        ]
        | None
    ) = None
    probe: Annotated[bool, Meta(description="Only look whether the bot gets in: once it is, it leaves.")] = False
    one_bot_per_meeting: (
        Annotated[bool, Meta(description="While a bot of such a job is in the meeting, no second is made.")] | None
    ) = None
    audio_required: bool | None = None
    live_audio_required: Annotated[Socket, Meta(description="Where the meeting's sound goes while it runs.")] | None = (
        None
    )
    live_transcription_required: (
        Annotated[LiveTranscription, Meta(description="Where what is said goes while the meeting runs.")] | None
    ) = None
