"""What is left of links and URLs when they are shown."""

import json

import pytest

from common.config.masking import mask_url
from common.jobs.record import Record
from poolmgr.telling.secrecy import hide_link, hide_links, hide_links_in_payload, hide_links_in_record, hide_secrets


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("https://meet.google.com/abc-defg-hij", "https://meet.google.com/…"),
        ("https:\\/\\/meet.google.com\\/abc", "https://meet.google.com/…"),
        ("https://user:secret@zoom.us/j/1?pwd=x", "https://zoom.us/…"),
        ("meet.google.com/abc-defg-hij", "…"),
        ("https://[::1/secret", "…"),
        ("secret", "…"),
    ],
)
def test_of_a_link_only_the_host_is_left(link: str, shown: str) -> None:
    assert hide_link(link) == shown


@pytest.mark.parametrize(
    "text",
    [
        "page.goto: net::ERR_ABORTED at https://meet.google.com/secret?x=secret, waiting",
        '{"meeting_link": "https:\\/\\/meet.google.com\\/secret"',
        "meeting_link=meet.google.com/secret",
        "(HTTPS://MEET.GOOGLE.COM:8443/secret)",
    ],
)
def test_links_in_free_text_are_found_and_redacted(text: str) -> None:
    assert "secret" not in hide_links(text)
    assert "meet.google.com" in hide_links(text).lower()


@pytest.mark.parametrize(
    "job",
    [
        {"meeting_link": "secret"},
        {"meeting_url": "meet.google.com/secret", "bot_name": "Ada"},
        {"a": [{"meeting_link": ["secret"], "callback_url": "https://hooks.example/secret"}]},
        {"https://meet.google.com/secret": 1},
        {"passcode": "secret"},
        {"a": [{"passcode": {"secret": ["secret"]}}]},
        {"meeting_link": "Join https://meet.google.com/secret Passcode: secret"},
        *({name: "secret"} for name in ("PassCode", "PASSWORD", "pass_code", "Meeting-Password", "pwd", "pin", "zak")),
        {"clientSecret": 5, "access_token": "secret", "sso_private_key_pem": "secret"},
        {"bot_message": "Hello\r\nPasscode: a secret one"},
        {"note": ["Meeting password is secret", "PIN:secret", "Kenncode: secret", "パスコード:secret", "pwd=secret"]},
        {"note": "Passcode\n  :  \n secret"},
        {"note": "Passcode 4secret"},
        {"Passcode: secret": 1},
    ],
)
def test_links_in_a_job_are_redacted_wherever_they_stand(job: object) -> None:
    shown = hide_links_in_payload(json.dumps(job))
    assert "secret" not in shown
    json.loads(shown)


@pytest.mark.parametrize(
    "payload",
    [
        '{"bot_name": "Ada", "passcode": "12 secret',
        "{'passcode': 'secret'}",
        "passcode=secret",
        '{\\"passcode\\": \\"secret',
        '{"PassCode": "secret", "Password": "secret"',
        "Password : secret",
    ],
)
def test_a_passcode_in_a_job_that_is_no_json_is_hidden(payload: str) -> None:
    assert "secret" not in hide_links_in_payload(payload)


def test_a_record_is_shown_without_its_link_its_passcode_and_its_payload() -> None:
    record = {"meeting_url": "https://zoom.us/j/1?pwd=secret", "passcode": "secret", "payload": "secret", "state": "x"}
    shown = Record.from_hash({"meeting_url": "https://zoom.us/…", "passcode": "***", "state": "x"})
    assert hide_links_in_record(Record.from_hash(record)) == shown
    assert "payload" not in shown.texts()
    assert hide_links_in_record(Record.from_hash({})) == Record.from_hash({})


def test_a_passcode_to_be_dialled_is_hidden() -> None:
    assert "123456" not in hide_secrets("One tap: +15550001111,,89145612#,,,,*123456#")


def test_what_only_speaks_of_a_passcode_is_shown() -> None:
    text = "The passcode that the bot was given is wrong."
    assert hide_secrets(text) == text
    detail = "passcode: expected `str`, got `int`"
    shown = hide_links_in_record(Record.from_hash({"reason_detail": detail, "bot_message": detail}))
    assert (shown.reason_detail, shown.bot_message) == (detail, "passcode: ***")


def test_attributes_of_a_record_stay_json() -> None:
    shown = hide_links_in_record(Record.from_hash({"custom_attributes": '{"password": "secret", "tenant": "acme"}'}))
    assert json.loads(shown.custom_attributes) == {"password": "***", "tenant": "acme"}


def test_a_payload_too_deep_to_walk_is_still_shown() -> None:
    assert hide_links_in_payload("[" * 5000 + "]" * 5000).startswith("[[")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("redis://:p@h:1/0", "redis://:***@h:1/0"),
        ("rediss://ada:p@ss@h", "rediss://ada:***@h"),
        ("redis://token@h", "redis://***@h"),
        ("redis://h/0?a=1&Password=p&b=2", "redis://h/0?a=1&Password=***&b=2"),
        ("redis://:p@[::1/0", "redis://***"),
        (
            "redis+sentinel://:p@h:1,h:2/s/0?sentinel_username=ada&sentinel_password=p",
            "redis+sentinel://:***@h:1,h:2/s/0?sentinel_username=ada&sentinel_password=***",
        ),
    ],
)
def test_a_redis_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert mask_url(url) == shown
