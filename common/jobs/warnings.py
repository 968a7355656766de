"""Warns of job fields that are not carried out as the job asks.

A warning is a sentence with the field and what happens instead. It is the same however the job came in. With `strict`
such a job is rejected. Only likely mistakes are named: other unknown fields are a client's own, and are kept.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

from common.jobs.fields import JobFields
from common.wire.messages import AutomaticLeave
from common.wire.minutes import CAPTIONS

FIELDS: Final = (
    *JobFields.__struct_fields__,
    *("owner", "bot_image_url", "video_required", "audio_separate_streams", "video_separate_streams", "zoom"),
    *("agent_config_id", "workflow_config_ids", "transcription", "recording_config", "socket_connection_url", "teams"),
    *("live_audio_required", "live_video_required", "live_transcription_required", "google_meet"),
)
"""All fields of a job that clients of the API know, also those that are only kept."""

_TIMEOUTS: Final = (
    *("waiting_room_timeout", "everyone_left_timeout", "noone_joined_timeout", "no_one_joined_timeout"),
    *("voice_inactivity_timeout", "in_call_recording_timeout", "recording_permission_denied_timeout"),
)

_OTHER_SPELLINGS: Final = {
    "url": "meeting_link", "link": "meeting_link", "native_meeting_id": "meeting_link", "name": "bot_name",
    "metadata": "custom_attributes", "bot_metadata": "custom_attributes", "extra": "custom_attributes",
    "entry_message": "bot_message", "bot_image": "bot_image_url", "webhook_url": "callback_url",
    "webhooks": "callback_url", "automatic_leave_settings": "automatic_leave", "start_time": "join_at",
    "transcription_settings": "recording_config", "recording_settings": "recording_config",
    "recording_mode": "recording_config", "speech_to_text": "recording_config", "zoom_settings": "zoom",
    "transcribe_enabled": "recording_config", "recording_enabled": "recording_config",
    "websocket_settings": "live_audio_required",
    "google_meet_settings": "google_meet", "teams_settings": "teams", "authenticated": "google_meet or teams",
    "output_media": "", "variant": "", "rtmp_settings": "", "debug_settings": "", "language": "", "task": "",
    "reserved": "", "bearer_token": "", "team_id": "", "timezone": "",
}  # fmt: skip
"""Fields of Recall.ai, Attendee, Vexa, Meeting BaaS and screenappai -> the field here; empty: there is none."""

_LEAVE_OTHER_SPELLINGS: Final = {
    "silence_detection": "voice_inactivity_timeout", "silence_timeout": "voice_inactivity_timeout",
    "only_participant_timeout": "everyone_left_timeout", "max_time_left_alone": "everyone_left_timeout",
    "max_wait_for_admission": "waiting_room_timeout", "wait_for_host_timeout": "waiting_room_timeout",
    "max_uptime": "in_call_recording_timeout", "max_bot_time": "in_call_recording_timeout",
    "max_duration": "in_call_recording_timeout",
}  # fmt: skip

SHOWN_NAME: Final = {"google_meet": 60, "teams": 50, "jitsi": 50}
"""How many characters of a guest's name a platform shows: the `maxlength` of the pages' fields. Jitsi's is
MAX_DISPLAY_NAME_LENGTH in react/features/base/participants/constants.ts of jitsi-meet. For Zoom's web client no source
was found.
"""
_PLATFORM: Final = {"google_meet": "Google Meet", "teams": "Teams", "jitsi": "Jitsi"}

_MOST_LOOKED_AT: Final = 16
_LONGEST_NAME: Final = 40
"""Characters of a field's name; longer names are not checked for misspelling."""
_DATE: Final = re.compile(r"\d{4}-?(?:\d{2}-?\d{2}|W\d{2}(?:-?\d)?)")


class Said(NamedTuple):
    """What is known of a job after it was read. `document`: what the client sent. `guessed`: by what the platform was
    guessed, if the link's host is not configured. `session_limit_s`: how long any bot may be in a meeting. `records`:
    sound is recorded; `records_video`: pictures are. `providers`: the speech-to-text providers that are set up.
    """

    document: Mapping[str, Any]
    platform: str
    bot_name: str
    automatic_leave: AutomaticLeave
    guessed: str
    session_limit_s: float
    records: bool
    records_video: bool
    providers: tuple[str, ...] = ()


def warnings(said: Said) -> tuple[str, ...]:
    """The warnings, one sentence each, beginning with the field. Their number is limited."""
    return tuple(sentence for look in _TABLE for sentence in look(said))


def _foreign_fields(said: Said) -> Iterator[str]:
    for name in _unknown(said.document, _ALLOWED):
        if name.endswith("_timeout") and name in _TIMEOUTS:
            yield f"{name}: is ignored here; it belongs in automatic_leave"
        elif (meant := _meant(name, _FIELD_OF)) is not None:
            yield f"{_shown(name)}: is no field of ours, and is ignored" + (f"; {meant} is one" if meant else "")


def _foreign_timeouts(said: Said) -> Iterator[str]:
    given = _object(said.document.get("automatic_leave"))
    if not given:
        return
    for name in _unknown(given, _LEAVE_ALLOWED):
        warning = f"automatic_leave.{_shown(name)}: is no field of ours, and is ignored"
        if meant := _meant(name, _LEAVE_FIELD_OF):
            attribute = "noone_joined_timeout" if meant == "no_one_joined_timeout" else meant
            warning += f"; {meant} is one, and is {getattr(said.automatic_leave, attribute)} s"
        yield warning
    detection = _object(given.get("bot_detection"))
    for name in _unknown(detection, frozenset({"using_participant_names"})):
        yield (
            f"automatic_leave.bot_detection.{_shown(name)}: is no field of ours, and is ignored;"
            " using_participant_names is one"
        )
    for name in _unknown(_object(detection.get("using_participant_names")), _DETECTION_ALLOWED):
        yield (
            f"automatic_leave.bot_detection.using_participant_names.{_shown(name)}: is no field of ours, and is"
            " ignored; matches, activate_after, timeout and whole_words are"
        )


def _long_name(said: Said) -> Iterator[str]:
    most = SHOWN_NAME.get(said.platform)
    if most and len(said.bot_name) > most:
        platform = _PLATFORM[said.platform]
        yield f"bot_name: has {len(said.bot_name)} characters, and {platform} shows {most}; others see it cut"


def _long_stay(said: Said) -> Iterator[str]:
    stay_s = said.automatic_leave.in_call_recording_timeout
    if stay_s > said.session_limit_s:
        yield (
            f"automatic_leave.in_call_recording_timeout: {stay_s} s is more than any bot may stay; it leaves after"
            f" {said.session_limit_s:g} s (worker.session_limit_s)"
        )


def _bare_date(said: Said) -> Iterator[str]:
    join_at = said.document.get("join_at")
    if isinstance(join_at, str) and _DATE.fullmatch(join_at.strip()):
        yield "join_at: is a date without a time; the bot joins at 00:00 UTC of that day"


def _guess(said: Said) -> Iterator[str]:
    if said.guessed:
        yield f"meeting_link: {said.guessed}; [meetings] says which hosts are whose"


def _recording(said: Said) -> Iterator[str]:
    if said.document.get("audio_required") and not said.records:
        yield "audio_required: nothing is recorded, because there is no store to put it in (capture.store)"
    if said.document.get("video_required") and not said.records_video:
        why = "pictures are switched off (capture.video)" if said.records else "there is no store (capture.store)"
        yield f"video_required: no picture is recorded, because {why}"


LIVE: Final = ("deepgram_streaming",)
"""Providers that transcribe sound while it is heard; all others transcribe a recording."""

_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,4}")


class Provider(NamedTuple):
    """The provider from which a job wants a transcript; no name: it wants none. `language`: empty if it names no valid
    one. `others`: its other options.
    """

    name: str = ""
    language: str = ""
    others: tuple[str, ...] = ()


_NONE: Final = Provider()


def provider_of(document: Mapping[str, Any]) -> Provider:
    if "recording_config" not in document:
        return _NONE
    transcript = _object(_object(document.get("recording_config")).get("transcript"))
    return named_provider(transcript.get("provider"))


def named_provider(named: Any) -> Provider:
    """The provider's name, in an object with one key."""
    name, how = next(iter(_object(named).items()), ("", None))
    options = _object(how)
    language = options.get("language")
    is_language = isinstance(language, str) and _LANGUAGE.fullmatch(language) is not None
    others = tuple(option for option in options if option != "language" or not is_language)
    return Provider(name, cast(str, language) if is_language else "", others)


def _transcript(said: Said) -> Iterator[str]:
    field, provider = "recording_config.transcript.provider", provider_of(said.document)
    if not provider.name:
        return
    if not said.records and provider.name not in LIVE:
        yield "recording_config.transcript: none is kept, because there is no store to put it in (capture.store)"
    elif provider.name not in (CAPTIONS, *said.providers):
        known = ", ".join((CAPTIONS, *said.providers))
        yield f"{field}: {_shown(provider.name)} is not asked; the page's captions are ([transcription] offers {known})"
    elif provider.name not in (CAPTIONS, *LIVE) and said.document.get("audio_required") is False:
        yield f"{field}: {provider.name} needs a recording, and audio_required forbids one; captions are read"
    elif provider.name != CAPTIONS and provider.others:
        yield f"{field}: of what {provider.name} is told, only language counts; {_shown(provider.others[0])} does not"


_TABLE: Final[tuple[Callable[[Said], Iterator[str]], ...]] = (
    _guess,
    _foreign_fields,
    _foreign_timeouts,
    _long_name,
    _long_stay,
    _bare_date,
    _recording,
    _transcript,
)


def _unknown(document: Mapping[str, Any], allowed: frozenset[str]) -> Iterator[str]:
    looked_at = 0
    for name in document:
        if name not in allowed:
            looked_at += 1
            if looked_at > _MOST_LOOKED_AT:
                return
            yield name


def _object(value: Any) -> Mapping[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _meant(name: str, names: "_Names") -> str | None:
    """The field that `name` means: another product's name for it, or its name with one wrong letter."""
    if len(name) > _LONGEST_NAME:
        return None
    plain = _plain(name)
    if plain in names.same:
        return names.same[plain]
    return next((names.near[near] for near in (plain, *_one_less(plain)) if near in names.near), None)


def _plain(name: str) -> str:
    """A name without case, underscores, dashes and spaces: joinAt, JoinAt and join-at equal join_at."""
    return re.sub(r"[\s_-]", "", name.lower())


def _one_less(word: str) -> list[str]:
    """`word` without one of its letters, for each letter. Two words that differ in one letter share one of these, or
    one word is among those of the other.
    """
    return [word[:place] + word[place + 1 :] for place in range(len(word))]


class _Names(NamedTuple):
    """Plain names, and names with one letter missing -> the field that is meant."""

    same: Mapping[str, str]
    near: Mapping[str, str]

    @classmethod
    def of(cls, fields: tuple[str, ...], spellings: Mapping[str, str], ending: str = "") -> "_Names":
        same = {_plain(name): field for name, field in spellings.items()}
        same |= {_plain(name): field for field in fields for name in (field.removesuffix(ending), field)}
        # A short name with one letter more or less may be a client's own word.
        plain = {_plain(field): field for field in fields if len(field) >= _SHORTEST_MISSPELT}
        return cls(same, {less: field for word, field in plain.items() for less in _one_less(word)} | plain)


_SHORTEST_MISSPELT: Final = 7
_ALLOWED: Final = frozenset(FIELDS)
_LEAVE_ALLOWED: Final = frozenset((*_TIMEOUTS, "bot_detection"))
_DETECTION_ALLOWED: Final = frozenset(("matches", "activate_after", "timeout", "whole_words"))
_FIELD_OF: Final = _Names.of(FIELDS, _OTHER_SPELLINGS)
_LEAVE_FIELD_OF: Final = _Names.of(_TIMEOUTS, _LEAVE_OTHER_SPELLINGS, "_timeout")


def _shown(name: str) -> str:
    short = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
    return "".join(character if character.isprintable() else "?" for character in short)
