"""Checks what a client pushed: bytes in, a Job or an error with one reason out."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from itertools import accumulate
from typing import Annotated, Any, Final, Literal, TypeVar, cast

import msgspec
from msgspec import Meta

from common.config.settings import ApiSettings, Settings, WorkerSettings
from common.errors import PoolmgrError
from common.jobs.fields import FARTHEST_S, AutomaticLeaveFields, BotDetection, JobFields, NameDetection
from common.jobs.outgoing import BadUrlError, OutgoingRules, check_url
from common.jobs.record import Job
from common.jobs.warnings import LIVE, Said, provider_of, warnings
from common.links.links import BadLinkError, MeetingLink, recognise
from common.wire import trace
from common.wire.messages import AutomaticLeave, BotNames
from common.wire.minutes import CAPTIONS
from common.wire.text import is_text

MAX_JOB_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 64
BOT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LONGEST_TIME: Final = 64
_NO_TIME: Final = "is not an ISO 8601 time such as 2030-01-31T09:00:00Z"
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_QUOTED: Final = re.compile(r"""(?<=enum value) (['"]).*\1""", re.DOTALL)
_JOINERS: Final = "\u200c\u200d"
"""Zero-width non-joiner and joiner. Names in Persian and Hindi, and many emoji, need them."""
_GOT_A_FLOAT: Final = "got `float`"

_T = TypeVar("_T")


class BadJobError(PoolmgrError, ValueError):
    """The payload is no valid job. `reason`: one word of a closed set. The message says what to change."""

    def __init__(self, reason: str, message: str, bot_id: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.bot_id = bot_id


class RetentionFields(msgspec.Struct):
    """`type`: `timed`, the only one there is."""

    type: Literal["timed"] | None = None
    hours: Annotated[float, Meta(gt=0, le=87_600)] | None = None


class RecordingFields(msgspec.Struct):
    """The fields of `recording_config` that this release reads."""

    retention: RetentionFields | None = None


class _Fields(JobFields):
    """A job on the list. `owner`: the token that created it; the API sets it."""

    owner: Annotated[str, Meta(max_length=63)] = ""
    video_required: bool | None = None
    recording_config: RecordingFields | None = None


class JobRules(msgspec.Struct, frozen=True):
    """The settings that a job is checked by: further hosts of meetings, and where its webhooks may go.

    `session_limit_s`: how long any bot may stay. `strict`: a job that would get a warning is refused.
    `one_bot_per_meeting`: for jobs that do not say. `records`: there is a store for recordings. `records_video`: the
    picture is recorded, too, if a job wants it. `video_unsaid`: jobs of the HTTP API that do not say want it.
    `providers`: the offered providers of speech to text.
    """

    room_hosts: frozenset[str] = frozenset()
    jitsi_hosts: frozenset[str] = frozenset()
    outgoing: OutgoingRules = OutgoingRules()
    other_hosts: Mapping[str, Collection[str]] = {}
    guess_hosts: bool = True
    session_limit_s: float = WorkerSettings().session_limit_s
    strict: bool = False
    one_bot_per_meeting: bool = False
    records: bool = True
    records_video: bool = True
    video_unsaid: bool = ApiSettings().video_required
    providers: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> "JobRules":
        meetings = settings.meetings
        return cls(
            frozenset(meetings.room_hosts),
            frozenset(meetings.jitsi_hosts),
            OutgoingRules.of(settings.webhooks),
            meetings.other_hosts,
            meetings.guess_hosts,
            settings.worker.session_limit_s,
            meetings.strict,
            settings.pool.one_bot_per_meeting,
            bool(settings.capture.store),
            bool(settings.capture.store) and settings.capture.video != "off",
            settings.api.video_required,
            settings.transcription.offered,
        )


def parse_job(payload: bytes, now: float, rules: JobRules) -> Job:
    """The job that `payload` describes. `now`: wall clock, epoch seconds.

    Raises: BadJobError with a reason word (`too_large`, `not_utf8`, `not_json`, `not_an_object`, `no_link`,
    `bad_link`, `bad_field`, `warned`) and, where the payload named a usable one, the bot_id.
    """
    document = _read_object(payload)
    bot_id = _bot_id(document)
    try:
        fields = typed(document, _Fields)
    except msgspec.ValidationError as error:
        raise BadJobError("bad_field", fault_of(error), bot_id) from error
    text = fields.meeting_link or fields.meeting_url
    if not text:
        raise BadJobError("no_link", "meeting_link is required.", bot_id)
    try:
        link = recognise(text, rules.room_hosts, rules.jitsi_hosts, rules.other_hosts, guess_hosts=rules.guess_hosts)
    except BadLinkError as error:
        raise BadJobError("bad_link", f"meeting_link: {error}", bot_id) from error
    name = fields.bot_name
    if not name.isprintable():
        name = "".join(character for character in name if character.isprintable() or character in _JOINERS)
    name = name.strip(f" {_JOINERS}")
    if not name:
        raise BadJobError("bad_field", "bot_name: has no printable character", bot_id)
    if fields.passcode and not fields.passcode.isprintable():
        raise BadJobError("bad_field", "passcode: holds a character that nobody can type", bot_id)
    sound, words = fields.live_audio_required, fields.live_transcription_required
    audio_url, transcription_url = sound.websocket_url if sound else "", words.webhook_url if words else ""
    _check_urls(fields.callback_url or "", audio_url, transcription_url, rules.outgoing, bot_id)
    try:
        attributes = _written(fields.custom_attributes) if fields.custom_attributes else "{}"
    except ValueError as error:
        raise BadJobError("bad_field", "custom_attributes: a number in it is too large", bot_id) from error
    leave = _automatic_leave(fields.automatic_leave)
    capture = (rules.records, rules.records_video)
    found = warnings(
        Said(document, link.platform, name, leave, link.guessed, rules.session_limit_s, *capture, rules.providers)
    )
    provider = provider_of(document)
    live, after = _speech(provider.name, rules, is_live=bool(transcription_url))
    if found and rules.strict:
        raise BadJobError("warned", "; ".join(found), bot_id)
    alone = rules.one_bot_per_meeting if fields.one_bot_per_meeting is None else fields.one_bot_per_meeting
    return Job(
        platform=link.platform,
        meeting_url=link.url,
        bot_name=name,
        payload=payload.decode(),
        traceparent=_traceparent(fields.traceparent),
        bot_id=bot_id,
        user_id="" if fields.user_id is None else str(fields.user_id),
        calendar_event_id=fields.calendar_event_id or "",
        join_at=_join_at(fields.join_at, now, bot_id),
        priority=fields.priority,
        deduplication_key=fields.deduplication_key or "",
        automatic_leave=leave,
        on_worker_lost=fields.on_worker_lost,
        callback_url=fields.callback_url or "",
        custom_attributes=attributes,
        owner=fields.owner,
        queue_timeout_s=fields.queue_timeout,
        join_late_limit_s=fields.join_late_limit,
        bot_message=fields.bot_message or "",
        passcode=fields.passcode or "",
        is_probe=fields.probe,
        no_audio=fields.audio_required is False,
        live_audio_url=audio_url,
        live_transcription_url=transcription_url,
        transcript=rules.records and (bool(transcription_url) or bool(provider.name)),
        speech_live=live,
        speech_after=after,
        language=provider.language,
        video=_wants_video(fields, rules),
        recording_hours=_hours(fields.recording_config),
        requires=fields.requires,
        warnings=found,
        held_meeting=_digest(link) if alone and not fields.probe else "",
    )


_written: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _check_urls(callback: str, sound: str, words: str, rules: OutgoingRules, bot_id: str) -> None:
    """Raises: BadJobError that names the field."""
    urls: tuple[tuple[str, str, Literal["http", "ws"]], ...] = (
        ("callback_url", callback, "http"),
        ("live_transcription_required.webhook_url", words, "http"),
        ("live_audio_required.websocket_url", sound, "ws"),
    )
    for name, url, scheme in urls:
        if url:
            try:
                check_url(url, rules, scheme)
            except BadUrlError as error:
                raise BadJobError("bad_field", f"{name}: {error}", bot_id) from error


def _speech(name: str, rules: JobRules, *, is_live: bool) -> tuple[str, str]:
    """The providers for the live transcript and for the one afterwards, for a job that names `name`. `is_live`: the job
    has a live transcript. If a job names captions, or a provider for afterwards, no other provider listens.
    """
    if name == CAPTIONS:
        return CAPTIONS, CAPTIONS
    if name not in rules.providers:
        return "", ""
    if name in LIVE:
        return name, ""
    if not rules.records:
        return "", ""
    return "" if is_live else CAPTIONS, name


def _wants_video(fields: _Fields, rules: JobRules) -> bool:
    """Whether the picture is wanted. If a job of the HTTP API does not say, `rules.video_unsaid` counts; only those
    jobs have an owner.
    """
    if fields.video_required is None:
        return bool(fields.owner) and rules.video_unsaid and rules.records_video
    return fields.video_required


def _traceparent(text: str | None) -> str:
    """The header as it was sent; empty if it cannot be read, because the specification says to ignore such a header."""
    return text.strip() if text and trace.read(text) else ""


def _hours(config: RecordingFields | None) -> float | None:
    return config.retention.hours if config and config.retention else None


def _digest(link: MeetingLink) -> str:
    """A hash of the meeting's identity, which on some platforms is the whole link."""
    return hashlib.sha256(f"{link.platform} {link.identity}".encode()).hexdigest()[:32]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("an object names the same key twice")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_decode: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant).decode


def _read_object(payload: bytes) -> dict[str, Any]:
    if len(payload) > MAX_JOB_BYTES:
        raise BadJobError("too_large", f"the job is {len(payload)} bytes; at most {MAX_JOB_BYTES} are taken")
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadJobError("not_utf8", f"byte {error.start} is not UTF-8") from error
    if text.startswith("\ufeff"):
        raise BadJobError("not_json", "the job begins with a byte order mark: send UTF-8 without one")
    try:
        # The standard library's parser, because only its hooks can refuse NaN and duplicate keys.
        document = _decode(text)
    except RecursionError as error:
        raise BadJobError("not_json", _TOO_DEEP) from error
    except ValueError as error:
        raise BadJobError("not_json", f"not JSON: {error}") from error
    if _depth(text) > MAX_DEPTH:
        raise BadJobError("not_json", _TOO_DEEP)
    if "\\" in text and "\\ud" in text.lower() and not is_text(json.dumps(document, ensure_ascii=False)):
        raise BadJobError("not_json", "a string holds half a surrogate pair, which is no character")
    if not isinstance(document, dict):
        raise BadJobError("not_an_object", f"the job is a JSON {type(document).__name__}, not an object")
    return document  # pyright: ignore[reportUnknownVariableType]  # a JSON object's values are anything


_TOO_DEEP: Final = f"the JSON is nested deeper than {MAX_DEPTH} levels"
_STEPS: Final = bytes({"[": 1, "{": 1, "]": 255, "}": 255}.get(chr(byte), 0) for byte in range(256))
_NO_STEPS: Final = bytes(byte for byte in range(256) if not _STEPS[byte])


def _depth(text: str) -> int:
    """An upper bound of how deep arrays and objects nest in a JSON document."""
    few = text.count("[") + text.count("{")
    if few <= MAX_DEPTH:
        return few
    steps = _STRING.sub("", text).encode(errors="replace").translate(_STEPS, _NO_STEPS)
    return max(accumulate(memoryview(steps).cast("b")))


def _bot_id(document: dict[str, Any]) -> str:
    value = document.get("bot_id")
    if value is None:
        return ""
    if not isinstance(value, str) or not BOT_ID.fullmatch(value):
        raise BadJobError("bad_field", "bot_id: must be 1 to 128 letters, digits, dots, dashes or underscores")
    return value


def typed(document: Any, kind: type[_T]) -> _T:
    """The JSON `document` as a struct. 1.0 counts as an integer, as in JSON. custom_attributes stay as they were sent.

    Raises: msgspec.ValidationError.
    """
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        if _GOT_A_FLOAT not in str(error):
            raise
        return msgspec.convert(_whole(document), kind)


def typed_json(body: bytes, kind: type[_T]) -> _T:
    """Like `typed`, for a JSON text. Raises: msgspec.DecodeError, RecursionError, UnicodeDecodeError."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        if _GOT_A_FLOAT not in str(error):
            raise
        return typed(msgspec.json.decode(body), kind)


def _whole(value: Any) -> Any:
    """The value with whole floats as int."""
    if isinstance(value, dict):
        members = cast(dict[str, Any], value).items()
        return {name: member if name == "custom_attributes" else _whole(member) for name, member in members}
    if isinstance(value, list):
        return [_whole(item) if isinstance(item, (float, list, dict)) else item for item in cast(list[Any], value)]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def fault_of(error: msgspec.MsgspecError) -> str:
    """`Expected `int`, got `str` - at `$.priority`` -> `priority: expected `int`, got `str``. The value is left out:
    it may be a secret, and the message is logged.
    """
    message, _, path = _QUOTED.sub("", str(error)).partition(" - at `")
    field = path.rstrip("`").removeprefix("key in ").removeprefix("$").lstrip(".")
    words = f"{message[0].lower()}{message[1:]}"
    return f"{field}: {words}" if field else words


def _join_at(text: str | None, now: float, bot_id: str) -> float | None:
    if text is None or not text.strip():
        return None
    try:
        return moment_of(text, now)
    except ValueError as error:
        raise BadJobError("bad_field", f"join_at: {error}", bot_id) from error


def moment_of(text: str, now: float) -> float:
    """The time at which a bot is to join, in epoch seconds. A time without an offset is UTC.

    Raises: ValueError, which says what is wrong.
    """
    text = text.strip()
    if len(text) > _LONGEST_TIME:
        raise ValueError(_NO_TIME)
    is_small = text.endswith("z") and text[-2:-1].isdigit()  # Python does not read a lower-case z
    try:
        moment = datetime.fromisoformat(f"{text[:-1]}Z" if is_small else text)
    except ValueError as error:
        raise ValueError(_NO_TIME) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    at = moment.timestamp()
    if at < 0:
        raise ValueError("is before 1970")
    if at > now + FARTHEST_S:
        raise ValueError("is more than a year ahead")
    return at


def _automatic_leave(fields: AutomaticLeaveFields | None) -> AutomaticLeave:
    if fields is None:
        return AutomaticLeave()
    given = {name: value for name, value in msgspec.structs.asdict(fields).items() if value is not None}
    detection: BotDetection | None = given.pop("bot_detection", None)
    if names := _bot_names(detection.using_participant_names if detection else None):
        given["bot_names"] = names
    if (alias := given.pop("no_one_joined_timeout", None)) is not None:
        given.setdefault("noone_joined_timeout", alias)
    return AutomaticLeave(**given)


def _bot_names(fields: NameDetection | None) -> BotNames | None:
    """The rule for bots' names; None if it has no text but blanks, which every name would match."""
    if fields is None or not (matches := [match for match in fields.matches or () if match.strip()]):
        return None
    given: dict[str, Any] = {name: value for name, value in msgspec.structs.asdict(fields).items() if value is not None}
    given["matches"] = matches
    return BotNames(**given)
