"""What is hidden, and what is left: whoever reads evidence is to understand it, and not to get into the meeting."""

import re
from typing import NamedTuple, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.wire.messages import Join
from worker.meeting.redaction import (
    _STRIDE,  # pyright: ignore[reportPrivateUsage]
    HIDDEN,
    Secrets,
    _hidden,  # pyright: ignore[reportPrivateUsage]
    _matches,  # pyright: ignore[reportPrivateUsage]
)

MEET = "https://meet.google.com/abc-defg-hij?authuser=0&pli=1"
ZOOM = "https://acme.zoom.us/j/85123456789?pwd=aB3.xYz-9&uname=x#success"
TEAMS = "https://teams.microsoft.com/l/meetup-join/19%3ameeting_NzQ5@thread.v2/0?context=%7b%22Tid%22%3a%22f1b2%22%7d"


def secrets(link: str = MEET, passcode: str = "", message: str = "", *also: str) -> Secrets:
    return Secrets(Join("w1", "b1", 1, "zoom", link, "Bot", message=message, passcode=passcode), also)


@pytest.mark.parametrize(
    ("hidden", "text", "shown"),
    [
        (secrets(), "The code is abc-defg-hij.", f"The code is {HIDDEN}."),
        (secrets(), "go to meet.google.com/abc-defg-hij now", f"go to {HIDDEN} now"),
        (secrets(), "ABC-DEFG-HIJ", HIDDEN),
        (secrets(), "see https://a.example/x?y#z and b.example/c", f"see https://a.example/{HIDDEN} and {HIDDEN}"),
        (secrets(), "https://user:pass@a.example/x", f"https://a.example/{HIDDEN}"),
        (secrets(), "ask ada.l+x@mail.example.com", f"ask {HIDDEN}"),
        (secrets(), "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln", HIDDEN),
        (secrets(), "Passcode: hunter2, please", f"{HIDDEN}, please"),
        (secrets(), '{"access_token":"s3cret"}', f'{{"{HIDDEN}"}}'),
        (secrets(ZOOM), "Meeting ID: 851 2345 6789", f"Meeting ID: {HIDDEN}"),
        (secrets(ZOOM), "851-2345-6789 aB3.xYz-9", f"{HIDDEN} {HIDDEN}"),
        (secrets(TEAMS), "19:meeting_NzQ5@thread.v2", HIDDEN),
        (secrets(TEAMS), "19%3ameeting_NzQ5%40thread.v2", HIDDEN),
        (secrets(passcode="4711"), "code 4711, room 47110", f"code {HIDDEN}, room 47110"),
        (secrets(passcode="a<b"), "it is a&lt;b", f"it is {HIDDEN}"),
        (secrets(message="Hello all,\nI take notes"), "Bot: I take notes", f"Bot: {HIDDEN}"),
        (secrets(MEET, "", "", "https://x.example/wc/998877665/join?tk=AbCdEf"), "998877665", HIDDEN),
        (secrets("https://[not-a-link"), "fine", "fine"),
        (secrets(), "half a \ud800 pair", "half a ? pair"),
    ],
)
def test_what_lets_one_in_is_hidden(hidden: Secrets, text: str, shown: str) -> None:
    assert hidden.hide(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "You can't join this video call",
        "Asking to be let in...",
        "3 people are in this meeting. Ask to join",
        "Version 1.2.3 at 12:30, 85 123",
        "log: loaded module main in 12.5 ms",
        "net::ERR_CONNECTION_REFUSED",
    ],
)
def test_what_explains_an_end_stays_readable(text: str) -> None:
    assert secrets(ZOOM, "4711", "Hi").hide(text) == text


def test_what_was_typed_into_a_field_for_secrets_is_hidden_from_then_on() -> None:
    hidden = secrets()
    assert hidden.hide("typed it") == "typed it"
    hidden.add(["typed it", " "])
    assert hidden.hide("typed it here") == f"{HIDDEN} here"


codes = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.~", min_size=8, max_size=30).filter(
    lambda code: code.isalnum() and not code.isalpha()  # links have words, too, such as "personal"
)
around = st.text(max_size=30)


@example("eyj00000", "eyJ", ".")
@given(codes, around, around)
def test_no_text_around_a_code_brings_it_out(code: str, before: str, after: str) -> None:
    hidden = secrets(f"https://meet.example/{code}?pwd={code}x")
    assert code.lower() not in hidden.hide(f"{before}{code}{after}").lower().replace(HIDDEN, "")


pieces = st.sampled_from(
    [
        *("a", " ", "\n", ".", "-", "/", "47110", "851 2345 6789", "85123456789", "4711", "aB3.xYz-9", ZOOM),
        *("https://a.example/x", "ada@mail.example.com", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi", "token: abc"),
        *("I take notes", "x" * 1100),
    ]
)


@given(st.integers(-60, 10), st.lists(pieces, max_size=12), st.integers(0, 3))
def test_in_a_long_text_is_hidden_what_is_in_a_short_one(offset: int, some: list[str], windows: int) -> None:
    """Also where a search ends, and another one begins."""
    hidden = secrets(ZOOM, "4711", "Hello all,\nI take notes")
    text = "~ " * (_STRIDE // 2 * windows) + "~" * max(0, _STRIDE + offset) + "".join(some) + "~" * _STRIDE
    whole = re.compile("|".join(f"(?:{expression})" for expression in hidden.expressions), re.IGNORECASE)
    assert hidden.hide(text) == whole.sub(_hidden, text)


@pytest.mark.parametrize("text", ["a-b.c+d", "ab ", "pass code ", "x" * 63 + ".", f"{ZOOM} "])
def test_no_search_takes_in_more_of_a_text_than_a_bound(text: str) -> None:
    """While Python searches, no other thread runs."""
    asked: list[int] = []

    class Search(NamedTuple):
        compiled: re.Pattern[str]

        def search(self, text: str, at: int, end: int) -> re.Match[str] | None:
            asked.append(min(end, len(text)) - at)
            return self.compiled.search(text, at, end)

    compiled = re.compile("|".join(f"(?:{expression})" for expression in secrets(ZOOM).expressions), re.IGNORECASE)
    text = (text * 2000)[:20_000]
    found = [*_matches(cast("re.Pattern[str]", Search(compiled)), text, 1024)]
    assert [each.span() for each in found] == [each.span() for each in compiled.finditer(text)]
    assert max(asked) <= _STRIDE + 1024
