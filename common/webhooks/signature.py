"""Signs webhooks: the headers of MeetStream's API, and those of Standard Webhooks.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime

from common.config.settings import WebhookTimestamp
from common.jobs.outgoing import Delivery


def headers(
    delivery: Delivery, secrets: Sequence[str], now: float, timestamp: WebhookTimestamp = "delivery"
) -> dict[str, str]:
    """The headers for one attempt made `now` (epoch seconds). `secrets`: `whsec_` and base64; a receiver may know any
    of them.

    X-MeetStream-Signature uses only the first secret. Without secrets nothing is signed. `timestamp`: what
    X-MeetStream-Timestamp contains. It is the time of this attempt (ISO 8601), which MeetStream's newer receivers allow
    to be 300 s old; or the time of the event (epoch seconds), as older receivers read it. No signature covers it.
    `traceparent` is what the bot's client gave with its job, if it did.
    """
    body, sent_at = delivery.body.encode(), str(int(now))
    named = {
        "X-MeetStream-Timestamp": _iso(now) if timestamp == "delivery" else str(int(delivery.at)),
        "webhook-id": delivery.id,
        "webhook-timestamp": sent_at,
    }
    if delivery.traceparent:
        named["traceparent"] = delivery.traceparent
    if not secrets:
        return named
    digest = hmac.new(secrets[0].encode(), body, hashlib.sha256).hexdigest()
    signed = f"{delivery.id}.{sent_at}.".encode() + body
    return {
        **named,
        "X-MeetStream-Signature": f"sha256={digest}",
        "webhook-signature": " ".join(_standard(secret, signed) for secret in secrets),
    }


def _iso(at: float) -> str:
    """ISO 8601 with milliseconds, which Python before 3.11 and JavaScript read, too."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _standard(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}"
