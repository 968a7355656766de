"""Which links are meetings, and that nothing else gets through."""

from typing import Final
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wire import links
from wire.links import MAX_LINK_LENGTH, BadLinkError, MeetingLink, recognise, redact

ROOMS: Final = ("rooms.example", "localhost:8090")
JITSIS: Final = ("jitsi.example",)


@pytest.mark.parametrize(
    "text",
    [
        "https://rooms.example/r/demo",
        "http://rooms.example/r/demo",
        "https://rooms.example:1234/r/demo",  # a host without a port stands for all its ports
        "http://localhost:8090/r/demo",
        "HTTP://LOCALHOST:8090/r/demo",
        "http://localhost:8090/r/0?name=x#y",
        "http://localhost:8090/r/" + "a" * 64,
    ],
)
def test_a_link_to_a_room_host_is_a_room_and_stays_as_it_was(text: str) -> None:
    assert recognise(text, ROOMS) == MeetingLink("room", text)


def test_white_space_around_a_link_is_dropped() -> None:
    assert recognise("\n https://rooms.example/r/demo \t", ROOMS).url == "https://rooms.example/r/demo"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not begin with https"),
        ("rooms.example/r/demo", "does not begin with https"),
        ("javascript:alert(1)", "does not begin with https"),
        ("file:///etc/passwd", "does not begin with https"),
        ("data:text/html,x", "does not begin with https"),
        ("ftp://rooms.example/r/demo", "does not begin with https"),
        ("//rooms.example/r/demo", "does not begin with https"),
        ("https:///r/demo", "names no host"),
        ("https:rooms.example/r/demo", "names no host"),
        ("https://:8090/r/demo", "names no host"),
        ("https://rooms.example/r/de mo", "spaces"),
        ("https://rooms.example/r/de\tmo", "spaces"),
        ("https://rooms.example/r/de\nmo", "spaces"),
        ("https://rooms.example/r/demo\x00", "control characters"),
        ("https://rooms.example/r/demo\u202e", "control characters"),
        ("https://rooms\u00adexample/r/demo", "control characters"),
        ("https://rooms.example\\@evil.example/r/demo", "backslashes"),
        ("https://user:secret@rooms.example/r/demo", "user name or password"),
        ("https://user@rooms.example/r/demo", "user name or password"),
        ("https://@rooms.example/r/demo", "user name or password"),
        ("https://rooms.example@evil.example/r/demo", "user name or password"),
        ("https://localhost:99999/r/demo", "not a URL"),
        ("https://localhost:8090:1/r/demo", "not a URL"),
        ("https://localhost:８０９０/r/demo", "not a URL"),
        ("https://localhost:-1/r/demo", "not a URL"),
        ("https://[::1/r/demo", "not a URL"),
        ("https://[junk]/r/demo", "unknown platform|not a URL"),
        ("https://evil.example", "unknown platform"),
        ("https://rooms.example.evil.example/r/demo", "unknown platform"),
        ("https://notrooms.example/r/demo", "unknown platform"),
        ("https://rooms.example./r/demo", "unknown platform"),
        ("https://localhost:8091/r/demo", "unknown platform"),
        ("https://localhost/r/demo", "unknown platform"),
        ("https://meet.google.com.evil.example/abc-defg-hij", "'meet.google.com.evil.example' is not a meeting host"),
        ("https://meet-google.com/abc-defg-hij", "is not a meeting host"),
        ("https://evilzoom.us/j/1", "is not a meeting host"),
        ("https://xn--zom-7qa.us/j/1", "is not a meeting host"),
        ("https://mеet.google.com/abc-defg-hij", "is not a meeting host"),  # a Cyrillic e
        ("https://meet.google.com", "to google_meet, but to no meeting there"),
        ("http://meet.google.com/abc-defg-hij", "to google_meet, but not by https"),
        ("https://zoom.us:8443/j/1", "to zoom, but not by https on its usual port"),
        ("https://company.zoom.us/", "to zoom, but to no meeting there"),
        ("https://jitsi.example//", "to jitsi, but to no meeting there"),
        ("https://rooms.example", "path is not /r/NAME"),
        ("https://rooms.example/r/", "path is not /r/NAME"),
        ("https://rooms.example/r/demo/", "path is not /r/NAME"),
        ("https://rooms.example/r/../admin", "path is not /r/NAME"),
        ("https://rooms.example/r/-demo", "path is not /r/NAME"),
        ("https://rooms.example/r/%2e%2e", "path is not /r/NAME"),
        ("https://rooms.example/r/" + "a" * 65, "path is not /r/NAME"),
        ("https://rooms.example/r/demo?" + "a" * MAX_LINK_LENGTH, f"longer than {MAX_LINK_LENGTH}"),
    ],
)
def test_whatever_is_not_certainly_a_meeting_is_refused_with_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(BadLinkError, match=message):
        recognise(text, ROOMS, JITSIS)


@pytest.mark.parametrize(
    ("platform", "text"),
    [
        ("google_meet", "https://meet.google.com/abc-defg-hij"),
        ("zoom", "https://zoom.us/j/1?pwd=x"),
        ("zoom", "https://zoom.us:443/j/1"),
        ("zoom", "https://company.zoom.us/j/1"),
        ("zoom", "https://agency.zoomgov.com/j/1"),
        ("teams", "https://teams.microsoft.com/l/meetup-join/x"),
        ("jitsi", "https://meet.jit.si/demo"),
        ("jitsi", "https://jitsi.example/demo"),
        ("jitsi", "https://jitsi.example:8443/demo"),
    ],
)
def test_a_link_to_a_known_platform_is_taken_as_it_is(platform: str, text: str) -> None:
    assert recognise(text, ROOMS, JITSIS) == MeetingLink(platform, text)


def test_every_platform_that_a_link_can_be_of_is_named() -> None:
    assert set(links.PLATFORMS) == {"google_meet", "zoom", "teams", "jitsi", "room"}


def test_without_room_hosts_no_link_is_a_room() -> None:
    with pytest.raises(BadLinkError, match="unknown platform"):
        recognise("https://rooms.example/r/demo")


_PIECES = st.sampled_from(
    [
        "https://",
        "http:",
        "rooms.example",
        "localhost",
        ":8090",
        "@",
        "/r/",
        "demo",
        "..",
        "[",
        "]",
        "%",
        "\\",
        "?",
        "#",
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(st.one_of(_PIECES, st.characters()), max_size=12).map("".join)))
@example("https://[")
@example("https://ℂ/")
def test_any_text_is_a_room_on_a_room_host_or_refused(text: str) -> None:
    try:
        link = recognise(text, ROOMS)
    except BadLinkError:
        return
    parts = urlsplit(link.url)
    assert link.platform == "room"
    assert parts.scheme in ("http", "https")
    assert parts.hostname == "rooms.example" or parts.netloc.lower() == "localhost:8090"
    assert parts.path.startswith("/r/")


@pytest.mark.parametrize(
    "text",
    [
        "https://rooms.example:hunter2/",
        "https://user:hunter2/x@rooms.example/r/demo",
        "https://user:hunter2@rooms.example\u2100/r/demo",
        "https://[hunter2]/",
        "https://rooms.example:99999/hunter2",
    ],
)
def test_what_is_said_of_a_link_that_cannot_be_read_quotes_nothing_of_it(text: str) -> None:
    with pytest.raises(BadLinkError, match="not a URL") as refusal:
        recognise(text, ROOMS)
    assert "hunter2" not in str(refusal.value)


def test_a_link_in_a_log_has_no_path_query_or_credentials() -> None:
    assert redact("https://user:secret@rooms.example:8090/r/demo?pwd=1#x") == "https://rooms.example/…"
    for no_url in ("nonsense", "https://[::1", "javascript:alert(1)", ""):
        assert redact(no_url) == "…"
