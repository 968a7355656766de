"""A checked job, and the session record of the bot that it became: as structs, and as the hash that Redis holds.

The meaning of each field stands beside it; docs/redis-keys.md is generated from that.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple, get_args

import msgspec
from msgspec import NODEFAULT, Meta

from common.wire.messages import AutomaticLeave
from common.wire.vocabulary import DONE, RECORDING, BotState, OnWorkerLost, Status

Fields = dict[str, str | int]
"""Fields of a hash as they are sent to Redis."""

_FOUND_BY: Final = ("platform", "user_id", "calendar_event_id", "owner")


@lru_cache(maxsize=8)  # what is decided together is written with the same few times, several times each
def iso(at: float) -> str:
    """Epoch seconds as ISO 8601 in UTC with microseconds; of fixed length, so that text order is time order."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def epoch(text: str) -> float:
    """Epoch seconds of an ISO 8601 time. Raises: ValueError."""
    return datetime.fromisoformat(text).timestamp()


def _is(description: str) -> Meta:
    return Meta(description=description)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A checked job. Times: epoch seconds; durations: seconds."""

    bot_id: Annotated[str, _is("the bot's id: the client's own, or 32 hexadecimal digits")] = ""
    meeting_url: Annotated[
        str, _is("the meeting's link, tidied (docs/clients.md). Whoever has it can join: it is a secret")
    ]
    platform: Annotated[str, _is("which adapter joins it")]
    bot_name: Annotated[str, _is("what the bot is called in the meeting")]
    user_id: Annotated[str, _is("the client's own id of the user")] = ""
    calendar_event_id: Annotated[str, _is("the client's own id of the calendar event")] = ""
    join_at: Annotated[float | None, _is("when the bot is to join; empty: at once")] = None
    priority: Annotated[int, _is("higher goes first, -1000 to 1000")] = 0
    deduplication_key: Annotated[str, _is("as the client gave it")] = ""
    held_meeting: Annotated[
        str, _is("a digest of the meeting of which it is to be the only bot (`one_bot_per_meeting`), or empty")
    ] = ""
    automatic_leave: Annotated[AutomaticLeave, _is("JSON: the timeouts that differ from the defaults")] = (
        AutomaticLeave()
    )
    on_worker_lost: Annotated[
        OnWorkerLost | None, _is("what the job asked for: `end`, `rejoin`, or empty for `pool.on_worker_lost`")
    ] = None
    callback_url: Annotated[str, _is("where webhooks of this bot go; empty: nowhere. Often holds a key: a secret")] = ""
    custom_attributes: Annotated[str, _is("JSON object: the client's own, as it came")] = "{}"
    warnings: Annotated[
        tuple[str, ...], _is("JSON array: what of the job is taken and does not happen as it says, a sentence each")
    ] = ()
    owner: Annotated[str, _is("the API token that made the bot; empty for a job from Redis")] = ""
    queue_timeout_s: Annotated[
        float | None,
        _is("how long it may wait for its first worker, in seconds; empty: `pool.queue_timeout_s`"),
    ] = msgspec.field(name="queue_timeout", default=None)
    join_late_limit_s: Annotated[
        float | None,
        _is("how much later than `join_at` it may be sent in, in seconds; empty: `pool.join_late_limit_s`"),
    ] = msgspec.field(name="join_late_limit", default=None)
    bot_message: Annotated[str, _is("what the bot says in the chat once it is in the meeting")] = ""
    passcode: Annotated[str, _is("the meeting's passcode, typed where its page asks for one: a secret")] = ""
    is_probe: Annotated[bool, _is("1 for a bot that only looks whether it gets in (`poolmgr probe`)")] = msgspec.field(
        name="probe", default=False
    )
    no_audio: Annotated[bool, _is("1 for a bot whose meeting's sound is not recorded (`audio_required: false`)")] = (
        False
    )
    live_audio_url: Annotated[
        str, _is("where the meeting's sound goes while it runs (`live_audio_required`): a secret")
    ] = ""
    live_transcription_url: Annotated[
        str, _is("where what is said goes while the meeting runs (`live_transcription_required`): a secret")
    ] = ""
    transcript: Annotated[bool, _is("1 for a bot of whose meeting a transcript is to be kept")] = False
    speech_live: Annotated[
        str,
        _is(
            "who makes its transcript while the meeting runs: a provider, or only `meeting_captions`; empty: captions,"
            " or `transcription.live` where there are none"
        ),
    ] = ""
    speech_after: Annotated[
        str,
        _is(
            "the provider that is to transcribe its recording; `meeting_captions`: none; empty: none, or"
            " `transcription.after` where nothing was written down"
        ),
    ] = ""
    language: Annotated[str, _is("the language that its job names for that; empty: `transcription.language`")] = ""
    video: Annotated[bool, _is("1 for a bot whose meeting's picture is recorded, too (`video_required`)")] = False
    recording_hours: Annotated[
        float | None,
        _is("how long its recording is kept (`recording_config.retention`); empty: `retention.recording_s`"),
    ] = None
    requires: Annotated[dict[str, str], _is("JSON object: the labels that its VM has to have")] = {}
    traceparent: Annotated[
        str, _is("the span that its client gave it (W3C Trace Context), handed on to the status stream and webhooks")
    ] = ""
    payload: Annotated[str, _is("what the client pushed, as it was pushed. Holds the link")]

    @property
    def found_by(self) -> list[tuple[str, str]]:
        """The (field, value) pairs by which the bot is indexed, without empty ones."""
        pairs = [(name, value) for name in _FOUND_BY if (value := getattr(self, name))]
        if self.custom_attributes != "{}":
            attributes: dict[str, Any] = json.loads(self.custom_attributes)  # msgspec takes 50 times as long for 1e-308
            pairs += [("attribute", attribute(*item)) for item in attributes.items()]
        return pairs

    def to_hash(self) -> Fields:
        """The hash's fields that differ from BLANK."""
        values = zip(_PLANS[type(self)], msgspec.structs.astuple(self), strict=True)
        return {name: write(value) if write else value for (name, default, write), value in values if value != default}


def attribute(name: str, value: Any) -> str:
    """One of a bot's custom_attributes as it is indexed: equal JSON values are equal texts.

    Raises: UnicodeEncodeError for what is no text.
    """
    return f"{name}={msgspec.json.encode(value, order='sorted').decode()}"


class Record(Job, frozen=True, kw_only=True):
    """The job and what became of its bot. Times except `join_at` are ISO 8601; empty: it has not happened.

    States and reasons are plain text here, because another release may have written them.
    """

    state: Annotated[str, _is("the fine state (below)")]
    status: Annotated[str, _is("the outward status word (below)")]
    status_reason: Annotated[
        str, _is("ended: why, one word (below). Queued again: why the last attempt came to nothing")
    ] = ""
    reason_detail: Annotated[str, _is("a sentence for people, at most 500 characters")] = ""
    attribution: Annotated[str, _is("ended: whose doing it was (below)")] = ""
    created_at: Annotated[str, _is("when the manager accepted the job")]
    assigned_at: Annotated[str, _is("when this attempt was given to a worker")] = ""
    first_request_at: Annotated[str, _is("when the browser asked for the meeting page")] = ""
    joining_at: Annotated[str, _is("when the agent reported that it was on the page")] = ""
    waiting_room_at: Annotated[str, _is("when the bot asked to be let in")] = ""
    inmeeting_at: Annotated[str, _is("when the bot was in the meeting")] = ""
    leaving_at: Annotated[str, _is("when the bot began to leave")] = ""
    stopped_at: Annotated[str, _is("when the bot ended")] = ""
    vm_id: Annotated[str, _is("the VM of this attempt")] = ""
    worker_id: Annotated[str, _is("the worker of this attempt")] = ""
    attempt: Annotated[int, _is("the fencing number of the assignment: 0 before the first, grows by one with each")] = 0
    claimed: Annotated[str, _is("the attempt that an agent has claimed; written by the agent's claim script")] = ""
    claimed_at: Annotated[str, _is("when; written by the agent's claim script, by the agent's clock")] = ""
    screen: Annotated[str, _is("the screen that the page showed last")] = ""
    rule: Annotated[str, _is("the rule in screens.toml that recognised it")] = ""
    participants: Annotated[
        int | None,
        _is("how many are in the meeting, the bot included, by the last look; empty: its page does not tell"),
    ] = None
    audio_packets_received: Annotated[int, _is("RTP audio packets received in this meeting so far")] = 0
    audio_level: Annotated[
        float | None,
        _is("how loud the meeting was of late: root mean square, 0 to 1; empty: its page's media do not tell"),
    ] = None
    manifest_status: Annotated[
        str,
        _is(
            "of its recording: empty, `recording`, then `completed`, or `skipped` if nobody made files of it in time;"
            " `expired` when it was deleted because its time was over"
        ),
    ] = ""
    unmade_by: Annotated[str, _is("the VM that said last that it can make no files of its recording")] = ""
    unmade_why: Annotated[str, _is("why it cannot; empty once they are made")] = ""
    recorded_attempt: Annotated[int, _is("the latest attempt that was recorded")] = 0
    audio_status: Annotated[
        str, _is("of the meeting's sound: empty, `recording`, then `processed`, or `skipped` if there is none")
    ] = ""
    permission_reports: Annotated[
        int,
        _is(
            "how often its page said in this attempt that the meeting permits no recording, or permits it again: after"
            " an odd number it permits none"
        ),
    ] = 0
    live_audio_status: Annotated[str, _is("how the live sound fares (docs/live.md); empty: there is none")] = ""
    live_transcription_status: Annotated[str, _is("the same of what is said")] = ""
    transcript_status: Annotated[
        str,
        _is(
            "of the transcript: empty, `processing`, then `processed`, `skipped` if nothing was said or none was made"
            " in time, or `failed` if a provider did not make it"
        ),
    ] = ""
    transcribed_attempt: Annotated[int, _is("the latest attempt of which a transcript was begun")] = 0
    transcript_by: Annotated[str, _is("by whom the transcript was made: `meeting_captions`, or a provider")] = ""
    video_status: Annotated[str, _is("the same of its picture")] = ""
    recording_at: Annotated[str, _is("when the recording of its meeting began")] = ""
    files_at: Annotated[str, _is("when the files of its recording were there")] = ""
    transcribed_at: Annotated[str, _is("when its transcript was there")] = ""
    expired_at: Annotated[str, _is("when what was kept of its meeting was deleted: its time was over")] = ""
    awaited_since: Annotated[
        str,
        _is(
            "since when an ended bot's files or transcript are waited for: its end, or when the manager read of it if"
            " the clock of its VM is behind, or if its VM was cut off"
        ),
    ] = ""
    done_at: Annotated[
        str, _is("when it had ended, and neither files of its recording nor its transcript were waited for any more")
    ] = ""
    active_speaker: Annotated[str, _is("who spoke at the last report, by the name that the page showed")] = ""
    failure: Annotated[str, _is("while it is sent in again: the most telling reason of its failed attempts")] = ""
    failure_detail: Annotated[str, _is("what is known of that")] = ""
    failed_attempts: Annotated[int, _is("attempts that came to nothing and count against `pool.max_attempts`")] = 0
    evidence: Annotated[
        str, _is("the names of what is kept of its failed attempts (docs/evidence.md), with spaces between")
    ] = ""
    transcript_webhook_received: Annotated[
        bool,
        _is("1 once the receiver of its webhooks has taken `transcription.processed`, or a live transcript"),
    ] = False
    audio_webhook_received: Annotated[bool, _is("1 once it has taken `audio.processed`")] = False
    leave_requested: Annotated[bool, _is("1 once somebody asked the bot to leave")] = False
    paused: Annotated[bool, _is("1 while somebody has paused its recording, in whichever attempt")] = False
    seq: Annotated[int, _is("the order of acceptance")] = 0

    @classmethod
    def from_hash(cls, fields: Mapping[str, str], *, strict: bool = False) -> "Record":
        """The record in a hash, or in a part of one. Missing fields get their defaults; unknown fields are ignored.

        A field that cannot be read gets its default, too. Raises: ValueError for such a field if `strict`.
        """
        said: dict[str, Any] = dict.fromkeys(_REQUIRED, "")
        for name, text in fields.items():
            if (form := _FORMS.get(name)) is None:
                continue
            if form.read is None:
                said[form.attribute] = text
            elif text:
                try:
                    said[form.attribute] = form.read(text)
                except ValueError:
                    if strict:
                        raise
        return cls(**said)

    def texts(self) -> dict[str, str]:
        """Every field by its name in Redis, as text. The payload and the agents' fields are left out while they
        are empty.
        """
        values = zip(_PLANS[Record], msgspec.structs.astuple(self), strict=True)
        texts = {name: str(write(value) if write else value) for (name, _, write), value in values}
        return {name: text for name, text in texts.items() if text or name not in _LEFT_OUT}

    @property
    def is_over(self) -> bool:
        return self.state == BotState.STOPPED

    @property
    def shown_status(self) -> str:
        """Its status word for clients. An end that is not Stopped keeps its word, which says more than Done."""
        is_recorded = self.manifest_status == "recording" and self.recorded_attempt == self.attempt
        if self.status == Status.IN_MEETING and is_recorded:
            return RECORDING
        return DONE if self.status == Status.STOPPED and self.done_at else self.status

    @property
    def has_transcript(self) -> bool:
        """Whether the bot has a transcript. It is deleted together with the recording."""
        return self.transcript_status == "processed" and self.manifest_status != "expired"

    @property
    def job(self) -> Job:
        return Job(**{name: getattr(self, name) for name in Job.__struct_fields__})


class _Form(NamedTuple):
    """A field and its hash field. `write`, `read`: convert the value for Redis and back; None: no conversion."""

    name: str
    attribute: str
    default: Any
    write: Callable[[Any], str | int] | None
    read: Callable[[str], Any] | None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _reader(kind: Any) -> Callable[[str], Any]:
    return msgspec.json.Decoder(kind).decode


_BY_TYPE: Final[dict[Any, tuple[Callable[[Any], str | int] | None, Callable[[str], Any] | None]]] = {
    str: (None, None),
    int: (None, int),
    int | None: (lambda value: "" if value is None else value, int),
    bool: (int, lambda text: text == "1"),
    float | None: (lambda value: "" if value is None else f"{value:g}", float),
    OnWorkerLost | None: (lambda value: value or "", OnWorkerLost),
    AutomaticLeave: (_json, _reader(AutomaticLeave)),
    tuple[str, ...]: (_json, _reader(tuple[str, ...])),
    dict[str, str]: (_json, _reader(dict[str, str])),
}


def _moment(at: float | None) -> str:
    return "" if at is None else iso(at)


def _forms() -> dict[str, _Form]:
    return {
        field.encode_name: _Form(
            field.encode_name,
            field.name,
            field.default if field.default_factory is NODEFAULT else field.default_factory(),
            *((_moment, epoch) if field.name == "join_at" else _BY_TYPE[get_args(field.type)[0]]),
        )
        for field in msgspec.structs.fields(Record)
    }


_FORMS: Final = _forms()
_PLANS: Final = {
    kind: tuple(_FORMS[name][:1] + _FORMS[name][2:4] for name in kind.__struct_encode_fields__)
    for kind in (Job, Record)
}
"""(name, default, write) of each field in the struct's order. Precomputed, because there are many jobs."""
_REQUIRED: Final = tuple(form.attribute for form in _FORMS.values() if form.default is NODEFAULT)
_LATER: Final = ("claimed", "claimed_at", "screen", "rule")
_LEFT_OUT: Final = frozenset({*_LATER, "payload"})

BLANK: Final[Fields] = {
    form.name: form.default if form.write is None else form.write(form.default)
    for form in _FORMS.values()
    if form.default is not NODEFAULT and form.name not in _LATER
}
"""The fields of an empty record. The scripts contain them (scripts.py), so only fields that differ are sent."""

STANDING: Final[Fields] = {
    name: BLANK[name]
    for name in (
        *("user_id", "calendar_event_id", "status_reason", "vm_id", "worker_id", "attempt"),
        *("assigned_at", "joining_at", "inmeeting_at", "stopped_at"),
        *("transcript_webhook_received", "audio_webhook_received"),
    )
}
"""Those of them that stand in every record from the start, because other programs may count on them. The others come
with the first thing that they say: most bots need a third of them, and a field costs Redis time and memory.
"""
