"""What is said of a job that is taken and does not happen as it says. A table: the job's fields, what is said."""

import json
from typing import Any, Final

import pytest

from common.jobs.job import BadJobError, JobRules, parse_job
from common.jobs.warnings import FIELDS
from poolmgr.api.operations.shapes import CreateBot

LINK: Final = "https://meet.google.com/abc-defg-hij"
NO_FIELD: Final = "is no field of ours, and is ignored"


def said_of(rules: JobRules | None = None, **fields: Any) -> list[str]:
    payload = json.dumps({"meeting_link": LINK, "bot_name": "Ann", **fields}).encode()
    return list(parse_job(payload, 0.0, rules or JobRules()).warnings)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"automatic_leave": None, "join_at": None, "my_own": 1, "reference": {"metadata": 1}, "x": "y", "k" * 200: 1},
        {
            "automatic_leave": {
                "no_one_joined_timeout": 5,
                "bot_detection": {"using_participant_names": {"matches": ["b"]}},
            }
        },
        {"bot_name": "x" * 60, "join_at": "1970-01-01T00:00Z", "custom_attributes": {"metadata": 1}},
        {"automatic_leave": {"in_call_recording_timeout": 64800}},
        {"meeting_link": "https://us02web.zoom.us/j/12345678901?pwd=x", "bot_name": "x" * 100},
        {"recording_config": {"transcript": {"provider": {"meeting_captions": {}}}}, "video_required": True},
    ],
)
def test_nothing_is_said_of_what_happens_as_it_says_nor_of_a_clients_own_fields(fields: dict[str, Any]) -> None:
    assert said_of(**fields) == []


def test_a_recording_that_is_asked_for_and_has_nowhere_to_go_is_named() -> None:
    nowhere = JobRules(records=False)
    [said] = said_of(nowhere, audio_required=True)
    assert said.startswith("audio_required: nothing is recorded")
    [said] = said_of(nowhere, recording_config={"transcript": {"provider": {"meeting_captions": {}}}})
    assert said.startswith("recording_config.transcript: none is kept")
    assert said_of(recording_config={"transcript": {"provider": {"meeting_captions": {}}}}) == []
    [said] = said_of(JobRules(records=False, records_video=False), video_required=True)
    assert "capture.store" in said
    [said] = said_of(JobRules(records_video=False), video_required=True)
    assert "capture.video" in said
    assert said_of(nowhere) == said_of(nowhere, audio_required=False) == said_of(audio_required=True) == []


def by(provider: str, **options: Any) -> dict[str, Any]:
    return {"recording_config": {"transcript": {"provider": {provider: options}}}}


def test_a_provider_of_speech_to_text_that_is_not_asked_or_not_as_it_is_told_is_named() -> None:
    offers = JobRules(providers=("deepgram", "deepgram_streaming"))
    assert said_of(offers, **by("deepgram")) == said_of(offers, **by("deepgram_streaming", language="pt-BR")) == []
    [said] = said_of(offers, **by("assemblyai"))
    assert "assemblyai is not asked" in said
    assert "offers meeting_captions, deepgram, deepgram_streaming" in said
    [said] = said_of(offers, **by("deepgram", language="pt", model="nova-9"))
    assert said.endswith("only language counts; model does not")
    [said] = said_of(offers, **by("deepgram", language="all of them"))
    assert said.endswith("only language counts; language does not")
    [said] = said_of(offers, audio_required=False, **by("deepgram"))
    assert "audio_required forbids" in said
    nowhere = JobRules(records=False, providers=offers.providers)
    assert said_of(nowhere, **by("deepgram_streaming")) == []
    [said] = said_of(nowhere, **by("deepgram"))
    assert "capture.store" in said
    assert said_of(offers, recording_config={"transcript": {"provider": {}}}) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"joinAt": "x"}, f"joinAt: {NO_FIELD}; join_at is one"),
        ({"Callback-URL": "x"}, f"Callback-URL: {NO_FIELD}; callback_url is one"),
        ({"calback_url": "x"}, f"calback_url: {NO_FIELD}; callback_url is one"),
        ({"callbackk_url": "x"}, f"callbackk_url: {NO_FIELD}; callback_url is one"),
        ({"callbeck_url": "x"}, f"callbeck_url: {NO_FIELD}; callback_url is one"),
        ({"callbcak_url": "x"}, f"callbcak_url: {NO_FIELD}; callback_url is one"),
        ({"metadata": {}}, f"metadata: {NO_FIELD}; custom_attributes is one"),
        ({"bot_image": "x"}, f"bot_image: {NO_FIELD}; bot_image_url is one"),
        ({"output_media": {}}, f"output_media: {NO_FIELD}"),
        ({"everyone_left_timeout": 5}, "everyone_left_timeout: is ignored here; it belongs in automatic_leave"),
        (
            {"automatic_leave": {"everyone_left": 5}},
            f"automatic_leave.everyone_left: {NO_FIELD}; everyone_left_timeout is one, and is 300 s",
        ),
        (
            {"automatic_leave": {"no_one_joined_timout": 5, "noone_joined_timeout": 50}},
            f"automatic_leave.no_one_joined_timout: {NO_FIELD}; no_one_joined_timeout is one, and is 50 s",
        ),
        (
            {"automatic_leave": {"silence_detection": {"timeout": 5}}},
            f"automatic_leave.silence_detection: {NO_FIELD}; voice_inactivity_timeout is one, and is 600 s",
        ),
        ({"automatic_leave": {"a\nb": 1}}, f"automatic_leave.a?b: {NO_FIELD}"),
        ({"automatic_leave": {"a" * 50: 1}}, f"automatic_leave.{'a' * 40}…: {NO_FIELD}"),
        (
            {"automatic_leave": {"bot_detection": {"using_participant_events": {}}}},
            f"automatic_leave.bot_detection.using_participant_events: {NO_FIELD}; using_participant_names is one",
        ),
        (
            {"automatic_leave": {"bot_detection": {"using_participant_names": {"match": []}}}},
            f"automatic_leave.bot_detection.using_participant_names.match: {NO_FIELD};"
            " matches, activate_after, timeout and whole_words are",
        ),
        ({"bot_name": "x" * 61}, "bot_name: has 61 characters, and Google Meet shows 60; others see it cut"),
        (
            {"automatic_leave": {"in_call_recording_timeout": 64801}},
            "automatic_leave.in_call_recording_timeout: 64801 s is more than any bot may stay; it leaves after 64800 s"
            " (worker.session_limit_s)",
        ),
        ({"join_at": "1970-01-31"}, "join_at: is a date without a time; the bot joins at 00:00 UTC of that day"),
        ({"join_at": "19700131"}, "join_at: is a date without a time; the bot joins at 00:00 UTC of that day"),
        ({"join_at": "1970-W05-1"}, "join_at: is a date without a time; the bot joins at 00:00 UTC of that day"),
        (
            {"recording_config": {"transcript": {"provider": {"deepgram": {"model": "nova-3"}}}}},
            "recording_config.transcript.provider: deepgram is not asked; the page's captions are"
            " ([transcription] offers meeting_captions)",
        ),
        (
            {"meeting_link": "https://jitsi.company.example/Room"},
            "meeting_link: jitsi.company.example is taken for a Jitsi by the name of the host; [meetings] says which"
            " hosts are whose",
        ),
    ],
)  # fmt: skip
def test_what_does_not_happen_as_it_says_is_said_and_strictly_refused(fields: dict[str, Any], said: str) -> None:
    assert said_of(**fields) == [said]
    with pytest.raises(BadJobError) as refused:
        said_of(JobRules(strict=True), **fields)
    assert (refused.value.reason, str(refused.value)) == ("warned", said)


def test_all_that_is_to_be_said_is_said_at_once() -> None:
    fields: dict[str, Any] = {"joinAt": 1, "metadata": {}, "automatic_leave": {"everyone_left": 5}}
    assert [warning.partition(":")[0] for warning in said_of(**fields)] == [
        "joinAt",
        "metadata",
        "automatic_leave.everyone_left",
    ]


def test_not_more_is_said_than_can_be_read() -> None:
    many = {f"everyone_left_{number}": 1 for number in range(1000)}
    assert len(said_of(automatic_leave=many)) == 16
    foreign: dict[str, Any] = {f"metadata{'_' * number}": 1 for number in range(30)}
    assert len(said_of(**foreign)) == 16


def test_a_shorter_session_limit_of_the_settings_counts() -> None:
    (said,) = said_of(JobRules(session_limit_s=3600.0), automatic_leave={"in_call_recording_timeout": 3601})
    assert "after 3600 s" in said


def test_every_field_of_the_api_is_known_here() -> None:
    known = set(CreateBot.__struct_fields__) | {"owner"}
    assert set(FIELDS) == known
