"""The headers that say who sent a webhook: as MeetStream's client checks it, and as Standard Webhooks has it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime

from common.config.settings import WebhookTimestamp
from poolmgr.intake.outgoing import Delivery


def headers(
    delivery: Delivery, secrets: Sequence[str], now: float, timestamp: WebhookTimestamp = "delivery"
) -> dict[str, str]:
    """For one attempt made `now` (epoch seconds). `secrets`: `whsec_` and base64; a receiver may know any one of them.

    X-MeetStream-Signature knows only one: the first. Without secrets nothing is signed. `timestamp`: what
    X-MeetStream-Timestamp is: of this attempt (ISO 8601), which MeetStream's newer receivers check within 300 s, each
    attempt having its own; or of the event (epoch seconds), as older ones read it. No signature covers it.
    """
    body, sent_at = delivery.body.encode(), str(int(now))
    named = {
        "X-MeetStream-Timestamp": _iso(now) if timestamp == "delivery" else str(int(delivery.at)),
        "webhook-id": delivery.id,
        "webhook-timestamp": sent_at,
    }
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
    """With milliseconds: Python before 3.11 and JavaScript read that, too."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _standard(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}"
