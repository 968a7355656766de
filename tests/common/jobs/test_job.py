"""Whatever a client pushes is a Job, or one reason word and a sentence that says what to change."""

import json
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.config.settings import parse as parse_settings
from common.jobs.fields import NameDetection
from common.jobs.job import MAX_DEPTH, MAX_JOB_BYTES, BadJobError, JobRules, parse_job, typed_json
from common.jobs.record import Job
from common.wire.messages import AutomaticLeave, BotNames
from common.wire.vocabulary import OnWorkerLost

NOW: Final = datetime(2030, 1, 31, 9, tzinfo=UTC).timestamp()
RULES: Final = JobRules(frozenset({"rooms.example", "localhost:8090"}))
LINK: Final = "https://rooms.example/r/demo"
REASONS: Final = {"too_large", "not_utf8", "not_json", "not_an_object", "no_link", "bad_link", "bad_field"}


def parse(payload: bytes) -> Job:
    return parse_job(payload, NOW, RULES)


def pushed(**fields: Any) -> bytes:
    """A good job but for `fields`."""
    return json.dumps({"meeting_link": LINK, **fields}).encode()


def with_link(link: Any) -> bytes:
    return json.dumps({"meeting_link": link}).encode()


def with_raw(field: str, value: bytes) -> bytes:
    return b'{"meeting_link": "%s", "%s": %s}' % (LINK.encode(), field.encode(), value)


BAD: Final[list[tuple[str, bytes, str]]] = [
    ("a callback to the inside", pushed(callback_url="https://127.0.0.1/x"), "bad_field"),
    ("a callback without TLS", pushed(callback_url="http://hooks.example/x"), "bad_field"),
    ("words to the inside", pushed(live_transcription_required={"webhook_url": "https://[::1]/"}), "bad_field"),
    ("sound to the inside", pushed(live_audio_required={"websocket_url": "wss://10.0.0.1/"}), "bad_field"),
    ("sound without TLS", pushed(live_audio_required={"websocket_url": "ws://socket.example/"}), "bad_field"),
    ("sound to no WebSocket", pushed(live_audio_required={"websocket_url": "https://socket.example/"}), "bad_field"),
    ("sound to no object", pushed(live_audio_required=True), "bad_field"),
    ("51 attributes", pushed(custom_attributes={str(n): n for n in range(51)}), "bad_field"),
    ("an attribute beyond any number", with_raw("custom_attributes", b'{"a": 1e999}'), "bad_field"),
    ("a negative patience", pushed(queue_timeout=-1), "bad_field"),
    ("a message of 2,001 characters", pushed(bot_message="a" * 2001), "bad_field"),
    # Not JSON at all
    ("empty", b"", "not_json"),
    ("white space", b" \n ", "not_json"),
    ("text", b"join my meeting please", "not_json"),
    ("cut off", b'{"meeting_link": "https://rooms.ex', "not_json"),
    ("two objects", pushed() + pushed(), "not_json"),
    ("trailing comma", b'{"meeting_link": "x",}', "not_json"),
    ("single quotes", b"{'meeting_link': 'x'}", "not_json"),
    ("byte order mark", b"\xef\xbb\xbf" + pushed(), "not_json"),
    ("zero bytes", b"\0\0\0", "not_json"),
    ("control character in a string", b'{"meeting_link": "a\x01b"}', "not_json"),
    ("NaN", with_raw("priority", b"NaN"), "not_json"),
    ("Infinity", with_raw("priority", b"-Infinity"), "not_json"),
    ("NaN deep inside", with_raw("custom_attributes", b'{"a": [NaN]}'), "not_json"),
    ("the same key twice", with_raw("meeting_link", b'"https://evil.example"'), "not_json"),
    ("the same key twice deep inside", with_raw("custom_attributes", b'{"a": 1, "a": 2}'), "not_json"),
    ("half a surrogate pair", with_raw("user_id", rb'"\ud800"'), "not_json"),
    ("half a surrogate pair in a key", with_raw("custom_attributes", rb'{"\uDFFF": 1}'), "not_json"),
    ("half a surrogate pair in an unknown field", with_raw("x", rb'["\udc00\ud800"]'), "not_json"),
    ("100,000 arrays", b"[" * 100_000, "not_json"),
    ("100,000 objects", b'{"a":' * 40_000, "not_json"),
    ("too deep by one", with_raw("x", b"[" * MAX_DEPTH + b"]" * MAX_DEPTH), "not_json"),
    ("depth hidden by a string", b'{"a": "' + b"]" * 900 + b'", "b": ' + b"[" * 900 + b"]" * 900 + b"}", "not_json"),
    ("an integer of 5,000 digits", with_raw("user_id", b"9" * 5000), "not_json"),
    # Not UTF-8
    ("Latin-1", '{"bot_name": "Jürgen"}'.encode("latin-1"), "not_utf8"),
    ("UTF-16", pushed().decode().encode("utf-16"), "not_utf8"),
    ("raw bytes", bytes(range(256)), "not_utf8"),
    ("surrogates in UTF-8", with_raw("user_id", b'"\xed\xa0\x80"'), "not_utf8"),
    ("overlong UTF-8", with_raw("user_id", b'"\xc0\xaf"'), "not_utf8"),
    # Too large
    ("one byte too many", pushed(x="").ljust(MAX_JOB_BYTES + 1), "too_large"),
    ("10 MB", b"x" * 10_000_000, "too_large"),
    # Not an object
    ("null", b"null", "not_an_object"),
    ("array", b'["%s"]' % LINK.encode(), "not_an_object"),
    ("text in quotes", b'"%s"' % LINK.encode(), "not_an_object"),
    ("number", b"17", "not_an_object"),
    ("true", b"true", "not_an_object"),
    # No link
    ("empty object", b"{}", "no_link"),
    ("empty link", with_link(""), "no_link"),
    ("null links", b'{"meeting_link": null, "meeting_url": null}', "no_link"),
    ("misspelt link", b'{"meetinglink": "%s"}' % LINK.encode(), "no_link"),
    # Hostile links
    ("no scheme", with_link("rooms.example/r/demo"), "bad_link"),
    ("only spaces", with_link("  "), "bad_link"),
    ("javascript:", with_link("javascript:alert(document.cookie)//rooms.example/r/demo"), "bad_link"),
    ("file:", with_link("file:///etc/passwd"), "bad_link"),
    ("data:", with_link("data:text/html,<script>1</script>"), "bad_link"),
    ("chrome:", with_link("chrome://settings"), "bad_link"),
    ("about:", with_link("about:blank"), "bad_link"),
    ("view-source:", with_link("view-source:https://rooms.example/r/demo"), "bad_link"),
    ("cloud metadata", with_link("http://169.254.169.254/latest/meta-data/"), "bad_link"),
    ("unknown platform", with_link("https://example.com/r/demo"), "bad_link"),
    ("look-alike: ours in front", with_link("https://rooms.example.evil.example/r/demo"), "bad_link"),
    ("look-alike: no dot", with_link("https://evilrooms.example/r/demo"), "bad_link"),
    ("look-alike: meet.google.com", with_link("https://meet.google.com.evil.example/abc-defg-hij"), "bad_link"),
    ("look-alike: IDN", with_link("https://rооms.example/r/demo"), "bad_link"),  # two Cyrillic letters
    ("look-alike: punycode", with_link("https://xn--rms-5cda.example/r/demo"), "bad_link"),
    ("look-alike: wide letters", with_link("https://ｅｖｉｌ.example/r/demo"), "bad_link"),
    ("soft hyphen", with_link("https://ro\u00adoms.example/r/demo"), "bad_link"),
    ("credentials", with_link("https://user:pw@rooms.example/r/demo"), "bad_link"),
    ("host as user name", with_link("https://rooms.example@evil.example/r/demo"), "bad_link"),
    ("host as user name with a backslash", with_link("https://rooms.example\\@evil.example/r/demo"), "bad_link"),
    ("space", with_link("https://rooms.example/r/de mo"), "bad_link"),
    ("newline", with_link("https://rooms.example/r/demo\nHost: evil.example"), "bad_link"),
    ("tab in the scheme", with_link("java\tscript:alert(1)"), "bad_link"),
    ("zero byte", with_link("https://rooms.example/r/demo\0"), "bad_link"),
    ("right-to-left override", with_link("https://rooms.example/r/demo\u202e"), "bad_link"),
    ("empty host", with_link("https:///r/demo"), "bad_link"),
    ("only a port", with_link("https://:443/r/demo"), "bad_link"),
    ("port 99999", with_link("https://rooms.example:99999/r/demo"), "bad_link"),
    ("port -1", with_link("https://rooms.example:-1/r/demo"), "bad_link"),
    ("port that is none", with_link("https://rooms.example:80a/r/demo"), "bad_link"),
    ("another port", with_link("https://localhost:22/r/demo"), "bad_link"),
    ("IPv6 without its end", with_link("https://[::1/r/demo"), "bad_link"),
    ("IPv6 junk", with_link("https://[rooms.example]/r/demo"), "bad_link"),
    ("IPv6 in front of our host", with_link("https://[::1]rooms.example/r/demo"), "bad_link"),
    ("path outside of the rooms", with_link("https://rooms.example/admin"), "bad_link"),
    ("path out of the rooms", with_link("https://rooms.example/r/../admin"), "bad_link"),
    ("link of 5,000 characters", with_link(LINK + "?" + "a" * 5000), "bad_link"),
    # Fields of the wrong type or size
    ("link: number", with_link(17), "bad_field"),
    ("link: array", with_link([LINK]), "bad_field"),
    ("link: object", with_link({"url": LINK}), "bad_field"),
    ("meeting_url: boolean", pushed(meeting_url=True), "bad_field"),
    ("bot_name: null", pushed(bot_name=None), "bad_field"),
    ("bot_name: number", pushed(bot_name=7), "bad_field"),
    ("bot_name: empty", pushed(bot_name=""), "bad_field"),
    ("bot_name: nothing to see", pushed(bot_name=" \u200b\n\u202e"), "bad_field"),
    ("bot_name: joiners only", pushed(bot_name=" \u200d\u200c "), "bad_field"),
    ("bot_name: too long", pushed(bot_name="x" * 101), "bad_field"),
    ("bot_id: number", pushed(bot_id=7), "bad_field"),
    ("bot_id: empty", pushed(bot_id=""), "bad_field"),
    ("bot_id: out of the folder", pushed(bot_id="../../etc/passwd"), "bad_field"),
    ("bot_id: hidden file", pushed(bot_id=".bashrc"), "bad_field"),
    ("bot_id: key separator", pushed(bot_id="a:b"), "bad_field"),
    ("bot_id: timer separator", pushed(bot_id="a#1"), "bad_field"),
    ("bot_id: newline", pushed(bot_id="a\n"), "bad_field"),
    ("bot_id: letters of no alphabet of ours", pushed(bot_id="bót"), "bad_field"),
    ("bot_id: too long", pushed(bot_id="a" * 129), "bad_field"),
    ("user_id: float", pushed(user_id=1.5), "bad_field"),
    ("user_id: object", pushed(user_id={}), "bad_field"),
    ("user_id: boolean", pushed(user_id=True), "bad_field"),
    ("user_id: too long", pushed(user_id="x" * 257), "bad_field"),
    ("user_id: an integer of 4,000 digits", with_raw("user_id", b"9" * 4000), "bad_field"),
    ("calendar_event_id: number", pushed(calendar_event_id=1), "bad_field"),
    ("calendar_event_id: too long", pushed(calendar_event_id="x" * 1025), "bad_field"),
    ("callback_url: number", pushed(callback_url=1), "bad_field"),
    ("callback_url: too long", pushed(callback_url="x" * 4097), "bad_field"),
    ("custom_attributes: array", pushed(custom_attributes=[]), "bad_field"),
    ("custom_attributes: text", pushed(custom_attributes="x"), "bad_field"),
    ("on_worker_lost: another word", pushed(on_worker_lost="cry"), "bad_field"),
    ("priority: text", pushed(priority="high"), "bad_field"),
    ("priority: null", pushed(priority=None), "bad_field"),
    ("priority: float", pushed(priority=1.5), "bad_field"),
    ("priority: too high", pushed(priority=1001), "bad_field"),
    ("priority: too low", pushed(priority=-1001), "bad_field"),
    ("priority: larger than any float", with_raw("priority", b"1e999"), "bad_field"),
    ("priority: 100 digits", with_raw("priority", b"9" * 100), "bad_field"),
    ("deduplication_key: empty", pushed(deduplication_key=""), "bad_field"),
    ("deduplication_key: number", pushed(deduplication_key=1), "bad_field"),
    ("one_bot_per_meeting: word", pushed(one_bot_per_meeting="yes"), "bad_field"),
    ("deduplication_key: too long", pushed(deduplication_key="x" * 2001), "bad_field"),
    ("join_at: junk", pushed(join_at="tomorrow"), "bad_field"),
    ("join_at: endless", pushed(join_at="2030-01-31T09:00:00." + "1" * 100), "bad_field"),
    ("join_at: small z alone", pushed(join_at="z"), "bad_field"),
    ("join_late_limit: 0", pushed(join_late_limit=0), "bad_field"),
    ("requires: list", pushed(requires=["region"]), "bad_field"),
    ("requires: null", pushed(requires=None), "bad_field"),
    ("requires: a number", pushed(requires={"region": 1}), "bad_field"),
    ("requires: a blank name", pushed(requires={" ": "eu"}), "bad_field"),
    ("requires: a line break", pushed(requires={"region": "eu\n"}), "bad_field"),
    ("requires: too many", pushed(requires={f"l{n}": "x" for n in range(17)}), "bad_field"),
    ("join_at: number", pushed(join_at=1893456000), "bad_field"),
    ("join_at: no such day", pushed(join_at="2030-02-30T09:00:00Z"), "bad_field"),
    ("join_at: no such hour", pushed(join_at="2030-01-31T25:00:00Z"), "bad_field"),
    ("join_at: year 10000", pushed(join_at="10000-01-01T00:00:00Z"), "bad_field"),
    ("join_at: before the first year", pushed(join_at="0001-01-01T00:00:00+23:59"), "bad_field"),
    ("join_at: before 1970", pushed(join_at="1969-12-31T23:59:59Z"), "bad_field"),
    ("join_at: after the last year", pushed(join_at="9999-12-31T23:59:59-23:59"), "bad_field"),
    ("join_at: more than a year ahead", pushed(join_at="2031-02-02T00:00:00Z"), "bad_field"),
    ("automatic_leave: number", pushed(automatic_leave=60), "bad_field"),
    ("automatic_leave: array", pushed(automatic_leave=[]), "bad_field"),
    ("waiting_room_timeout: text", pushed(automatic_leave={"waiting_room_timeout": "60"}), "bad_field"),
    ("waiting_room_timeout: 0", pushed(automatic_leave={"waiting_room_timeout": 0}), "bad_field"),
    ("everyone_left_timeout: -1", pushed(automatic_leave={"everyone_left_timeout": -1}), "bad_field"),
    ("noone_joined_timeout: 1.5", pushed(automatic_leave={"noone_joined_timeout": 1.5}), "bad_field"),
    (
        "recording_permission_denied_timeout: 0",
        pushed(automatic_leave={"recording_permission_denied_timeout": 0}),
        "bad_field",
    ),
    ("bot_detection: text", pushed(automatic_leave={"bot_detection": "x"}), "bad_field"),
    ("probe: text", pushed(probe="yes"), "bad_field"),
    ("passcode: number", pushed(passcode=123456), "bad_field"),
    ("no_one_joined_timeout: too long", pushed(automatic_leave={"no_one_joined_timeout": 10**9}), "bad_field"),
]


@pytest.mark.parametrize(("payload", "reason"), [pytest.param(raw, reason, id=name) for name, raw, reason in BAD])
def test_a_bad_job_is_refused_with_one_reason_word(payload: bytes, reason: str) -> None:
    with pytest.raises(BadJobError) as caught:
        parse(payload)
    assert caught.value.reason == reason
    assert str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (pushed(priority="high"), "priority: expected `int`, got `str`"),
        (
            pushed(automatic_leave={"waiting_room_timeout": 0}),
            "automatic_leave.waiting_room_timeout: expected `int` >= 1",
        ),
        *(
            (pushed(on_worker_lost=value), "on_worker_lost: invalid enum value")
            for value in ("a 'b'", 'a"b', "x` - at `$")
        ),
        (with_link("x"), "meeting_link: the link does not begin with https://"),
        (b"{}", "meeting_link is required."),
        (b"[]", "the job is a JSON list, not an object"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b" " * (MAX_JOB_BYTES + 1), f"the job is {MAX_JOB_BYTES + 1} bytes; at most {MAX_JOB_BYTES} are taken"),
        (pushed(join_at="soon"), "join_at: is not an ISO 8601 time such as 2030-01-31T09:00:00Z"),
    ],
)
def test_the_message_names_the_field_and_what_is_wrong_with_it(payload: bytes, message: str) -> None:
    with pytest.raises(BadJobError) as caught:
        parse(payload)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "payload",
    [
        pushed(bot_id="b1", priority="high"),
        b'{"bot_id": "b1"}',
        b'{"bot_id": "b1", "meeting_link": "x"}',
        pushed(bot_id="b1", bot_name="\n"),
        pushed(bot_id="b1", join_at="soon"),
        pushed(bot_id="b1", join_at="2099-01-01"),
        pushed(bot_id="b1", join_at="1960-01-01"),
        pushed(bot_id="b1", join_at="0001-01-01T00:00:00+23:59"),
    ],
)
def test_a_bad_job_with_a_usable_bot_id_says_whose_it_is(payload: bytes) -> None:
    with pytest.raises(BadJobError) as caught:
        parse(payload)
    assert caught.value.bot_id == "b1"


def test_the_shortest_job_is_a_link() -> None:
    payload = with_link(LINK)
    assert parse(payload) == Job(platform="room", meeting_url=LINK, bot_name="Notetaker", payload=payload.decode())


def test_a_full_job_arrives_with_everything() -> None:
    payload = pushed(
        bot_name="  Nóta\u200b\n ",
        bot_id="B1.x_y-z",
        user_id="u1",
        calendar_event_id="c1",
        join_at="2030-01-31T10:00:00+01:00",
        callback_url="https://hooks.example/x",
        custom_attributes={"a": {"b": [1, None, "\U0001f600"]}},
        priority=-1000,
        deduplication_key="k",
        on_worker_lost="rejoin",
        owner="app",
        queue_timeout=0,
        requires={"region": "eu", "address": "192.0.2.7"},
        bot_message="Hello",
        automatic_leave={
            "waiting_room_timeout": 1,
            "everyone_left_timeout": 2,
            "noone_joined_timeout": 3,
            "voice_inactivity_timeout": 4,
            "in_call_recording_timeout": 604800,
            "recording_permission_denied_timeout": 6,
            "bot_detection": {
                "using_participant_names": {"matches": ["bot", "", " ", "Notetaker"], "activate_after": 7, "timeout": 8}
            },
        },
        passcode="12 34.ü",
        probe=True,
        audio_required=False,
        live_audio_required={"websocket_url": "wss://socket.example/a"},
        live_transcription_required={"webhook_url": "https://hooks.example/t"},
        video_required=True,
        recording_config={"retention": {"type": "timed", "hours": 24}},
        something_new=[1, 2, 3],
    )
    assert parse(payload) == Job(
        platform="room",
        meeting_url=LINK,
        bot_name="Nóta",
        payload=payload.decode(),
        bot_id="B1.x_y-z",
        user_id="u1",
        calendar_event_id="c1",
        join_at=NOW,
        priority=-1000,
        deduplication_key="k",
        automatic_leave=AutomaticLeave(1, 2, 3, 4, 604800, 6, BotNames(["bot", "Notetaker"], 7, 8)),
        on_worker_lost=OnWorkerLost.REJOIN,
        callback_url="https://hooks.example/x",
        custom_attributes='{"a":{"b":[1,null,"😀"]}}',
        owner="app",
        queue_timeout_s=0.0,
        requires={"region": "eu", "address": "192.0.2.7"},
        bot_message="Hello",
        passcode="12 34.ü",
        is_probe=True,
        no_audio=True,
        live_audio_url="wss://socket.example/a",
        live_transcription_url="https://hooks.example/t",
        transcript=True,
        video=True,
        recording_hours=24.0,
        warnings=(
            "automatic_leave.in_call_recording_timeout: 604800 s is more than any bot may stay; it leaves after 64800 s"
            " (worker.session_limit_s)",
        ),
    )


@pytest.mark.parametrize(
    "detection",
    [
        None,
        {},
        {"using_participant_names": None},
        {"using_participant_names": {}},
        {"using_participant_names": {"matches": None, "timeout": 7}},
        {"using_participant_names": {"matches": ["", " "]}},
        {"using_participant_events": {"timeout": 7}},
    ],
)
def test_where_no_name_is_told_nobody_is_taken_for_a_bot(detection: object) -> None:
    assert parse(pushed(automatic_leave={"bot_detection": detection})).automatic_leave == AutomaticLeave()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("👩\u200d💻 Ann", "👩\u200d💻 Ann"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
        ("\u200d Ann \u200c", "Ann"),
        ("A\u200bn\u202en\u2066\x07", "Ann"),
    ],
)
def test_a_name_keeps_its_joiners_and_no_other_control_character(name: str, shown: str) -> None:
    assert parse(pushed(bot_name=name)).bot_name == shown


def test_the_silence_that_ends_a_call_by_default_is_not_that_of_people_who_read() -> None:
    assert AutomaticLeave().voice_inactivity_timeout == 600, "as in the article's example"
    own = parse(pushed(automatic_leave={"voice_inactivity_timeout": 100})).automatic_leave
    assert own.voice_inactivity_timeout == 100


def test_what_is_not_said_of_bots_names_is_as_the_clients_know_it() -> None:
    leave = parse(pushed(automatic_leave={"bot_detection": {"using_participant_names": {"matches": ["bot"]}}}))
    assert leave.automatic_leave.bot_names == BotNames(["bot"], 300, 5, whole_words=True)
    names = {"matches": ["bot"], "whole_words": False}
    leave = parse(pushed(automatic_leave={"bot_detection": {"using_participant_names": names}}))
    assert leave.automatic_leave.bot_names == BotNames(["bot"], 300, 5, whole_words=False)


def test_the_link_is_kept_tidied_and_the_payload_as_it_came() -> None:
    text = "Join: <https://us02web.zoom.us/j/81234567890?pwd=a.1&utm_source=x> Passcode: 1"
    job = parse(with_link(text))
    assert (job.platform, job.meeting_url) == ("zoom", "https://us02web.zoom.us/j/81234567890?pwd=a.1")
    assert json.loads(job.payload)["meeting_link"] == text


def test_a_whole_number_is_one_however_it_is_written_and_attributes_stay_as_they_came() -> None:
    fields = b'"priority": 2.0, "user_id": 7e0, "automatic_leave": {"waiting_room_timeout": 90.0}, "x": [1.5]'
    job = parse(b'{"meeting_link": "%s", %s, "custom_attributes": {"a": 1.0}}' % (LINK.encode(), fields))
    assert (job.priority, job.user_id, job.automatic_leave.waiting_room_timeout) == (2, "7", 90)
    assert job.custom_attributes == '{"a":1.0}'


@pytest.mark.parametrize("passcode", ["hunter2\n", "hunter2\x00", "hunter2" * 40, ["hunter2"]])
def test_a_passcode_that_cannot_be_typed_is_refused_and_not_quoted(passcode: object) -> None:
    with pytest.raises(BadJobError) as caught:
        parse(pushed(passcode=passcode))
    assert caught.value.reason == "bad_field"
    assert "hunter2" not in str(caught.value)


def test_a_bot_is_found_by_what_its_job_says_and_by_each_of_its_attributes() -> None:
    job = parse(pushed(user_id=7, owner="app", custom_attributes={"b": {"y": 1, "x": "ü"}, "a": None}))
    assert job.found_by == [
        ("platform", "room"),
        ("user_id", "7"),
        ("owner", "app"),
        ("attribute", 'b={"x":"ü","y":1}'),
        ("attribute", "a=null"),
    ]
    assert parse(pushed()).found_by == [("platform", "room")]


def test_the_rules_for_jobs_are_those_of_the_settings() -> None:
    settings = parse_settings(
        '[meetings]\nroom_hosts = ["a"]\njitsi_hosts = ["b"]\nother_hosts = { c = ["d"] }\nguess_hosts = false\n'
        "[webhooks]\nallow_http = true"
    )
    rules = JobRules.of(settings)
    assert (rules.room_hosts, rules.jitsi_hosts, rules.outgoing.allow_http) == ({"a"}, {"b"}, True)
    assert (rules.other_hosts, rules.guess_hosts, rules.one_bot_per_meeting) == ({"c": ["d"]}, False, False)
    assert JobRules.of(parse_settings("[pool]\none_bot_per_meeting = true")).one_bot_per_meeting


@pytest.mark.parametrize(
    ("setting", "field", "holds"),
    [
        (False, {}, False),
        (True, {}, True),
        (True, {"one_bot_per_meeting": None}, True),
        (True, {"one_bot_per_meeting": False}, False),
        (False, {"one_bot_per_meeting": True}, True),
        (False, {"one_bot_per_meeting": True, "probe": True}, False),
    ],
)
def test_a_job_says_whether_it_is_to_be_the_only_bot_of_its_meeting(
    setting: bool, field: dict[str, Any], holds: bool
) -> None:
    rules = JobRules(RULES.room_hosts, one_bot_per_meeting=setting)
    assert bool(parse_job(pushed(**field), NOW, rules).held_meeting) is holds


def test_a_meeting_is_held_alike_by_all_links_to_it_and_by_no_other() -> None:
    def held(link: str) -> str:
        return parse_job(with_link(link), NOW, JobRules(one_bot_per_meeting=True)).held_meeting

    first = held("https://us02web.zoom.us/j/81234567890?pwd=abc")
    assert held("https://zoom.us/wc/join/81234567890") == first
    assert held("Join: https://acme.zoom.us/j/81234567890?pwd=xyz") == first
    assert held("https://zoom.us/j/81234567891") != first
    assert "81234567890" not in first


def test_a_job_may_name_a_host_that_the_settings_name_and_a_guessed_one_where_they_allow_it() -> None:
    others = JobRules(other_hosts={"webex": ["webex.com"]}, guess_hosts=False)
    assert parse_job(with_link("https://acme.webex.com/meet/ada"), NOW, others).platform == "webex"
    guessed = parse(with_link("https://jitsi.company.example/Room"))
    assert (guessed.platform, guessed.warnings[0].split(" ")[1]) == ("jitsi", "jitsi.company.example")
    with pytest.raises(BadJobError, match="is not a meeting host"):
        parse_job(with_link("https://jitsi.company.example/Room"), NOW, others)


def test_fields_that_are_not_known_are_kept_as_they_came() -> None:
    job = parse(b'  {"meeting_link":"%s", "x":  1.50, "y":"\\u00fc"} ' % LINK.encode())
    assert job.payload == f'  {{"meeting_link":"{LINK}", "x":  1.50, "y":"\\u00fc"}} '


@pytest.mark.parametrize(
    "payload",
    [
        b'{"meeting_url": "%s"}' % LINK.encode(),
        b'{"meeting_link": null, "meeting_url": "%s"}' % LINK.encode(),
        b'{"meeting_link": "", "meeting_url": "%s"}' % LINK.encode(),
        b'{"meeting_link": "%s", "meeting_url": "https://other.example"}' % LINK.encode(),
        b'{"meeting_link": " %s\\n"}' % LINK.encode(),
    ],
)
def test_the_link_may_come_as_meeting_link_or_meeting_url(payload: bytes) -> None:
    assert parse(payload).meeting_url == LINK


@pytest.mark.parametrize(
    ("given_fields", "seconds"),
    [
        ({"noone_joined_timeout": 5}, 5),
        ({"no_one_joined_timeout": 6}, 6),
        ({"noone_joined_timeout": 5, "no_one_joined_timeout": 6}, 5),
        ({"noone_joined_timeout": None, "no_one_joined_timeout": 6}, 6),
        ({}, AutomaticLeave().noone_joined_timeout),
    ],
)
def test_no_one_joined_timeout_has_two_spellings(given_fields: dict[str, int | None], seconds: int) -> None:
    leave = parse(pushed(automatic_leave=given_fields)).automatic_leave
    assert leave == AutomaticLeave(noone_joined_timeout=seconds)


@pytest.mark.parametrize(
    ("value", "user_id"), [(None, ""), ("", ""), ("7", "7"), (7, "7"), (0, "0"), (2**63 - 1, "9223372036854775807")]
)
def test_a_user_id_may_be_a_text_or_a_number(value: object, user_id: str) -> None:
    assert parse(pushed(user_id=value)).user_id == user_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-01-31T09:00:00Z", NOW),
        ("2030-01-31T09:00:00+00:00", NOW),
        ("2030-01-31T09:00:00", NOW),  # without a zone: UTC
        ("2030-01-31T14:30:00+05:30", NOW),
        ("20300131T090000Z", NOW),
        ("2030-01-31T09:00:00.5Z", NOW + 0.5),
        ("2030-01-31", NOW - 9 * 3600),
        ("1970-01-01T00:00:00Z", 0.0),
        ("2031-01-31T09:00:00Z", NOW + 365 * 86400),
        ("2030-01-31T09:00:00z", NOW),
        (" 2030-01-31T09:00:00Z\n", NOW),
        ("", None),
        (" ", None),
        (None, None),
    ],
)
def test_join_at_is_epoch_seconds_whatever_its_zone(text: str | None, expected: float | None) -> None:
    assert parse(pushed(join_at=text)).join_at == expected


@pytest.mark.parametrize("bot_id", ["a", "0", "A" * 128, "550e8400-e29b-41d4-a716-446655440000", "a..b"])
def test_a_bot_id_of_the_clients_own_is_taken(bot_id: str) -> None:
    assert parse(pushed(bot_id=bot_id)).bot_id == bot_id


def test_as_large_and_as_deep_as_allowed_is_allowed() -> None:
    assert parse(pushed().ljust(MAX_JOB_BYTES)).meeting_url == LINK
    deep = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    assert parse(with_raw("x", deep)).meeting_url == LINK


def test_brackets_in_a_text_are_no_depth() -> None:
    assert parse(pushed(x="[" * 1000 + '\\"{')).meeting_url == LINK


def test_characters_beyond_the_basic_plane_are_welcome_escaped_or_not() -> None:
    assert parse(with_raw("bot_name", rb'"\ud83d\ude00"')).bot_name == "\U0001f600"
    assert parse(with_raw("bot_name", '"😀"'.encode())).bot_name == "\U0001f600"
    assert parse(with_raw("bot_name", rb'"\\ud800"')).bot_name == r"\ud800"


def check(payload: bytes) -> None:
    """A Job that can be stored as it is, or a BadJobError with a known word."""
    try:
        job = parse(payload)
    except BadJobError as refused:
        error = refused
    else:
        _check_storable(job)
        return
    assert error.reason in REASONS
    str(error).encode()


def _check_storable(job: Job) -> None:
    assert job.platform == "room"
    assert job.join_at is None or 0 <= job.join_at <= NOW + 366 * 86400
    for text in (job.meeting_url, job.bot_name, job.payload, job.user_id, job.calendar_event_id, job.deduplication_key):
        text.encode()


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
FIELD: Final = st.sampled_from(
    [
        "meeting_link",
        "meeting_url",
        "bot_name",
        "bot_id",
        "user_id",
        "calendar_event_id",
        "join_at",
        "callback_url",
        "custom_attributes",
        "priority",
        "deduplication_key",
        "automatic_leave",
        "unknown",
    ]
)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_job_or_refused(payload: bytes) -> None:
    check(payload)


@given(JSON)
def test_any_json_is_a_job_or_refused(document: Any) -> None:
    check(json.dumps(document).encode())


@given(st.dictionaries(FIELD, JSON, max_size=6), st.sampled_from([LINK, "https://localhost:8090/r/a", None]))
def test_any_fields_are_a_job_or_refused(fields: dict[str, Any], link: str | None) -> None:
    check(json.dumps({**fields, "meeting_link": link} if link else fields).encode())


@given(
    st.datetimes().map(str)
    | st.datetimes(timezones=st.timezones()).map(datetime.isoformat)
    | st.text("0123456789-:TZW+. \ud800", max_size=30)
)
@example("2030-01-31\ud80009:00:00")
def test_any_join_at_is_a_time_or_refused(text: str) -> None:
    check(pushed(join_at=text))


@given(st.integers(50, 1100), st.sampled_from([b"[", b'{"a":']), st.booleans())
def test_any_depth_is_a_job_or_refused(depth: int, opening: bytes, surrogate: bool) -> None:
    closing = b"]" if opening == b"[" else b"}"
    inner = rb'"\ud800"' if surrogate else b"1"
    check(with_raw("x", opening * depth + inner + closing * depth))


def test_a_json_text_is_read_as_a_struct_or_refused() -> None:
    assert typed_json(b'{"timeout": 5.0}', NameDetection) == typed_json(b'{"timeout": 5}', NameDetection)
    for bad in (b'{"timeout": 5.5}', b'{"timeout": "5"}', b'{"timeout": 0.0}', b'{"timeout": 1e999}', b"{"):
        with pytest.raises(msgspec.DecodeError):
            typed_json(bad, NameDetection)


@pytest.mark.parametrize(
    ("fields", "rules", "video"),
    [
        ({}, JobRules(), False),
        ({"owner": "app"}, JobRules(), True),
        ({"owner": "app"}, JobRules(video_unsaid=False), False),
        ({"owner": "app"}, JobRules(records_video=False), False),
        ({"owner": "app", "video_required": False}, JobRules(), False),
        ({"video_required": True}, JobRules(records_video=False), True),
    ],
)
def test_the_picture_is_recorded_for_who_asks_and_for_a_client_of_the_api_that_says_nothing(
    fields: dict[str, Any], rules: JobRules, video: bool
) -> None:
    assert parse_job(pushed(**fields), NOW, msgspec.structs.replace(rules, room_hosts=RULES.room_hosts)).video is video


@pytest.mark.parametrize(
    ("provider", "records", "live", "after"),
    [
        ("deepgram_streaming", True, "deepgram_streaming", ""),
        ("deepgram_streaming", False, "deepgram_streaming", ""),
        ("openai", True, "meeting_captions", "openai"),
        ("openai", False, "", ""),
        ("assemblyai", True, "", ""),
        ("meeting_captions", True, "meeting_captions", "meeting_captions"),
    ],
)
def test_whom_a_job_names_makes_words_while_it_runs_or_afterwards_if_it_is_offered(
    provider: str, records: bool, live: str, after: str
) -> None:
    offered = ("deepgram_streaming", "openai")
    rules = msgspec.structs.replace(RULES, records=records, providers=offered)
    config = {"transcript": {"provider": {provider: {"language": "de"}}}}
    made = parse_job(pushed(recording_config=config), NOW, rules)
    assert (made.speech_live, made.speech_after, made.language, made.transcript) == (live, after, "de", records)


def test_a_job_with_a_live_transcript_and_a_provider_for_afterwards_may_have_both() -> None:
    rules = msgspec.structs.replace(RULES, providers=("openai",))
    config: dict[str, Any] = {"transcript": {"provider": {"openai": {}}}}
    live = {"webhook_url": "https://hooks.example/t"}
    made = parse_job(pushed(recording_config=config, live_transcription_required=live), NOW, rules)
    assert (made.speech_live, made.speech_after) == ("", "openai")
