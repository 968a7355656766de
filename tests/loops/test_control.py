"""Requests that cannot be read: what the log says of them."""

import pytest

from poolmgr.loops.control import what_is_wrong
from poolmgr.store.reading.views import decode_request


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({b"request": b"secret", b"body": b"{}"}, "KeyError"),
        ({b"request": b"\xffsecret", b"body": b"{}"}, "UnicodeDecodeError"),
        ({b"request": b"leave", b"body": b'{"bot_id": "secret", "reason": "secret"}'}, "reason: invalid enum value"),
        (
            {b"request": b"say", b"body": b'{"message": ["secret"]}'},
            "message: expected `str`, got `array`",
        ),
    ],
)
def test_nothing_of_a_request_that_cannot_be_read_is_said(fields: dict[bytes, bytes], said: str) -> None:
    with pytest.raises((KeyError, ValueError)) as caught:  # whichever it is
        decode_request(fields)
    assert what_is_wrong(caught.value) == said


@pytest.mark.parametrize("half", [rb"\ud800", rb"\udc00", b"\xed\xa0\x80"])
def test_half_a_character_is_no_request(half: bytes) -> None:
    with pytest.raises(ValueError, match=r"surrogate|truncated|codec"):
        decode_request({b"request": b"leave", b"body": b'{"bot_id": "' + half + b'"}'})
