"""A function that takes poolmgr's webhooks and keeps what they say in the table that `poolmgr mirror` fills, too.

It keeps nothing itself and needs boto3 (which Lambda has), the standard library, and common/wire/mirrored.py, a copy of
the project's own (deploy/vendor.py). A webhook is answered with 204 when the table has it, or something newer; whatever
goes wrong before, it comes again. For AWS Lambda behind a function URL or an API Gateway (payload format 2.0).
"""

import base64
import binascii
import hashlib
import hmac
import importlib
import json
import logging
import os
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from common.wire import mirrored

MOST_BYTES: Final = 1 << 20
TOLERANCE_S: Final = 300
"""How far the sender's clock and ours may be apart: what was recorded and is sent again later is refused."""

_WEEK_S: Final = 7 * 86_400
_CONNECT_S, _READ_S = 2.0, 3.0
_STATES: Final = {
    "bot.scheduled": "scheduled",
    "bot.joining": "joining",
    "bot.in_waiting_room": "waiting_room",
    "bot.inmeeting": "in_meeting",
    "bot.leaving": "leaving",
    "bot.stopped": "stopped",
}
_TIMES: Final = {"joining": "joining_at", "in_meeting": "inmeeting_at", "stopped": "stopped_at"}
_FLAGS: Final = {
    "audio.processed": "audio_webhook_received",
    "transcription.processed": "transcript_webhook_received",
}

_log = logging.getLogger("receiver")
_log.setLevel(logging.INFO)
_clients: dict[str, Any] = {}


class Answer(NamedTuple):
    status: int
    message: str = ""


class RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def handler(event: Any, context: Any = None) -> dict[str, Any]:
    """AWS Lambda's entry."""
    del context
    try:
        answer = _take(event, time.time())
    except RefusedError as error:
        answer = Answer(error.status, str(error))
    if answer.status != 204:
        _log.warning("%s %s", answer.status, answer.message)
    headers = {"Content-Type": "application/json", **({"Retry-After": "5"} if answer.status == 503 else {})}
    body = json.dumps({"message": answer.message}) if answer.message else ""
    return {"statusCode": answer.status, "headers": headers, "body": body}


def _take(event: Any, now: float) -> Answer:
    table, secrets = os.environ.get("TABLE", ""), os.environ.get("WEBHOOK_SECRETS", "").split()
    if not table or not secrets:
        raise RefusedError(500, "the variables TABLE and WEBHOOK_SECRETS have to be set")
    headers, body = _request(event)
    verify(headers, body, secrets, now)
    try:
        webhook = json.loads(body)
        request = request_of(table, webhook, now)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RefusedError(400, f"signed, but no webhook of poolmgr: {type(error).__name__}") from error
    if request is None:
        return Answer(204)
    outcome = _write(request)
    _log.info("%s %s %s", webhook["bot_id"], webhook["event"], outcome)
    return Answer(204)


def _request(event: Any) -> tuple[dict[str, str], bytes]:
    try:
        method = event["requestContext"]["http"]["method"]
        headers = {str(name).lower(): str(value) for name, value in event["headers"].items()}
        text = event.get("body") or ""
        body = base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()
    except (KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise RefusedError(400, "this is no request by HTTP") from error
    if method != "POST":
        raise RefusedError(405, "POST a webhook")
    if len(body) > MOST_BYTES:
        raise RefusedError(413, f"at most {MOST_BYTES} bytes")
    return headers, body


def verify(headers: Mapping[str, str], body: bytes, secrets: list[str], now: float) -> None:
    """Raises: RefusedError. Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`. In constant time: every signature
    is compared with that of every secret.
    """
    webhook_id, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    is_number = sent_at.isascii() and sent_at.isdecimal() and len(sent_at) < 16
    if not webhook_id or not is_number or abs(now - int(sent_at)) > TOLERANCE_S:
        raise RefusedError(401, "no id, or the time it was sent is too far from ours")
    content = f"{webhook_id}.{sent_at}.".encode() + body
    given = [part[3:].encode() for part in headers.get("webhook-signature", "").split(" ")[:16] if part[:3] == "v1,"]
    is_ours = False
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest())
        for signature in given:
            is_ours |= hmac.compare_digest(expected, signature)
    if not is_ours:
        raise RefusedError(401, "no signature is by a secret of ours")


def request_of(table: str, webhook: Mapping[str, Any], now: float) -> dict[str, Any] | None:
    """What a webhook changes in the table, as a request; None: nothing. Raises: ValueError, KeyError, TypeError."""
    bot_id, event, at = str(webhook["bot_id"]), str(webhook["event"]), str(webhook["timestamp"])
    keep_s = int(os.environ.get("KEEP_S", "") or _WEEK_S)
    happened = datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()
    # A release before this one does not say of which entry of the status stream it is.
    covers = mirrored.sequence(str(webhook.get("sequence") or f"{int(happened * 1000)}-0"))
    if event == "data_deletion":
        return mirrored.deletion(table, bot_id, covers, now)
    if flag := _FLAGS.get(event):
        return mirrored.mark(table, bot_id, flag, int(now) + keep_s)
    state = _STATES.get(event)
    if state is None:
        return None
    fields = {
        "state": state,
        "status": str(webhook["bot_status"]),
        "status_reason": str(webhook.get("reason") or ""),
        "attribution": str(webhook.get("attribution") or ""),
        "user_id": str(webhook.get("user_id") or ""),
        "calendar_event_id": str(webhook.get("calendar_event_id") or ""),
        "attempt": str(int(webhook.get("attempt") or 0)),
    }
    if state in _TIMES:
        fields[_TIMES[state]] = at
    ends_at = int(happened) + keep_s if state == "stopped" else int(happened) + mirrored.LIVE_S
    return mirrored.update(table, bot_id, covers, ends_at, fields, dict.fromkeys(mirrored.FLAGS, False))


def _write(request: dict[str, Any]) -> str:
    """Returns what came of it. Raises: RefusedError."""
    faults: Any = importlib.import_module("botocore.exceptions")
    client = _client()
    try:
        (client.update_item if "Key" in request else client.put_item)(**request)
    except faults.ClientError as error:
        code = str(error.response["Error"]["Code"])
        if code == "ConditionalCheckFailedException":
            return "known"
        refused = code in ("AccessDeniedException", "ResourceNotFoundException", "ValidationException")
        raise RefusedError(500 if refused else 503, f"the table refused: {code}") from error
    except faults.BotoCoreError as error:
        raise RefusedError(503, f"the table does not answer: {type(error).__name__}") from error
    return "written"


def _client() -> Any:
    """One for all calls of this process."""
    if "dynamodb" not in _clients:
        sdk: Any = importlib.import_module("boto3")
        core: Any = importlib.import_module("botocore.config")
        retries = {"total_max_attempts": 2, "mode": "standard"}
        config = core.Config(connect_timeout=_CONNECT_S, read_timeout=_READ_S, retries=retries)
        _clients["dynamodb"] = sdk.client("dynamodb", config=config)
    return _clients["dynamodb"]
