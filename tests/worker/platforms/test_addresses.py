"""Where the browser goes to join, from a tidied link."""

import json
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.links.links import recognise
from worker.platforms.addresses import google_meet, jitsi, teams, zoom

DEEP: Final = "/l/meetup-join/19%3ameeting_x%40thread.v2/0?context=%7b%22Tid%22%3a%22t%22%7d"


@pytest.mark.parametrize(
    ("link", "address"),
    [
        ("https://meet.google.com/abc-defg-hij", "https://meet.google.com/abc-defg-hij?hl=en"),
        ("https://meet.google.com/abc-defg-hij?hl=de&x=1", "https://meet.google.com/abc-defg-hij?x=1&hl=en"),
    ],
)
def test_google_meet_is_opened_in_english(link: str, address: str) -> None:
    assert google_meet(link, "Notes") == google_meet(link, "Notes", signed_in=True) == address


@pytest.mark.parametrize(
    ("link", "address"),
    [
        (
            "https://us02web.zoom.us/j/81234567890?pwd=a%2Bb.1&omn=2",
            "https://app.zoom.us/wc/81234567890/join?pwd=a%2Bb.1",
        ),
        ("https://zoom.us/j/123456789", "https://app.zoom.us/wc/123456789/join"),
        ("https://zoom.us/s/123456789?zak=z", "https://app.zoom.us/wc/123456789/join"),
        ("https://zoom.us/w/123456789?password=p=.1", "https://app.zoom.us/wc/123456789/join?pwd=p=.1"),
        ("https://zoom.com/j/123456789?tk=&pwd=a", "https://app.zoom.us/wc/123456789/join?pwd=a"),
        ("https://agency.zoomgov.com/j/1612345678?pwd=a", "https://agency.zoomgov.com/wc/1612345678/join?pwd=a"),
    ],
)
def test_zoom_is_opened_in_its_web_client(link: str, address: str) -> None:
    assert zoom(link, "Notes") == zoom(link, "Notes", signed_in=True) == address


@pytest.mark.parametrize(
    "link",
    [
        "https://zoom.us/w/123456789?tk=a.b.AG&pwd=c",
        "https://app.zoom.us/wc/123456789/join?pwd=a.1",
        "https://zoom.us/wc/join/123456789",
        "https://zoom.us/my/ada?pwd=a",
        "https://events.zoom.us/ejl/AbC",
        "https://meetings.example/j/123456789?pwd=a",
        "https://evilzoom.us/j/123456789",
    ],
)
def test_a_zoom_link_that_would_lose_something_stays_as_it_is(link: str) -> None:
    assert zoom(link, "Notes") == link


@pytest.mark.parametrize("host", ["teams.microsoft.com", "gov.teams.microsoft.us", "teams.company.example:8443"])
@pytest.mark.parametrize("place", ["", "/_#", "/v2/?meetingjoin=true#"])
def test_teams_is_opened_in_its_web_client_on_the_links_own_host(host: str, place: str) -> None:
    link = f"https://{host}{place}{DEEP}"
    assert teams(link, "Notes") == f"https://{host}/v2/?meetingjoin=true#{DEEP}&anon=true"
    assert teams(link, "Notes", signed_in=True) == f"https://{host}/v2/?meetingjoin=true#{DEEP}"
    assert teams(f"{link}&anon=false", "Notes") == teams(link, "Notes")


@pytest.mark.parametrize(
    ("link", "address"),
    [
        ("https://teams.live.com/meet/9312345678901?p=x%2By", "https://teams.live.com/meet/9312345678901?p=x%2By"),
        (
            "https://teams.live.com/v2/?meetingjoin=true#/meet/9312345678901?p=xY",
            "https://teams.live.com/v2/?meetingjoin=true#/meet/9312345678901?p=xY&anon=true",
        ),
        (
            "https://teams.microsoft.com/l/meetup-join/x",
            "https://teams.microsoft.com/v2/?meetingjoin=true#/l/meetup-join/x?anon=true",
        ),
        ("https://teams.company.example/conference/7", "https://teams.company.example/conference/7"),
    ],
)
def test_a_teams_link_keeps_its_passcode_and_its_own_way(link: str, address: str) -> None:
    assert teams(link, "Notes") == address


def test_a_signed_in_bot_needs_no_query_where_the_link_has_none() -> None:
    link = "https://teams.microsoft.com/l/meetup-join/x"
    assert teams(link, "N", signed_in=True) == "https://teams.microsoft.com/v2/?meetingjoin=true#/l/meetup-join/x"


def test_jitsi_is_configured_by_the_hash_and_never_hides_the_bot() -> None:
    link = "https://meet.jit.si/Gr%C3%BC%C3%9Fe?jwt=a.b.c#config.p2p.enabled=true&config.lang=%22en%22&config.iAmRecorder=true"
    assert jitsi(link, "Nóta & Co").split("#") == [
        "https://meet.jit.si/Gr%C3%BC%C3%9Fe?jwt=a.b.c",
        "config.lang=%22en%22&config.startWithAudioMuted=true&config.startWithVideoMuted=true"
        "&config.prejoinConfig.enabled=false&config.disableInitialGUM=true&config.p2p.enabled=false"
        "&config.requireDisplayName=false&config.deeplinking.disabled=true&config.analytics.disabled=true"
        "&userInfo.displayName=%22N%C3%B3ta%20%26%20Co%22",
    ]


@given(st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=100))
def test_any_name_arrives_in_jitsi_as_it_is_and_says_nothing_else(name: str) -> None:
    fragment = urlsplit(jitsi("https://meet.jit.si/Room", name)).fragment
    values = dict(part.split("=") for part in fragment.split("&"))
    assert len(values) == 9
    assert json.loads(unquote(values["userInfo.displayName"])) == name


@given(st.text("ABCabc012-_~+/", min_size=1, max_size=60))
def test_a_passcode_arrives_byte_for_byte(passcode: str) -> None:
    link = recognise(f"https://us02web.zoom.us/j/81234567890?pwd={passcode}").url
    assert urlsplit(zoom(link, "Notes")).query == f"pwd={passcode}"
    link = recognise(f"https://teams.live.com/meet/9312345678901?p={passcode}").url
    assert urlsplit(teams(link, "Notes")).query == f"p={passcode}"


def test_addresses_are_links_that_are_recognised_as_the_same_meeting() -> None:
    for link, address in (
        ("https://zoom.us/j/123456789?pwd=a.1", zoom("https://zoom.us/j/123456789?pwd=a.1", "N")),
        (f"https://teams.microsoft.com{DEEP}", teams(f"https://teams.microsoft.com{DEEP}", "N")),
        ("https://meet.google.com/abc-defg-hij", google_meet("https://meet.google.com/abc-defg-hij", "N")),
    ):
        assert recognise(f"{link} {address}").platform == recognise(link).platform
    assert parse_qs(urlsplit(google_meet("https://meet.google.com/abc-defg-hij", "N")).query) == {"hl": ["en"]}
