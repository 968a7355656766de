"""A function that turns calendar events and webhooks into bots: it posts each to the HTTP API of poolmgr, once.

Standard library only, Python 3.9 or newer, and what stands in this folder: Windows' names of time zones, and copies of
the project's own reader of meeting links (common/links/, made by deploy/vendor.py). For AWS Lambda behind a function
URL or an API Gateway (payload 1.0 and 2.0), for EventBridge, and for calls by hand. README.md says what it takes and
how it is installed.

It keeps nothing. That a bot is made once is the API's promise: what is sent twice carries the same Idempotency-Key, and
what comes of an event the same deduplication_key.
No link, name or secret is logged.
"""

# ruff: noqa: UP017 - datetime.UTC is not there before Python 3.11

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import os
import random
import re
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from http.client import HTTPException
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from windows_zones import ZONES

from common.links.links import BadLinkError, NoLinkError, recognise

_log = logging.getLogger(__name__)
_log.setLevel(logging.INFO)

_PATH = "/api/v1/bots/create_bot"
_MOST_BYTES = 256 * 1024  # of a job; the API takes no more
_ATTEMPT_S = 8.0
_ALTOGETHER_S = 25.0  # where the caller does not say how long the function may run
_RESERVE_S = 1.0  # to answer in
_BACKOFF_S, _BACKOFF_MOST_S = 0.3, 4.0
_ZOOM_FRESH_S = 300
_RETRY_AFTER_S = 30
_DECLINED = "the owner of the calendar declined the event"
_TRY_AGAIN = (408, 425, 429)  # as every 5xx; but 507 is the API's word for a repeat


class Request(NamedTuple):
    """A call by HTTP. `headers` in lower case."""

    method: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


class Job(NamedTuple):
    """What is posted. `key`: equal for what is to be one bot. `note`: what the caller should know of it beside."""

    source: str
    fields: dict[str, Any]
    key: str
    note: str = ""


class Link(NamedTuple):
    """The meeting of an event. `note`: says which other meeting the event names, if it names one."""

    url: str
    note: str = ""


class Outcome(NamedTuple):
    """`status`: for the caller. 2xx: do not send it again; 4xx: sending it again is of no use; 5xx: do."""

    status: int
    facts: dict[str, Any]


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _IgnoredError(Exception):
    """Nothing is wrong, and there is nothing to do."""


class TryAgainError(Exception):
    """Raised where the caller is no HTTP client: Lambda calls again, and in the end gives the event up."""


def handler(event: Any, context: Any = None) -> dict[str, Any]:
    """AWS Lambda's entry. Answers HTTP to HTTP, facts to others. Raises: TryAgainError, to others than HTTP."""
    deadline = time.monotonic() + _seconds_left(context)
    request = _request(event)
    if request is None:
        outcome = _direct(event, context, deadline)
        _tell(outcome)
        if outcome.status >= 500:
            raise TryAgainError(outcome.facts["message"])
        return {"status": outcome.status, **outcome.facts}
    if request.method == "POST" and "validationToken" in request.query:  # Microsoft Graph asks whether somebody is here
        return _http(200, str(request.query["validationToken"])[:2048], "text/plain; charset=utf-8")
    outcome = _over_http(request, deadline)
    _tell(outcome)
    return _http(outcome.status, json.dumps(outcome.facts), "application/json")


def _direct(event: Any, context: Any, deadline: float) -> Outcome:
    """EventBridge, its scheduler, or a call by hand: who may call is said by the cloud's own permissions."""
    try:
        document: Any = event
        key = getattr(context, "aws_request_id", "")  # the same when Lambda calls again
        if "detail-type" in _mapping(event):
            document, key = event.get("detail"), str(event.get("id") or key)
            if not document:
                raise _IgnoredError("the event has an empty detail: give the job as the input of the rule's target")
        if not isinstance(document, dict):
            raise _RefusedError(400, "the event is no JSON object")
        return _post(_job(_mapping(document), key), deadline)
    except _IgnoredError as reason:
        return Outcome(200, {"outcome": "ignored", "message": str(reason)})
    except _RefusedError as error:
        return Outcome(error.status, {"outcome": "refused", "message": str(error)})


def _over_http(request: Request, deadline: float) -> Outcome:
    try:
        if request.method != "POST":
            raise _RefusedError(405, "use POST")
        if len(request.body) > _MOST_BYTES:
            raise _RefusedError(413, f"the body is longer than {_MOST_BYTES} bytes")
        if "x-zm-signature" in request.headers:
            document = _zoom_document(request)
            if document.get("event") == "endpoint.url_validation":
                return Outcome(200, _zoom_answer(document))
        else:
            _check_secret(request)
            if "x-goog-resource-state" in request.headers:
                raise _IgnoredError("Google only says that something changed; have the event itself sent")
            document = _object(request.body)
        return _post(_job(document, request.headers.get("idempotency-key", "")), deadline)
    except _IgnoredError as reason:
        return Outcome(200, {"outcome": "ignored", "message": str(reason)})
    except _RefusedError as error:
        return Outcome(error.status, {"outcome": "refused", "message": str(error)})


# Who may call


def _check_secret(request: Request) -> None:
    secret = os.environ.get("TRIGGER_SECRET", "")
    if not secret:
        raise _RefusedError(500, "TRIGGER_SECRET is not set: nobody is let in")
    # Notifications of Google and Graph bring the secret in the place that their own rules have for one.
    sent = (
        request.headers.get("x-trigger-secret")
        or request.headers.get("x-goog-channel-token")
        or next((str(note.get("clientState", "")) for note in _graph_notes(_document(request.body))), "")
    )
    if not hmac.compare_digest(sent.encode(), secret.encode()):
        raise _RefusedError(401, "the header X-Trigger-Secret is missing or wrong")


def _zoom_document(request: Request) -> dict[str, Any]:
    """The body, once its signature is checked. The challenge too has to be signed: who could have any text signed could
    sign a webhook of their own.
    """
    secret = os.environ.get("ZOOM_WEBHOOK_SECRET", "")
    if not secret:
        raise _RefusedError(500, "ZOOM_WEBHOOK_SECRET is not set: webhooks of Zoom are not let in")
    sent_at = request.headers.get("x-zm-request-timestamp", "")
    expected = "v0=" + _hmac(secret, b"v0:" + sent_at.encode() + b":" + request.body)
    if not hmac.compare_digest(request.headers["x-zm-signature"].encode(), expected.encode()):
        raise _RefusedError(401, "the signature of Zoom is wrong")
    if not sent_at.isdecimal() or abs(time.time() - int(sent_at)) > _ZOOM_FRESH_S:
        raise _RefusedError(401, "the webhook of Zoom is older than five minutes")
    return _object(request.body)


def _zoom_answer(document: Mapping[str, Any]) -> dict[str, Any]:
    token = _member(document, "payload").get("plainToken")
    if not isinstance(token, str):
        raise _RefusedError(400, "payload.plainToken is missing")
    return {"plainToken": token, "encryptedToken": _hmac(os.environ["ZOOM_WEBHOOK_SECRET"], token.encode())}


def _hmac(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


# What came


def _job(document: Mapping[str, Any], key: str) -> Job:
    if "meeting_link" in document or "meeting_url" in document:
        return _plain_job(document, key)
    if isinstance(document.get("event"), str) and "payload" in document:
        return _zoom_job(document)
    if _graph_notes(document):
        raise _IgnoredError("Microsoft Graph only says that something changed; have the event itself sent")
    if document.keys() & {"onlineMeeting", "isOnlineMeeting", "isCancelled", "onlineMeetingUrl"}:
        return _graph_job(document)
    if document.get("kind") == "calendar#event" or ("id" in document and "start" in document):
        return _google_job(document)
    raise _RefusedError(400, "this is neither a job with a meeting_link nor an event of a known calendar")


def _graph_notes(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    value: Any = document.get("value")
    if not isinstance(value, list):
        return []
    return [_mapping(note) for note in value if "subscriptionId" in _mapping(note)]  # pyright: ignore[reportUnknownVariableType]


def _plain_job(document: Mapping[str, Any], key: str) -> Job:
    fields = {"bot_name": _bot_name(), **document}
    if not key and document.get("calendar_event_id"):
        key = _key("job", document["calendar_event_id"], document.get("join_at"), document.get("meeting_link"))
    if not (key.isascii() and key.isprintable() and len(key) <= 255):  # the API does not accept more
        key = _key(key)
    return Job("job", fields, key or uuid.uuid4().hex)


def _google_job(document: Mapping[str, Any]) -> Job:
    """An event resource of Google Calendar (developers.google.com/calendar/api/v3/reference/events)."""
    if document.get("status") == "cancelled":
        raise _IgnoredError("the event was cancelled; a bot that is scheduled for it has to be removed by the API")
    if any(_mapping(attendee).get("self") and _declined(attendee) for attendee in document.get("attendees") or ()):
        raise _IgnoredError(_DECLINED)
    points = [_mapping(point) for point in _member(document, "conferenceData").get("entryPoints") or ()]
    videos = [point.get("uri") for point in points if point.get("entryPointType") == "video"]
    made = _first_link(document.get("hangoutLink"), *videos)
    link = _link_of(made, document.get("location"), document.get("description"))
    who = _member(document, "organizer").get("email") or _member(document, "creator").get("email")
    return _event_job("google", document, link, who)


def _graph_job(document: Mapping[str, Any]) -> Job:
    """An event resource of Microsoft Graph (learn.microsoft.com/graph/api/resources/event)."""
    if document.get("isCancelled"):
        raise _IgnoredError("the event was cancelled; a bot that is scheduled for it has to be removed by the API")
    if _member(document, "responseStatus").get("response") == "declined":
        raise _IgnoredError(_DECLINED)
    made = _first_link(_member(document, "onlineMeeting").get("joinUrl"), document.get("onlineMeetingUrl"))
    body = _member(document, "body").get("content") or document.get("bodyPreview")
    link = _link_of(made, _member(document, "location").get("displayName"), body)
    who = _member(_member(document, "organizer"), "emailAddress").get("address")
    return _event_job("graph", document, link, who)


def _declined(attendee: Any) -> bool:
    return _mapping(attendee).get("responseStatus") == "declined"


def _event_job(source: str, document: Mapping[str, Any], link: Link, who: Any) -> Job:
    if not link.url:
        raise _IgnoredError("the event has no meeting link")
    start, end = _member(document, "start"), _member(document, "end")
    if "dateTime" not in start:
        raise _IgnoredError("the event lasts all day: there is no time to join at")
    join_at = _moment(start)
    if "dateTime" in end and _moment(end) < datetime.now(timezone.utc):
        raise _IgnoredError("the event is over")
    event_id = document.get("id")
    if not isinstance(event_id, str) or not event_id:
        raise _RefusedError(400, "id: the event has none")
    fields: dict[str, Any] = {"meeting_link": link.url, "bot_name": _bot_name(), "join_at": join_at.isoformat()}
    fields["calendar_event_id"] = event_id
    if isinstance(who, str) and who:
        fields["user_id"] = who
    return _of_event(source, fields, _key(source, event_id, fields["join_at"], link.url), link.note)


def _zoom_job(document: Mapping[str, Any]) -> Job:
    """The webhook meeting.started (developers.zoom.us/docs/api/meetings/events)."""
    if document["event"] != "meeting.started":
        raise _IgnoredError("only meeting.started makes a bot")
    meeting = _member(_member(document, "payload"), "object")
    number = str(meeting.get("id", ""))
    if not number.isdecimal():
        raise _RefusedError(400, "payload.object.id: is no meeting number")
    fields: dict[str, Any] = {"meeting_link": f"https://zoom.us/j/{number}", "bot_name": _bot_name()}
    if meeting.get("host_id"):
        fields["user_id"] = str(meeting["host_id"])
    return _of_event("zoom", fields, _key("zoom", meeting.get("uuid") or number, meeting.get("start_time")))


def _of_event(source: str, fields: Mapping[str, Any], key: str, note: str = "") -> Job:
    """Calendars send an event again after days: the API remembers a deduplication_key for longer than the other."""
    return Job(source, {**fields, "deduplication_key": key}, key, note)


def _key(*facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()


def _bot_name() -> str:
    return os.environ.get("BOT_NAME") or "Notetaker"


def _first_link(*values: Any) -> str:
    return next((value for value in values if isinstance(value, str) and value.startswith("https://")), "")


def _link_of(made: str, location: Any, body: Any) -> Link:
    """The meeting of an event, whose calendar made the link `made`, or none.

    A link in `location` was put there by a person: it counts more than one that a calendar adds to every event. The
    body may be HTML. Raises: _RefusedError where there is only a link that is cut, or links to different meetings.
    """
    faults: list[str] = []
    placed = _read_link(location, faults)
    if made:
        return _of_two(made, placed) if placed else Link(made)
    link = placed or _read_link(body, faults)
    if not link and faults:
        raise _RefusedError(400, f"the event's meeting link: {faults[0]}")
    return Link(link)


def _of_two(made: str, placed: str) -> Link:
    try:
        return Link(recognise(f"<{made}>\n<{placed}>").url)  # as they are one meeting, the more complete of them
    except BadLinkError:
        return Link(placed, "the event names two meetings: the one in its location is taken, not the calendar's own")


def _read_link(text: Any, faults: list[str]) -> str:
    """The meeting link in a text; empty if there is none. What is wrong with the text is added to `faults`."""
    if not isinstance(text, str):
        return ""
    try:
        return recognise(text, longest=_MOST_BYTES).url
    except NoLinkError:
        return ""
    except BadLinkError as error:
        faults.append(str(error))
        return ""


def _moment(when: Mapping[str, Any]) -> datetime:
    """The time of an event; without an offset of its own it is in the named zone."""
    text = str(when["dateTime"]).replace("Z", "+00:00")
    text = re.sub(r"\.(\d{1,6})\d*", lambda found: "." + found[1].ljust(6, "0"), text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _RefusedError(400, "dateTime: is no ISO 8601 time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=_zone(str(when.get("timeZone") or "UTC")))
    return moment.astimezone(timezone.utc)


def _zone(name: str) -> Any:
    """The time zone with that name, by IANA or by Windows."""
    if name in ("UTC", "Etc/UTC", "Etc/GMT", "tzone://Microsoft/Utc"):  # which no database of zones is needed for
        return timezone.utc
    try:
        return ZoneInfo(ZONES.get(name, name))
    except (LookupError, ValueError, OSError):
        message = 'timeZone: is not known here; ask Graph with the header Prefer: outlook.timezone="UTC"'
        raise _RefusedError(400, message) from None


def _member(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    return _mapping(document.get(name))


def _mapping(value: Any) -> dict[str, Any]:
    """Empty for what is no object."""
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]  # as JSON is


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise _RefusedError(400, "the body is not JSON") from None
    if not isinstance(document, dict):
        raise _RefusedError(400, "the body is no JSON object")
    return _mapping(document)


# To the API


class _AsItCame(urllib.request.HTTPErrorProcessor):
    """Every answer is an answer, also a redirect: following it would take the token to wherever it leads."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response

    https_response = http_response


_opener = urllib.request.build_opener(_AsItCame)


def _post(job: Job, deadline: float) -> Outcome:
    """Post until the API has answered for good, or the time is up. Repeats are safe: they carry the same key."""
    request = _api_request(job)
    pause_s, last = _BACKOFF_S, "no answer"
    while True:
        left = deadline - time.monotonic()
        if left <= 0.1:
            return _later(job, last)
        status, retry_after, body = _send(request, min(_ATTEMPT_S, left))
        if status in (200, 201, 507):
            facts = {"outcome": "created" if status == 201 else "known", "source": job.source}
            if job.note:
                facts["note"] = job.note
            return Outcome(200, {**facts, "bot_id": str(body.get("bot_id", ""))})
        last = f"the API answered {status}" if status else "the API cannot be reached"
        if status in (401, 403):
            return Outcome(502, _facts(job, "failed", "the API does not take POOLMGR_API_TOKEN"))
        if status and status < 500 and status not in _TRY_AGAIN:
            facts = _facts(job, "refused", str(body.get("message", last))[:500])
            return Outcome(status if status >= 400 else 502, facts)
        pause_s = max(pause_s, float(retry_after) if retry_after.isdecimal() else 0.0)
        if time.monotonic() + pause_s >= deadline:
            return _later(job, last)
        time.sleep(pause_s * random.uniform(1.0, 1.3))  # noqa: S311 - spreads load, guards nothing
        pause_s = min(pause_s * 2, _BACKOFF_MOST_S)


def _later(job: Job, last: str) -> Outcome:
    return Outcome(503, _facts(job, "failed", f"{last}; send it again later"))


def _facts(job: Job, outcome: str, message: str) -> dict[str, Any]:
    return {"outcome": outcome, "source": job.source, "message": message}


def _api_request(job: Job) -> urllib.request.Request:
    base = os.environ.get("POOLMGR_API_URL", "").strip().rstrip("/")
    token = os.environ.get("POOLMGR_API_TOKEN", "").strip()
    if not base or not token or not (token.isascii() and token.isprintable()):
        raise _RefusedError(500, "POOLMGR_API_URL or POOLMGR_API_TOKEN is not set, or is unusable")
    parts = urllib.parse.urlsplit(base)
    allowed = ("https", "http") if os.environ.get("POOLMGR_ALLOW_HTTP") == "1" else ("https",)
    if parts.scheme not in allowed or not parts.hostname:
        raise _RefusedError(500, "POOLMGR_API_URL does not begin with https://")
    headers = {
        "Authorization": f"Token {token}",
        "Content-Type": "application/json",
        "Idempotency-Key": job.key,
        "User-Agent": "poolmgr-trigger",
    }
    return urllib.request.Request(base + _PATH, json.dumps(job.fields).encode(), headers, method="POST")  # noqa: S310


def _send(request: urllib.request.Request, timeout_s: float) -> tuple[int, str, dict[str, Any]]:
    """Status, Retry-After and JSON of one answer; status 0 when there was none."""
    try:
        with _opener.open(request, timeout=timeout_s) as answer:
            return answer.status, answer.headers.get("Retry-After", ""), _document(answer.read(_MOST_BYTES))
    except (OSError, HTTPException):
        return 0, "", {}


def _document(body: bytes) -> dict[str, Any]:
    try:
        return _mapping(json.loads(body))
    except (ValueError, RecursionError):
        return {}


# To the caller


def _request(event: Any) -> Request | None:
    """The HTTP request in an event of a function URL or an API Gateway; None if it is none."""
    call = _mapping(event)
    about = _member(call, "requestContext")
    method = _member(about, "http").get("method") or (about and call.get("httpMethod"))
    if not method:
        return None
    body = str(call.get("body") or "")
    try:
        raw = base64.b64decode(body) if call.get("isBase64Encoded") else body.encode(errors="replace")
    except binascii.Error:
        raw = b""
    headers = {name.lower(): str(value) for name, value in _member(call, "headers").items()}
    return Request(str(method), headers, _member(call, "queryStringParameters"), raw)


def _http(status: int, body: str, content_type: str) -> dict[str, Any]:
    headers = {"Content-Type": content_type, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    if status == 503:
        headers["Retry-After"] = str(_RETRY_AFTER_S)
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}


def _seconds_left(context: Any) -> float:
    ask = getattr(context, "get_remaining_time_in_millis", None)
    return (ask() / 1000.0 if ask else _ALTOGETHER_S) - _RESERVE_S


def _tell(outcome: Outcome) -> None:
    facts = {name: outcome.facts[name] for name in ("outcome", "source", "bot_id") if name in outcome.facts}
    _log.info(json.dumps({"event": "trigger_handled", "status": outcome.status, **facts}))
