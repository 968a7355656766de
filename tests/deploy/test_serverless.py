"""The serverless trigger, called as Lambda calls it, before a small server that stands for the API."""

import ast
import base64
import hashlib
import hmac
import importlib.util
import json
import logging
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, cast
from zoneinfo import ZoneInfo

import pytest
import yaml

from tests.common.links import link_cases

FOLDER = Path(__file__).parents[2] / "deploy" / "serverless"
COPIES = FOLDER / "common" / "links"
SECRET, TOKEN, ZOOM_SECRET = "s3cret-of-the-trigger", "token-of-the-api", "zoom-secret-token"
LINK = "https://meet.google.com/abc-defg-hij"
SOON = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)


class Api(ThreadingHTTPServer):
    """Answers with `answers`, one after the other and the last for ever, and remembers what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.answers: list[tuple[int, dict[str, str], dict[str, Any]]] = [(201, {}, {"bot_id": "bot-1"})]
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.tokens: set[str] = set()
        self.paths: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answering(BaseHTTPRequestHandler):
    server: Api  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        api = self.server
        api.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        api.keys.append(self.headers["Idempotency-Key"])
        api.tokens.add(self.headers["Authorization"])
        api.paths.add(self.path)
        status, headers, document = api.answers.pop(0) if len(api.answers) > 1 else api.answers[0]
        if not status:
            self.close_connection = True
            return
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Context:
    """What Lambda hands over beside the event."""

    aws_request_id: ClassVar[str] = "request-7"

    def __init__(self, seconds: float = 20.0) -> None:
        self._deadline = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._deadline - time.monotonic()) * 1000)


@pytest.fixture
def api() -> Generator[Api]:
    with Api() as api:
        thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield api
        api.shutdown()
        thread.join()


@pytest.fixture
def trigger(api: Api, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, as it is set up for `api`."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(FOLDER)])  # as Lambda has it; the copies are the project's own
    spec = importlib.util.spec_from_file_location("serverless_handler", FOLDER / "handler.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "_BACKOFF_S", 0.005)
    variables = {
        "POOLMGR_API_URL": api.url,
        "POOLMGR_API_TOKEN": TOKEN,
        "POOLMGR_ALLOW_HTTP": "1",
        "TRIGGER_SECRET": SECRET,
        "ZOOM_WEBHOOK_SECRET": ZOOM_SECRET,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return module


def posted(body: Any, headers: dict[str, str] | None = None, query: dict[str, str] | None = None) -> dict[str, Any]:
    """As a function URL hands a request over. With the secret, unless other headers are given."""
    return {
        "version": "2.0",
        "headers": {"X-Trigger-Secret": SECRET} if headers is None else headers,
        "queryStringParameters": query or {},
        "requestContext": {"http": {"method": "POST", "path": "/"}},
        "body": body if isinstance(body, str) else json.dumps(body),
        "isBase64Encoded": False,
    }


def zoom(document: dict[str, Any], *, secret: str = ZOOM_SECRET, age_s: int = 0) -> dict[str, Any]:
    body, sent_at = json.dumps(document), str(int(time.time()) - age_s)
    signature = hmac.new(secret.encode(), f"v0:{sent_at}:{body}".encode(), hashlib.sha256).hexdigest()
    return posted(body, {"x-zm-signature": f"v0={signature}", "x-zm-request-timestamp": sent_at})


def google(**fields: Any) -> dict[str, Any]:
    return {
        "kind": "calendar#event",
        "id": "event-1",
        "status": "confirmed",
        "start": {"dateTime": SOON.isoformat(), "timeZone": "Europe/Berlin"},
        "end": {"dateTime": (SOON + timedelta(hours=1)).isoformat()},
        "hangoutLink": LINK,
        "organizer": {"email": "ada@example.com"},
        **fields,
    }


def graph(**fields: Any) -> dict[str, Any]:
    return {
        "id": "AAMk-1",
        "isCancelled": False,
        "start": {"dateTime": f"{SOON:%Y-%m-%dT%H:%M:%S}.0000000", "timeZone": "UTC"},
        "onlineMeeting": {"joinUrl": "https://teams.microsoft.com/l/meetup-join/19%3ameeting_x%40thread.v2/0"},
        "organizer": {"emailAddress": {"address": "ada@example.com", "name": "Ada"}},
        **fields,
    }


def started(**fields: Any) -> dict[str, Any]:
    meeting = {"id": "85746065", "uuid": "4444AAAi==", "host_id": "h-1", "start_time": "2030-01-01T09:00:00Z"}
    return {"event": "meeting.started", "event_ts": 1, "payload": {"account_id": "a", "object": {**meeting, **fields}}}


def answer_of(result: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return result["statusCode"], json.loads(result["body"])


# What comes in


def test_a_job_is_posted_as_it_came(trigger: ModuleType, api: Api) -> None:
    job = {"meeting_link": LINK, "bot_name": "Scribe", "custom_attributes": {"team": [1]}, "unknown": None}
    status, facts = answer_of(trigger.handler(posted(job), Context()))
    assert (status, facts) == (200, {"outcome": "created", "source": "job", "bot_id": "bot-1"})
    assert api.bodies == [job]
    assert (api.paths, api.tokens) == ({"/api/v1/bots/create_bot"}, {f"Token {TOKEN}"})


def test_an_event_of_google_is_scheduled_for_its_start(trigger: ModuleType, api: Api) -> None:
    start = SOON.astimezone().isoformat()
    trigger.handler(posted(google(start={"dateTime": start})), Context())
    assert api.bodies == [
        {
            "meeting_link": LINK,
            "bot_name": "Notetaker",
            "join_at": SOON.isoformat(),
            "calendar_event_id": "event-1",
            "user_id": "ada@example.com",
            "deduplication_key": api.keys[0],
        }
    ]


POINT = {"entryPointType": "phone", "uri": "tel:1"}
TEAMS = link_cases.TEAMS
ZOOM = "https://us02web.zoom.us/j/123456789?pwd=a.b&x=1"
WRAPPED = link_cases.safe_link(ZOOM)


@pytest.mark.parametrize(
    ("fields", "link"),
    [
        ({"conferenceData": {"entryPoints": [POINT, {"entryPointType": "video", "uri": ZOOM}]}}, ZOOM),
        ({"location": f"Room 4 or {LINK}."}, LINK),
        ({"description": '<p>Join: <a href="https://us02web.zoom.us/j/123456789?pwd=a.b&amp;x=1">here</a>'}, ZOOM),
        ({"description": f"{TEAMS}, see you"}, TEAMS),
        ({"location": "https://meet.jit.si/Standup"}, "https://meet.jit.si/Standup"),
        ({"description": f"Help: https://www.google.com/url?q=https://example.com/ Join: <{WRAPPED}>"}, ZOOM),
        ({"description": "https://meet.jit.si/static/dialInInfo.html https://meet.jit.si/a"}, "https://meet.jit.si/a"),
        ({"description": f"<style>{'p {} ' * 9000}</style><a href='{ZOOM}'>here</a>"}, ZOOM),
    ],
)  # fmt: skip
def test_the_link_is_found_wherever_an_event_has_it(
    trigger: ModuleType, api: Api, fields: dict[str, Any], link: str
) -> None:
    trigger.handler(posted({**google(), "hangoutLink": None, **fields}), Context())
    assert [body["meeting_link"] for body in api.bodies] == [link]


@pytest.mark.parametrize("case", link_cases.CASES, ids=[case.text[:100] for case in link_cases.CASES])
def test_a_link_in_an_event_is_read_as_everywhere_else(trigger: ModuleType, api: Api, case: link_cases.Case) -> None:
    event = graph(onlineMeeting=None, body={"contentType": "html", "content": case.text})
    trigger.handler(posted(event), Context())
    assert [body["meeting_link"] for body in api.bodies] == ([case.url] if case.url else [])


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_made_of_a_link_in_an_event_is_that_meeting_or_none(trigger: ModuleType, seed: int) -> None:
    for text, meeting, must in link_cases.made(100 + seed, 300):
        faults: list[str] = []
        found = trigger._read_link(text, faults)
        assert found in ((meeting,) if must else (meeting, "")), text


@pytest.mark.parametrize(
    ("location", "link", "noted"),
    [
        (ZOOM, ZOOM, True),
        (f"Room 4, or {ZOOM}", ZOOM, True),
        (f"Room 4, or {LINK}", LINK, False),
        (f"{LINK}?authuser=1", LINK, False),
        ("Room 4", LINK, False),
        ("https://zoom.us/j/1", LINK, False),
        (None, LINK, False),
    ],
)
def test_a_meeting_that_a_person_put_in_the_place_counts_more_than_the_automatic_one(
    trigger: ModuleType, api: Api, location: str | None, link: str, noted: bool
) -> None:
    meet = {"joinUrl": LINK}
    for event in (google(location=location), graph(location={"displayName": location}, onlineMeeting=meet)):
        facts = answer_of(trigger.handler(posted(event), Context()))[1]
        assert ("names two meetings" in facts.get("note", "")) is noted
    assert [body["meeting_link"] for body in api.bodies] == [link, link]


def test_of_two_links_to_one_meeting_the_more_complete_is_taken(trigger: ModuleType, api: Api) -> None:
    bare = ZOOM.partition("?")[0]
    points = {"entryPoints": [{"entryPointType": "video", "uri": bare}]}
    trigger.handler(posted(google(hangoutLink=None, conferenceData=points, location=ZOOM)), Context())
    assert [body["meeting_link"] for body in api.bodies] == [ZOOM]


def test_an_event_whose_only_link_is_cut_is_refused_with_what_is_wrong(trigger: ModuleType, api: Api) -> None:
    event = google(hangoutLink=None, location="Room 4", description=f"Join: {TEAMS[:90]}")
    status, facts = answer_of(trigger.handler(posted(event), Context()))
    assert (status, facts["outcome"]) == (400, "refused")
    assert "is not whole" in facts["message"]
    assert not api.bodies


@pytest.mark.parametrize(
    ("start", "utc"),
    [
        ({"dateTime": "2099-07-01T09:00:00.0000000", "timeZone": "UTC"}, "2099-07-01T09:00:00+00:00"),
        ({"dateTime": "2099-07-01T09:00:00.1234567", "timeZone": "UTC"}, "2099-07-01T09:00:00.123456+00:00"),
        ({"dateTime": "2099-07-01T09:00:00", "timeZone": "Europe/Berlin"}, "2099-07-01T07:00:00+00:00"),
        ({"dateTime": "2099-07-01T09:00:00Z", "timeZone": "Europe/Berlin"}, "2099-07-01T09:00:00+00:00"),
        ({"dateTime": "2099-07-01T09:00:00"}, "2099-07-01T09:00:00+00:00"),
        ({"dateTime": "2099-07-01T09:00:00", "timeZone": "W. Europe Standard Time"}, "2099-07-01T07:00:00+00:00"),
        ({"dateTime": "2099-07-01T09:00:00", "timeZone": "India Standard Time"}, "2099-07-01T03:30:00+00:00"),
        ({"dateTime": "2099-07-01T09:00:00", "timeZone": "Pacific Standard Time"}, "2099-07-01T16:00:00+00:00"),
    ],
)
def test_the_start_of_an_event_of_graph_is_read_in_its_zone(
    trigger: ModuleType, api: Api, start: dict[str, str], utc: str
) -> None:
    trigger.handler(posted(graph(start=start)), Context())
    (body,) = api.bodies
    assert body["join_at"] == utc
    assert (body["calendar_event_id"], body["user_id"]) == ("AAMk-1", "ada@example.com")


def test_a_zoom_meeting_that_starts_is_joined_now(trigger: ModuleType, api: Api) -> None:
    assert answer_of(trigger.handler(zoom(started()), Context()))[0] == 200
    job = {"meeting_link": "https://zoom.us/j/85746065", "bot_name": "Notetaker", "user_id": "h-1"}
    assert api.bodies == [{**job, "deduplication_key": api.keys[0]}]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (google(status="cancelled"), "cancelled"),
        (google(hangoutLink=None), "no meeting link"),
        (google(start={"date": "2099-01-01"}), "all day"),
        (google(start={"dateTime": "2020-01-01T09:00:00Z"}, end={"dateTime": "2020-01-01T10:00:00Z"}), "over"),
        (graph(isCancelled=True), "cancelled"),
        (graph(responseStatus={"response": "declined"}), "declined"),
        (google(attendees=[{"email": "b@example.com"}, {"self": True, "responseStatus": "declined"}]), "declined"),
        (graph(onlineMeeting=None), "no meeting link"),
    ],
)
def test_an_event_that_is_no_meeting_to_come_is_ignored_and_said_so(
    trigger: ModuleType, api: Api, document: dict[str, Any], why: str
) -> None:
    status, facts = answer_of(trigger.handler(posted(document), Context()))
    assert (status, facts["outcome"]) == (200, "ignored")
    assert why in facts["message"]
    assert not api.bodies


def test_an_event_that_only_others_declined_is_a_meeting(trigger: ModuleType, api: Api) -> None:
    attendees = [{"self": True, "responseStatus": "accepted"}, {"responseStatus": "declined"}, "no object"]
    trigger.handler(posted(google(attendees=attendees)), Context())
    trigger.handler(posted(graph(responseStatus={"response": "organizer"})), Context())
    assert len(api.bodies) == 2


def test_every_name_of_windows_stands_for_a_zone_that_is_there(trigger: ModuleType) -> None:
    assert len(trigger.ZONES) > 130
    assert all(trigger._zone(name) == ZoneInfo(zone) for name, zone in trigger.ZONES.items() if name != "UTC")


def test_mere_notices_of_a_change_are_let_in_by_their_own_secret_and_ignored(trigger: ModuleType, api: Api) -> None:
    notes = {"value": [{"subscriptionId": "s", "clientState": SECRET, "resource": "me/events/1"}]}
    channel = {"X-Goog-Channel-Token": SECRET, "X-Goog-Resource-State": "exists"}
    for event in (posted(notes, {}), posted("", channel)):
        assert answer_of(trigger.handler(event, Context()))[1]["outcome"] == "ignored"
    notes["value"][0]["clientState"] = "another"
    for event in (posted(notes, {}), posted("", {**channel, "X-Goog-Channel-Token": "another"})):
        assert answer_of(trigger.handler(event, Context()))[0] == 401
    assert not api.bodies


@pytest.mark.parametrize(
    "document",
    [
        *("", "nonsense", "[]", "1", "[" * 100_000, "{}", {"event": 1}, {"id": "x"}, {"value": [1]}),
        *(google(id=None), google(start={"dateTime": 5}), graph(start={"dateTime": "soon"})),
        graph(start={"dateTime": "2099-01-01T09:00:00", "timeZone": "Nowhere/At All"}),
        graph(start={"dateTime": "2099-01-01T09:00:00", "timeZone": "../../etc/passwd"}),
    ],
    ids=range(14),
)
def test_what_is_no_job_is_refused_for_good(trigger: ModuleType, api: Api, document: Any) -> None:
    status, facts = answer_of(trigger.handler(posted(document), Context()))
    assert (status, facts["outcome"]) == (400, "refused")
    assert not api.bodies


def test_older_gateways_and_base64_are_understood(trigger: ModuleType, api: Api) -> None:
    body = base64.b64encode(json.dumps({"meeting_link": LINK}).encode()).decode()
    about = {"requestContext": {"stage": "x"}, "queryStringParameters": None, "headers": {"x-trigger-secret": SECRET}}
    old = {**about, "httpMethod": "POST", "body": body, "isBase64Encoded": True}
    assert trigger.handler(old, Context())["statusCode"] == 200
    assert trigger.handler({**old, "body": "%"}, Context())["statusCode"] == 400
    assert trigger.handler({**old, "httpMethod": "GET"}, Context())["statusCode"] == 405
    assert trigger.handler(posted("x" * 300_000), Context())["statusCode"] == 413
    assert len(api.bodies) == 1


# Who is let in


@pytest.mark.parametrize("sent", [None, "", SECRET[:-1], SECRET + "x", "ü"])
def test_nobody_is_let_in_without_the_secret(trigger: ModuleType, api: Api, sent: str | None) -> None:
    headers = {} if sent is None else {"X-Trigger-Secret": sent}
    assert trigger.handler(posted({"meeting_link": LINK}, headers), Context())["statusCode"] == 401
    assert not api.bodies


@pytest.mark.parametrize("event", [posted({"meeting_link": LINK}, {"X-Trigger-Secret": ""}), zoom({}, secret="")])
def test_nobody_is_let_in_where_no_secret_is_set(
    trigger: ModuleType, api: Api, monkeypatch: pytest.MonkeyPatch, event: dict[str, Any]
) -> None:
    monkeypatch.delenv("TRIGGER_SECRET")
    monkeypatch.delenv("ZOOM_WEBHOOK_SECRET")
    assert trigger.handler(event, Context())["statusCode"] == 500
    assert not api.bodies


def test_zoom_is_let_in_by_its_signature_and_only_while_it_is_fresh(trigger: ModuleType, api: Api) -> None:
    assert trigger.handler(zoom(started(), secret="another"), Context())["statusCode"] == 401
    assert trigger.handler(zoom(started(), age_s=600), Context())["statusCode"] == 401
    assert not api.bodies


def test_the_challenge_of_zoom_is_answered_only_when_it_is_signed(trigger: ModuleType) -> None:
    challenge = {"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}}
    status, answer = answer_of(trigger.handler(zoom(challenge), Context()))
    expected = hmac.new(ZOOM_SECRET.encode(), b"qgg8vlvZRS6UYooatFL8Aw", hashlib.sha256).hexdigest()
    assert (status, answer) == (200, {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": expected})
    assert trigger.handler(zoom(challenge, secret="another"), Context())["statusCode"] == 401
    assert trigger.handler(zoom({**challenge, "payload": 1}), Context())["statusCode"] == 400


def test_the_question_of_graph_is_echoed_as_text(trigger: ModuleType) -> None:
    answer = trigger.handler(posted("", {}, {"validationToken": "<b>Validation: Testing</b>"}), Context())
    assert (answer["statusCode"], answer["body"]) == (200, "<b>Validation: Testing</b>")
    assert answer["headers"]["Content-Type"].startswith("text/plain")
    assert answer["headers"]["X-Content-Type-Options"] == "nosniff"


# Once


def test_the_same_event_has_the_same_key_and_another_start_another(trigger: ModuleType, api: Api) -> None:
    later = {"dateTime": (SOON + timedelta(hours=2)).isoformat()}
    for event in (google(), google(summary="Renamed"), google(start=later, end=later), google(id="event-2")):
        trigger.handler(posted(event), Context())
    first, renamed, moved, other = api.keys
    assert first == renamed
    assert [body["deduplication_key"] for body in api.bodies] == api.keys
    assert len({first, moved, other}) == 3


def test_the_key_of_a_job_is_its_callers_or_that_of_the_call(trigger: ModuleType, api: Api) -> None:
    job = {"meeting_link": LINK}
    trigger.handler(posted(job, {"X-Trigger-Secret": SECRET, "Idempotency-Key": "mine"}), Context())
    trigger.handler(posted(job, {"X-Trigger-Secret": SECRET, "Idempotency-Key": "ü" * 300}), Context())
    trigger.handler(job, Context())
    trigger.handler({"detail-type": "Meeting", "id": "e-1", "detail": job}, Context())
    trigger.handler(posted(job), Context())
    trigger.handler(posted(job), Context())
    assert [api.keys[0], *api.keys[2:4]] == ["mine", "request-7", "e-1"]
    assert api.keys[1].isascii()
    assert api.keys[4] != api.keys[5], "nothing says that they are one"


def test_a_repeat_is_no_failure(trigger: ModuleType, api: Api) -> None:
    api.answers = [(507, {}, {"bot_id": "bot-1", "message": "sent before"})]
    status, facts = answer_of(trigger.handler(posted(google()), Context()))
    assert (status, facts["outcome"], facts["bot_id"]) == (200, "known", "bot-1")
    assert len(api.bodies) == 1


# When the API is busy, away or will not


@pytest.mark.parametrize("fault", [429, 500, 502, 503, 504, 0], ids=str)
def test_a_passing_fault_is_outlasted_under_the_same_key(trigger: ModuleType, api: Api, fault: int) -> None:
    api.answers = [(fault, {}, {}), (fault, {"Retry-After": "0"}, {}), (201, {}, {"bot_id": "bot-1"})]
    assert answer_of(trigger.handler(posted({"meeting_link": LINK}), Context()))[0] == 200
    assert len(api.keys) == 3
    assert len(set(api.keys)) == 1


def test_what_lasts_longer_than_the_function_is_handed_back_to_the_caller(trigger: ModuleType, api: Api) -> None:
    api.answers = [(429, {"Retry-After": "60"}, {"message": "Too many requests."})]
    answer = trigger.handler(posted({"meeting_link": LINK}), Context())
    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, "30")
    with pytest.raises(trigger.TryAgainError):  # Lambda calls again by itself
        trigger.handler({"meeting_link": LINK}, Context())
    assert len(api.bodies) == 2
    assert trigger.handler(posted({"meeting_link": LINK}), Context(1.0))["statusCode"] == 503
    assert len(api.bodies) == 2, "there was no time left"


@pytest.mark.parametrize(
    ("answered", "message", "told"),
    [(400, "meeting_link: is no URL", 400), (409, "used", 409), (401, "", 502), (403, "", 502), (302, "", 502)],
)
def test_what_a_repeat_would_not_help_is_not_repeated(
    trigger: ModuleType, api: Api, answered: int, message: str, told: int
) -> None:
    api.answers = [(answered, {"Location": f"{api.url}/elsewhere"}, {"message": message})]
    status, facts = answer_of(trigger.handler(posted({"meeting_link": LINK}), Context()))
    assert status == told
    assert message in facts["message"]
    assert len(api.bodies) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POOLMGR_ALLOW_HTTP", "0"),
        ("POOLMGR_API_URL", "file:///etc/passwd"),
        ("POOLMGR_API_URL", ""),
        ("POOLMGR_API_TOKEN", ""),
        ("POOLMGR_API_TOKEN", "a\nb"),
    ],
)
def test_a_wrong_set_up_is_said_and_sends_nothing(
    trigger: ModuleType, api: Api, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    status, facts = answer_of(trigger.handler(posted({"meeting_link": LINK}), Context()))
    assert status == 500
    assert "POOLMGR_API_" in facts["message"]
    assert not api.bodies


# Called by the cloud itself


def test_eventbridge_brings_the_job_as_detail_or_as_input(trigger: ModuleType, api: Api) -> None:
    assert trigger.handler({"detail-type": "x", "id": "1", "detail": google()}, Context())["outcome"] == "created"
    assert trigger.handler({"meeting_link": LINK}, None)["outcome"] == "created"
    scheduled: dict[str, Any] = {"detail-type": "Scheduled Event", "source": "aws.events", "id": "2", "detail": {}}
    assert trigger.handler(scheduled, Context())["outcome"] == "ignored"
    assert trigger.handler(["no object"], Context())["status"] == 400
    assert len(api.bodies) == 2


# What is kept from others


def test_no_link_name_or_secret_is_logged(trigger: ModuleType, api: Api, request: pytest.FixtureRequest) -> None:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    root = logging.getLogger()
    request.addfinalizer(partial(root.removeHandler, handler))
    request.addfinalizer(partial(root.setLevel, root.level))
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    api.answers = [(201, {}, {"bot_id": "bot-1"}), (400, {}, {"message": f"meeting_link: {LINK}"})]
    for _ in range(2):
        trigger.handler(posted(google()), Context())
    assert [json.loads(line) for line in lines] == [
        {"event": "trigger_handled", "status": 200, "outcome": "created", "source": "google", "bot_id": "bot-1"},
        {"event": "trigger_handled", "status": 400, "outcome": "refused", "source": "google"},
    ]


# How it is installed


def test_all_that_is_installed_is_of_the_standard_library_and_of_python_3_9() -> None:
    for file in (*FOLDER.glob("*.py"), *COPIES.parent.rglob("*.py")):
        tree = ast.parse(file.read_text(), feature_version=(3, 9))
        modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        own = {"common", "windows_zones"}
        assert {module.partition(".")[0] for module in modules} <= sys.stdlib_module_names | own


def test_the_copies_of_the_reader_of_links_are_not_out_of_date() -> None:
    spec = importlib.util.spec_from_file_location("vendor", FOLDER.parent / "vendor.py")
    assert spec
    assert spec.loader
    vendor = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(vendor)
    wanted: dict[Path, bytes] = vendor.copies()
    folders = (COPIES.parent, FOLDER.parent / "mirror" / "common")
    found = {file: file.read_bytes() for folder in folders for file in folder.rglob("*.py")}
    assert found == wanted, "run python deploy/vendor.py"


def test_the_folder_alone_is_enough(tmp_path: Path) -> None:
    """As Lambda has it: none of the project's own, and nothing that was installed."""
    shutil.copytree(FOLDER, tmp_path / "task", ignore=shutil.ignore_patterns("__pycache__"))
    code = f"import handler; print(handler._read_link('Join <{WRAPPED}>', []))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=tmp_path / "task", env={}, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.returncode) == (ZOOM, 0), done.stderr


class _Template(yaml.SafeLoader):
    """With the short forms of CloudFormation, each read as what it is given."""


def _short_form(loader: yaml.SafeLoader, _: str, node: yaml.ScalarNode) -> Any:
    return loader.construct_scalar(node)


cast("Any", _Template).add_multi_constructor("!", _short_form)


def test_the_template_sets_every_variable_that_the_handler_reads_and_hides_the_secrets() -> None:
    template = yaml.load((FOLDER / "template.yaml").read_text(), _Template)
    function = template["Resources"]["Trigger"]["Properties"]
    variables = function["Environment"]["Variables"]
    read = set(re.findall(r"""os\.environ(?:\.get\(|\[)"(\w+)\"""", (FOLDER / "handler.py").read_text()))
    assert set(variables) == read - {"POOLMGR_ALLOW_HTTP"}
    parameters = template["Parameters"]
    assert set(variables.values()) <= set(parameters)
    hidden = {name for name, facts in parameters.items() if facts.get("NoEcho")}
    assert hidden == {variables[name] for name in ("POOLMGR_API_TOKEN", "TRIGGER_SECRET", "ZOOM_WEBHOOK_SECRET")}
    module, _, name = function["Handler"].partition(".")
    assert f"def {name}(event" in (FOLDER / f"{module}.py").read_text()
    (statement,) = template["Resources"]["TriggerRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert all(action.startswith("logs:") for action in statement["Action"])
    assert "*" not in statement["Resource"]
