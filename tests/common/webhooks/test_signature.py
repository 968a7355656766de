"""Signatures, checked by the two published verifiers that receivers use."""

from datetime import UTC, datetime

import pytest
from meetstream import parse_webhook, verify_webhook_signature
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from common.jobs.outgoing import Delivery
from common.webhooks.signature import headers

SECRETS = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs="]
DELIVERY = Delivery(
    "evt_1", "b", "bot.joining", "https://h.example/", '{"event":"bot.joining","ü":"\\u0000 "}', 1.8e9 + 0.9
)


def test_meetstreams_client_accepts_it_with_the_first_secret() -> None:
    made = headers(DELIVERY, SECRETS, 1.8e9 + 60)
    assert verify_webhook_signature(DELIVERY.body, made["X-MeetStream-Signature"], SECRETS[0])
    assert parse_webhook(DELIVERY.body.encode(), made["X-MeetStream-Signature"], SECRETS[0])["event"] == "bot.joining"
    assert not verify_webhook_signature(DELIVERY.body + " ", made["X-MeetStream-Signature"], SECRETS[0])
    assert not verify_webhook_signature(DELIVERY.body, made["X-MeetStream-Signature"], SECRETS[1])


@pytest.mark.parametrize("secret", SECRETS)
def test_a_standard_webhooks_receiver_accepts_it_with_any_secret(secret: str) -> None:
    made = headers(DELIVERY, SECRETS, datetime.now(UTC).timestamp())
    Webhook(secret).verify(DELIVERY.body, made)
    for name, value in (("webhook-id", "evt_2"), ("webhook-timestamp", str(int(made["webhook-timestamp"]) + 1))):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(DELIVERY.body, {**made, name: value})


def test_id_and_signature_are_the_same_on_every_attempt_and_the_attempts_time_is_not() -> None:
    first, second = headers(DELIVERY, SECRETS, 1.8e9), headers(DELIVERY, SECRETS, 1.8e9 + 3600.0404)
    same = {name for name in first if first[name] == second[name]}
    assert same == {"webhook-id", "X-MeetStream-Signature"}
    assert first["X-MeetStream-Timestamp"] == "2027-01-15T08:00:00.000Z"
    assert second["X-MeetStream-Timestamp"] == "2027-01-15T09:00:00.040Z"
    assert second["webhook-timestamp"] == "1800003600"


def test_older_receivers_may_have_the_events_time() -> None:
    for now in (1.8e9, 1.8e9 + 3600):
        assert headers(DELIVERY, SECRETS, now, "event")["X-MeetStream-Timestamp"] == "1800000000"


def test_without_secrets_nothing_is_signed() -> None:
    assert set(headers(DELIVERY, [], 1.8e9)) == {"webhook-id", "webhook-timestamp", "X-MeetStream-Timestamp"}
