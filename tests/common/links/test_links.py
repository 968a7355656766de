"""Which links are meetings, and that nothing else gets through."""

import base64
import json
from typing import Any, Final
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.links import links
from common.links.links import MAX_LINK_LENGTH, MAX_TEXT_LENGTH, BadLinkError, MeetingLink, recognise
from common.links.redaction import redact

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
    assert recognise(text, ROOMS) == MeetingLink("room", text, identity=text)


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


def wrapped(link: str, times: int = 1) -> str:
    """As mail programs and calendars send people on to it."""
    for number in range(times):
        host = ("www.google.com/url?sa=D&q=", "eur01.safelinks.protection.outlook.com/?url=")[number % 2]
        link = f"https://{host}{quote(link, safe='')}&data=05%7C01&reserved=0"
    return link


def light(host: str, **coordinates: Any) -> str:
    coords = base64.b64encode(json.dumps(coordinates).encode()).decode()
    return f"https://{host}/light-meetings/launch?agent=web&coords={quote(coords)}&correlationId=1"


MEET: Final = "https://meet.google.com/abc-defg-hij"
MEETS: Final = [
    (MEET, MEET),
    ("meet.google.com/abc-defg-hij", MEET),
    ("MEET.google.com/ABC-DEFG-HIJ", MEET),
    ("http://meet.google.com/abc-defg-hij", MEET),
    ("HTTPS://Meet.Google.com:443/abc-defg-hij/", MEET),
    ("http://meet.google.com:80/abc-defg-hij", MEET),
    (f"{MEET}?authuser=0", MEET),
    (f"{MEET}?authuser=someone%40example.com&pli=1&hl=de", MEET),
    (f"{MEET}?hs=122&utm_source=mail#x", MEET),
    (f"{MEET}.", MEET),
    (f"<{MEET}>", MEET),
    (f"{MEET}>", MEET),
    (f'"{MEET}"', MEET),
    (f"'{MEET}'", MEET),
    (f"“{MEET}”", MEET),
    (f"({MEET})", MEET),
    (f"[{MEET}]({MEET})", MEET),
    (f"[here]({MEET})", MEET),
    (f"\u200b{MEET}\ufeff", MEET),
    (quote(MEET, safe=""), MEET),
    (quote(quote(quote(MEET, safe=""), safe=""), safe=""), MEET),
    ("https://meet.google.com/team-standup", "https://meet.google.com/team-standup"),
    ("https://meet.google.com/weekly2", "https://meet.google.com/weekly2"),
    (wrapped(MEET), MEET),
    (wrapped(MEET, 2), MEET),
    (wrapped(MEET, 3), MEET),
    (f"https://google.com/url?url={MEET}", MEET),
    (f"https://www.google.co.uk/url?q={MEET}&usg=1", MEET),
    (f"https://nam02.safelinks.protection.outlook.com/ap/t-59/?url={quote(MEET, safe='')}&amp;data=1", MEET),
    (f"https://www.google.com/url?q={quote(quote(MEET, safe=''), safe='')}", MEET),
]

ZOOM: Final = "https://us02web.zoom.us/j/81234567890?pwd=QkR0aVBa-x_Y.1"
ZOOMS: Final = [
    (ZOOM, ZOOM),
    ("us02web.zoom.us/j/81234567890?pwd=QkR0aVBa-x_Y.1", ZOOM),
    ("http://us02web.zoom.us/j/81234567890?pwd=QkR0aVBa-x_Y.1", ZOOM),
    (f"{ZOOM}#success", ZOOM),
    (f"{ZOOM}&utm_campaign=x&fbclid=y&_x_zm_rtaid=z", ZOOM),
    (f"{ZOOM}>", ZOOM),
    (f'"{ZOOM}"', ZOOM),
    (wrapped(ZOOM), ZOOM),
    (wrapped(ZOOM, 3), ZOOM),
    (wrapped(ZOOM).replace("&", "&amp;"), ZOOM),
    ("https://us02web.zoom.us/j/81234567890?omn=1&amp;pwd=a.1", "https://us02web.zoom.us/j/81234567890?omn=1&pwd=a.1"),
    ("https://zoom.us/j/123456789", "https://zoom.us/j/123456789"),
    ("https://zoom.us/j/123456789.", "https://zoom.us/j/123456789"),
    ("https://zoom.us/j/12345678", "https://zoom.us/j/12345678"),
    ("https://zoom.us:443/j/1234567890/", "https://zoom.us/j/1234567890"),
    ("https://zoom.us/j/1234567890?pwd=a%2Bb%3D%3D", "https://zoom.us/j/1234567890?pwd=a%2Bb%3D%3D"),
    ("https://zoom.us/j/1234567890?pwd=a+b/c==", "https://zoom.us/j/1234567890?pwd=a+b/c=="),
    ("https://zoom.us/j/1234567890?password=x.", "https://zoom.us/j/1234567890?password=x."),
    ("https://zoom.us/s/1234567890?zak=eyJ.a", "https://zoom.us/s/1234567890?zak=eyJ.a"),
    ("https://zoom.us/w/91234567890?tk=a.b.AG&utm_source=m&", "https://zoom.us/w/91234567890?tk=a.b.AG&utm_source=m&"),
    ("http://zoom.us/w/91234567890?tk=a.b-_.AG", "https://zoom.us/w/91234567890?tk=a.b-_.AG"),
    ("https://app.zoom.us/wc/81234567890/join?pwd=a.1", "https://app.zoom.us/wc/81234567890/join?pwd=a.1"),
    ("https://app.zoom.us/wc/81234567890/start", "https://app.zoom.us/wc/81234567890/start"),
    ("https://zoom.us/wc/join/81234567890?prefer=1", "https://zoom.us/wc/join/81234567890?prefer=1"),
    ("https://example.zoom.us/my/ada.lovelace?pwd=a.1", "https://example.zoom.us/my/ada.lovelace?pwd=a.1"),
    ("https://events.zoom.us/ev/AbC-d_e", "https://events.zoom.us/ev/AbC-d_e"),
    ("https://events.zoom.us/ejl/AbC.d~e?x=1", "https://events.zoom.us/ejl/AbC.d~e?x=1"),
    ("https://zoom.com/j/1234567890", "https://zoom.com/j/1234567890"),
    ("https://agency.zoomgov.com/j/1612345678?pwd=x", "https://agency.zoomgov.com/j/1612345678?pwd=x"),
    ("https://teams.zoom.us/j/1234567890", "https://teams.zoom.us/j/1234567890"),
    (
        "https://www.google.com/url?q=https://zoom.us/j/123456789?pwd%3Da%252B.1&sa=D",
        "https://zoom.us/j/123456789?pwd=a%2B.1",
    ),
]

THREAD: Final = "19%3ameeting_NGQ0%40thread.v2"
CONTEXT: Final = "?context=%7b%22Tid%22%3a%22aa-1%22%2c%22Oid%22%3a%22bb-2%22%7d"
DEEP: Final = f"/l/meetup-join/{THREAD}/0{CONTEXT}"
TEAMS: Final = f"https://teams.microsoft.com{DEEP}"
SHORT: Final = "https://teams.microsoft.com/meet/1234567890123?p=aBcD12"
PERSONAL: Final = "https://teams.live.com/meet/9312345678901?p=xYz"
LAUNCHER: Final = "https://teams.microsoft.com/dl/launcher/launcher.html?url="
PLAIN: Final = '/l/meetup-join/19:meeting_NGQ0@thread.v2/0?context={"Tid":"aa-1","Oid":"bb-2"}'
PLAIN_TIDY: Final = (
    "https://teams.microsoft.com/l/meetup-join/19:meeting_NGQ0@thread.v2/0"
    "?context=%7B%22Tid%22:%22aa-1%22,%22Oid%22:%22bb-2%22%7D"
)
WORK: Final = {"conversationId": "19:meeting_NGQ0@thread.v2", "tenantId": "aa-1", "organizerId": "bb-2"}
WORK_TIDY: Final = (
    "/l/meetup-join/19%3Ameeting_NGQ0%40thread.v2/0?context=%7B%22Tid%22%3A%22aa-1%22%2C%22Oid%22%3A%22bb-2%22%7D"
)
TEAMSES: Final = [
    (TEAMS, TEAMS),
    (f"teams.microsoft.com{DEEP}", TEAMS),
    (f"http://teams.microsoft.com{DEEP}", TEAMS),
    (f"{TEAMS}&anon=true&deeplinkId=x&launchAgent=y", TEAMS),
    (f"<{TEAMS}>", TEAMS),
    (f"{TEAMS}>", TEAMS),
    (f"https://teams.microsoft.com{PLAIN}", PLAIN_TIDY),
    (f"https://teams.microsoft.com{quote(DEEP, safe='/?=')}", TEAMS),
    (f"https://teams.microsoft.com{quote(quote(DEEP, safe='/?='), safe='/?=')}", TEAMS),
    (quote(TEAMS, safe=""), TEAMS),
    (wrapped(TEAMS), TEAMS),
    (wrapped(TEAMS, 3), TEAMS),
    (f"https://teams.live.com{DEEP}", f"https://teams.live.com{DEEP}"),
    (f"https://teams.cloud.microsoft{DEEP}", f"https://teams.cloud.microsoft{DEEP}"),
    (f"https://gov.teams.microsoft.us{DEEP}", f"https://gov.teams.microsoft.us{DEEP}"),
    (f"https://dod.teams.microsoft.us{DEEP}", f"https://dod.teams.microsoft.us{DEEP}"),
    (f"https://teams.sovcloud.fr{DEEP}", f"https://teams.sovcloud.fr{DEEP}"),
    (
        f"https://teams.microsoft.com/l/meetup-join/19%3a0f9e0f9e%40thread.tacv2/1623000000000{CONTEXT}",
        f"https://teams.microsoft.com/l/meetup-join/19%3a0f9e0f9e%40thread.tacv2/1623000000000{CONTEXT}",
    ),
    (f"https://teams.microsoft.com/_#{DEEP}", f"https://teams.microsoft.com/_#{DEEP}"),
    (
        f"https://teams.microsoft.com/v2/?meetingjoin=true#{DEEP}&anon=true",
        f"https://teams.microsoft.com/v2/?meetingjoin=true#{DEEP}",
    ),
    (
        f"https://teams.microsoft.com/v2?meetingjoin=true#{quote(DEEP, safe='')}",
        f"https://teams.microsoft.com/v2/?meetingjoin=true#{DEEP}",
    ),
    (
        "https://teams.live.com/v2/?meetingjoin=true#/meet/9312345678901?p=xYz&anon=true",
        "https://teams.live.com/v2/?meetingjoin=true#/meet/9312345678901?p=xYz",
    ),
    (SHORT, SHORT),
    (f"{SHORT}&anon=true", SHORT),
    ("https://teams.microsoft.com/meet/1234567890", "https://teams.microsoft.com/meet/1234567890"),
    ("https://teams.microsoft.com/meet/123456789012345/?p=a", "https://teams.microsoft.com/meet/123456789012345?p=a"),
    (
        "https://teams.cloud.microsoft/meet/1234567890123?p=%2Ba",
        "https://teams.cloud.microsoft/meet/1234567890123?p=%2Ba",
    ),
    (PERSONAL, PERSONAL),
    (wrapped(PERSONAL, 2), PERSONAL),
    (f"{LAUNCHER}{quote('/_#/meet/1234567890123?p=aBcD12&anon=true', safe='')}&type=meet", SHORT),
    (f"{LAUNCHER}{quote('/_#' + DEEP, safe='')}&type=meetup-join&directDl=true", TEAMS),
    (f"{LAUNCHER}{quote(DEEP, safe='')}", TEAMS),
    (f"{LAUNCHER}{quote('/v2/?meetingjoin=true#' + DEEP, safe='')}", TEAMS),
    (f"{LAUNCHER}{quote('/_#' + PLAIN, safe='')}", PLAIN_TIDY),
    (f"{LAUNCHER}{quote(quote('/_#' + DEEP, safe=''), safe='')}", TEAMS),
    (f"{LAUNCHER}{quote(quote(quote('/_#' + PLAIN, safe=''), safe=''), safe='')}", PLAIN_TIDY),
    (f"{LAUNCHER}{quote(TEAMS, safe='')}", TEAMS),
    (f"{LAUNCHER}{quote(PERSONAL, safe='')}", PERSONAL),
    (wrapped(f"{LAUNCHER}{quote('/_#' + DEEP, safe='')}"), TEAMS),
    (f"https://teams.live.com/dl/launcher?url={quote('/_#/meet/9312345678901?p=xYz', safe='')}", PERSONAL),
    (light("teams.microsoft.com", **WORK, messageId="0"), f"https://teams.microsoft.com{WORK_TIDY}"),
    (light("teams.microsoft.com", **WORK, messageId=None), f"https://teams.microsoft.com{WORK_TIDY}"),
    (light("gov.teams.microsoft.us", **WORK), f"https://gov.teams.microsoft.us{WORK_TIDY}"),
    (light("teams.live.com", meetingCode="9312345678901", passcode="xYz"), PERSONAL),
    (light("teams.live.com", meetingCode="9312345678901"), "https://teams.live.com/meet/9312345678901"),
    (
        light("teams.live.com", meetingCode="9312345678901", passcode="a+/=&?"),
        "https://teams.live.com/meet/9312345678901?p=a%2B%2F%3D%26%3F",
    ),
    (light("teams.live.com", meetingCode="9312345678901", passcode="xYz").replace("%3D", ""), PERSONAL),
    (wrapped(light("teams.live.com", meetingCode="9312345678901", passcode="xYz")), PERSONAL),
]

JITSIS_TAKEN: Final = [
    ("https://meet.jit.si/Standup", "https://meet.jit.si/Standup"),
    ("meet.jit.si/Standup", "https://meet.jit.si/Standup"),
    ("http://meet.jit.si/Standup", "https://meet.jit.si/Standup"),
    ("https://MEET.jit.si/StandUp%20of%20Us/", "https://meet.jit.si/StandUp%20of%20Us"),
    ("https://meet.jit.si/Gr%C3%BC%C3%9Fe!", "https://meet.jit.si/Gr%C3%BC%C3%9Fe!"),
    ("https://meet.jit.si/moderated/0f9e", "https://meet.jit.si/moderated/0f9e"),
    ("https://meet.jit.si/A?jwt=a.b-_.c&utm_source=x", "https://meet.jit.si/A?jwt=a.b-_.c"),
    ("https://meet.jit.si/A#config.startWithAudioMuted=true", "https://meet.jit.si/A#config.startWithAudioMuted=true"),
    ("https://8x8.vc/vpaas-magic-cookie-0f/Room?jwt=a.b.c", "https://8x8.vc/vpaas-magic-cookie-0f/Room?jwt=a.b.c"),
    ("https://8x8.vc/example/room", "https://8x8.vc/example/room"),
    (wrapped("https://meet.jit.si/A?jwt=a.b.c#config.x=1"), "https://meet.jit.si/A?jwt=a.b.c#config.x=1"),
    ("https://jitsi.example/demo", "https://jitsi.example/demo"),
    ("https://jitsi.example:8443/demo", "https://jitsi.example:8443/demo"),
    ("http://jitsi.example:8000/sub/folder/demo", "http://jitsi.example:8000/sub/folder/demo"),
]

GUESSED: Final = [
    ("jitsi", "https://jitsi.university.example/Room"),
    ("jitsi", "https://myjitsi.example/Room"),
    ("jitsi", "https://jitsi.company.example/tenant/Room?jwt=a.b.c"),
    ("jitsi", "https://meet.company.example/tenant/Room?jwt=a.b.c#userInfo.displayName=%22A%22"),
    ("jitsi", "https://eu.meet.company.example/Room#config.x=1"),
    ("teams", f"https://teams.company.example{DEEP}"),
    ("teams", f"https://cloud.example{DEEP}"),
    ("teams", "https://teams.company.example/meet/1234567890123?p=x"),
    ("teams", f"https://teams.company.example/v2/?meetingjoin=true#{DEEP}"),
    ("teams", f"https://teams.company.example/_#{DEEP}"),
]

TAKEN: Final = [
    *(("google_meet", *pair) for pair in MEETS),
    *(("zoom", *pair) for pair in ZOOMS),
    *(("teams", *pair) for pair in TEAMSES),
    *(("jitsi", *pair) for pair in JITSIS_TAKEN),
    *((platform, link, link) for platform, link in GUESSED),
]


@pytest.mark.parametrize(("platform", "text", "url"), TAKEN)
def test_a_link_is_recognised_tidied_and_recognised_again_as_it_is(platform: str, text: str, url: str) -> None:
    assert recognise(text, ROOMS, JITSIS)[:2] == (platform, url)
    assert recognise(url, ROOMS, JITSIS)[:2] == (platform, url)


def test_a_light_meeting_on_a_host_that_nobody_named_is_recognised_by_its_shape() -> None:
    assert recognise(light("cloud.example", **WORK))[:2] == ("teams", f"https://cloud.example{WORK_TIDY}")
    launcher = f"https://teams.company.example/dl/launcher/launcher.html?url={quote('/_#' + DEEP, safe='')}"
    assert recognise(launcher).url == f"https://teams.company.example{DEEP}"


@pytest.mark.parametrize(("platform", "link"), GUESSED)
def test_what_was_guessed_is_said_and_by_what(platform: str, link: str) -> None:
    guessed = recognise(link).guessed
    assert guessed.startswith(
        f"{urlsplit(link).hostname} is taken for {'Teams' if platform == 'teams' else 'a Jitsi'} by"
    )
    assert recognise(MEET).guessed == ""


@pytest.mark.parametrize(("platform", "link"), GUESSED)
def test_a_host_that_nobody_named_is_not_guessed_at_where_that_is_switched_off(platform: str, link: str) -> None:
    with pytest.raises(BadLinkError, match="is not a meeting host"):
        recognise(link, guess_hosts=False)
    host = urlsplit(link).netloc
    assert recognise(link, other_hosts={platform: [host]}, guess_hosts=False)[:3] == (platform, link, "")


LOOK_ALIKES: Final = [
    "https://meet.google.com.evil.example/abc-defg-hij",
    "https://meet.google.com.evil.example./abc-defg-hij",
    "https://meet.google.com./abc-defg-hij",
    "https://meet-google.com/abc-defg-hij",
    "https://meet.go0gle.com/abc-defg-hij",
    "https://meet.googel.com/abc-defg-hij",
    "https://meet.gogle.com/abc-defg-hij",
    "https://meet.gooogle.com/abc-defg-hij",
    "https://mеet.google.com/abc-defg-hij",  # a Cyrillic e
    "https://meet.xn--ggle-0nda.com/abc-defg-hij",
    "https://meet.google.com%2eevil.example/abc-defg-hij",
    "https://evil.example%2f.meet.google.com/abc-defg-hij",
    "https://evil.example/meet.google.com/abc-defg-hij",
    "https://evil.example/?https://meet.google.com/abc-defg-hij",
    "https://evil.example/#https://meet.google.com/abc-defg-hij",
    "https://evil_.meet.google.com/abc-defg-hij",
    "https://evilzoom.us/j/123456789",
    "https://foo-zoom.us/j/123456789",
    "https://zoom.us.evil.example/j/123456789",
    "https://zoom.us-evil.example/j/123456789",
    "https://xn--zom-7qa.us/j/123456789",
    "https://ｚoom.us/j/123456789",
    "https://z00m.us/j/123456789",
    "https://meet.zoom.evil.example/j",
    "https://teams.microsoft.com.evil.example/l/meetup-join/19%3ameeting_NGQ0%40thread.v2/0",
    "https://teams.micros0ft.com/l/meetup-join/19%3ameeting_NGQ0%40thread.v2/0",
    "https://teams.rnicrosoft.com/l/meetup-join/19%3ameeting_NGQ0%40thread.v2/0",
    "https://teams.imcrosoft.com/l/meetup-join/19%3ameeting_NGQ0%40thread.v2/0",
    "https://teams.microsoftt.com/meet/1234567890123?p=x",
    "https://teams-microsoft.com/l/meetup-join/19%3ameeting_NGQ0%40thread.v2/0",
    "https://teams.live.com.evil.example/meet/1234567890123?p=x",
    "https://teams-live.com/l/meetup-join/19%3ameeting_NGQ0%40thread.v2/0",
    "https://evil.example/teams.microsoft.com/l/meetup-join/19%3ameeting_NGQ0%40thread.v2/0",
    "https://evil.example//l/meetup-join/19%3ameeting_NGQ0%40thread.v2/0",
    "https://evil.example/l//meetup-join/19%3ameeting_NGQ0%40thread.v2/0",
    "https://evil.example/l/meetup-join/19%3ameeting_NGQ0%40thread.v2/..%2f..",
    "https://evil.example/l/meetup-join/19%3ameeting_NGQ0%40thread.v2",
    "https://evil.example/l/meetup-join/anything/0",
    "https://evil.example/meet/1234567890123?p=x",
    "https://evil.example/v2/?meetingjoin=true#/l/meetup-join/19%3ameeting_NGQ0%40thread.v2/0",
    "https://evil.example/light-meetings/launch?coords=eyJ4IjoxfQ",
    "https://teams.local/meet/1234567890123?p=x",
    "https://teams.corp/meet/1234567890123?p=x",
    "https://teams.company.internal/meet/1234567890123?p=x",
    "https://teams/l/meetup-join/19%3ameeting_NGQ0%40thread.v2/0",
    "https://10.0.0.1/l/meetup-join/19%3ameeting_NGQ0%40thread.v2/0",
    "https://0x7f.1/l/meetup-join/19%3ameeting_NGQ0%40thread.v2/0",
    "https://[::1]/l/meetup-join/19%3ameeting_NGQ0%40thread.v2/0",
    "https://teams.company.example:8443/meet/1234567890123?p=x",
    "https://meet.jit.si.evil.example/Room",
    "https://meet-jit.si/Room",
    "https://8x8.vc.evil.example/vpaas-x/Room",
    "https://meet/Room",
    "https://jitsi/Room",
    "https://jitsi.localhost/Room",
    "https://meet.office.lan/Room",
    "https://meet.company.example:8443/Room",
    "https://meet.xn--nxasmq6b.example/Room",
    "https://127.0.0.1/Room",
    "https://example.meet/Room",
    "https://jitsi.company.example/a/b/c",
    "https://jitsi.company.example/..%2fRoom",
    "https://jitsi.company.example/%2e%2e/Room",
    "https://jitsi.company.example//Room",
    # of other products, whose hosts are called as a Jitsi's may be
    "https://meet.company.example/Room",
    "https://meet.company.example/Room?jwt=a.b.c",
    "https://meet.proton.me/join/abc",
    "https://meet.livekit.io/rooms/abc",
    "https://meet.pumble.com/abc-defg",
    "https://meet.around.co/r/abc",
    "https://meet.university.example/b/ada-abc-def",
    "https://meet.company.example/ada/0F9E8D7C",
    "https://teams.company.example/meet/1234567890123",
    "https://community.jitsi.org/t/how-to",
    "https://meet.goto.com/123456789",
    "https://meet.lync.com/company/ada/0F9E",
    "https://meet.zoho.com/abc",
    "https://tel.meet/abc-defg-hij?pin=1234",
    "https://company.webex.com/meet/ada",
    "https://support.google.com/a/users/answer/9282720",
    "https://aka.ms/JoinTeamsMeeting?omkt=en-US",
    "https://numbers.company.example/abc",
]


@pytest.mark.parametrize("link", LOOK_ALIKES)
def test_a_host_that_only_looks_like_a_platforms_is_not_one(link: str) -> None:
    with pytest.raises(BadLinkError, match="is not a meeting host"):
        recognise(link)


NO_MEETINGS: Final = [
    ("https://meet.google.com/", "to no meeting there"),
    ("https://meet.google.com?authuser=0", "to no meeting there"),
    ("https://meet.google.com/landing", "to no meeting there"),
    ("https://meet.google.com/new", "makes a new meeting"),
    ("https://meet.google.com/lookup/standup", "looks a name up"),
    ("https://meet.google.com/abc", "to no meeting there"),
    ("https://meet.google.com/abc-defg-hij/x", "to no meeting there"),
    ("https://meet.google.com//abc-defg-hij", "to no meeting there"),
    ("https://meet.google.com/%2fabc-defg-hij", "to no meeting there"),
    ("https://meet.google.com/abc%2ddefg-hij", "to no meeting there"),
    ("https://meet.google.com/..", "to no meeting there"),
    ("https://meet.google.com:8443/abc-defg-hij", "not by https on its usual port"),
    ("https://zoom.us:8443/j/123456789", "not by https on its usual port"),
    ("https://company.zoom.us/", "to no meeting there"),
    ("https://zoom.us/join", "to no meeting there"),
    ("https://zoom.us/u/abcdef", "to no meeting there"),
    ("https://zoom.us/rec/share/x", "to no meeting there"),
    ("https://zoom.us/j/123456789/x", "to no meeting there"),
    ("https://zoom.us//j/123456789", "to no meeting there"),
    ("https://zoom.us/j%2f123456789", "to no meeting there"),
    ("https://zoom.us/j/123456789012", "to no meeting there"),
    ("https://zoom.us/j/１２３４５６７８９", "to no meeting there"),
    ("https://zoom.us/my/", "to no meeting there"),
    ("https://events.zoom.us/", "to no meeting there"),
    ("https://events.zoom.us/ev/..%2fx", "to no meeting there"),
    ("https://zoom.us/j/", "was cut off"),
    ("https://zoom.us/j", "was cut off"),
    ("https://zoom.us/j/1234567?pwd=x", "was cut off"),
    ("https://zoom.us/wc/join/", "was cut off"),
    ("https://zoom.us/webinar/register/WN_abc", "to a page to register on"),
    ("https://us02web.zoom.us/meeting/register/tZabc", "to a page to register on"),
    ("zoommtg://zoom.us/join?action=join&confno=123456789", "does not begin with https"),
    ("msteams:/l/meetup-join/19%3ameeting_x%40thread.v2/0", "does not begin with https"),
    ("msteams://teams.microsoft.com/l/meetup-join/19%3ameeting_x%40thread.v2/0", "does not begin with https"),
    ("https://teams.microsoft.com/", "to no meeting there"),
    ("https://teams.microsoft.com/v2/", "to no meeting there"),
    ("https://teams.microsoft.com/v2/#/l/chat/0", "to no meeting there"),
    ("https://teams.microsoft.com/meetingOptions/?organizerId=x&threadId=19_meeting_x%40thread.v2", "to no meeting"),
    ("https://teams.microsoft.com/l/meetup-join/", "to no meeting there"),
    ("https://teams.microsoft.com/l/meetup-join/x", "is not whole"),
    ("https://teams.microsoft.com/l/meetup-join/389111222333444", "is not whole"),
    (f"https://teams.microsoft.com/l/meetup-join/{THREAD}", "is not whole"),
    (f"https://teams.microsoft.com/l/meetup-join/{THREAD}/0", "is not whole"),
    (f"https://teams.microsoft.com/l/meetup-join/{THREAD}/0{CONTEXT[:-3]}", "is not whole"),
    (f"https://teams.microsoft.com/l/meetup-join/{THREAD}/0?context=%7b%22Oid%22%3a%22b%22%7d", "is not whole"),
    ("https://teams.microsoft.com/l/meetup-join/..%2f..", "to no meeting there"),
    ("https://teams.microsoft.com/l/meetup-join/%2e%2e/0", "to no meeting there"),
    ("https://teams.microsoft.com/l/meetup-join/a%00b/0", "to no meeting there"),
    ("https://teams.microsoft.com/l/meetup-join/a%07b/0", "to no meeting there"),
    ("https://teams.microsoft.com//l/meetup-join/x/0", "to no meeting there"),
    ("https://teams.microsoft.com/meet/123", "to no meeting there"),
    ("https://teams.microsoft.com/meet/1234567890/x", "to no meeting there"),
    ("https://teams.microsoft.com/light-meetings/launch", "to no meeting there"),
    ("https://teams.microsoft.com/light-meetings/launch?coords=%25%25%25", "to no meeting there"),
    ("https://teams.microsoft.com/light-meetings/launch?coords=é", "to no meeting there"),
    ("https://teams.microsoft.com/light-meetings/launch?coords=e30", "to no meeting there"),
    (light("teams.microsoft.com", conversationId="19:x@evil/../x"), "to no meeting there"),
    (light("teams.microsoft.com", meetingCode="../x"), "to no meeting there"),
    (light("teams.microsoft.com", meetingCode=["x"]), "to no meeting there"),
    ("https://teams.microsoft.com/light-meetings/launch?coords=" + "W1" * 1000, "to no meeting there"),
    (LAUNCHER, "to no meeting there"),
    (f"{LAUNCHER}%2F_%23%2Fl%2Fchat%2F0", "to no meeting there"),
    (f"{LAUNCHER}{quote('https://evil.example/x', safe='')}", "is not a meeting host"),
    ("https://phone.teams.microsoft.com/0f9e?id=1", "to no meeting there"),
    ("https://teams.microsoft.com:8443/meet/1234567890", "not by https on its usual port"),
    ("https://meet.jit.si/", "to no meeting there"),
    ("https://meet.jit.si/static/dialInInfo.html?room=x", "to no meeting there"),
    ("https://meet.jit.si//Room", "to no meeting there"),
    ("https://meet.jit.si/../Room", "to no meeting there"),
    ("https://meet.jit.si/%2e%2e/Room", "to no meeting there"),
    ("https://meet.jit.si/a%2fRoom", "to no meeting there"),
    ("https://meet.jit.si/a%0aRoom", "to no meeting there"),
    ("https://meet.jit.si/a/b/c", "to no meeting there"),
    ("https://8x8.vc/vpaas-magic-cookie-0f", "was cut off"),
    ("https://meet.jit.si:8443/Room", "not by https on its usual port"),
    ("https://www.google.com/url?sa=D", "leads on to something"),
    ("https://www.google.com/url?q=javascript:alert(1)", "leads on to something"),
    ("https://x.safelinks.protection.outlook.com/?data=1", "leads on to something"),
    (wrapped("https://evil.example/x"), "is not a meeting host"),
    (wrapped("https://user:hunter2@meet.google.com/abc-defg-hij"), "user name or password"),
    (wrapped("https://meet.google.com/abc-defg-hij\n"), "angle brackets"),
    (wrapped(MEET, 4), "wrapped in more than 3"),
    (f"view-source:{MEET}", "does not begin with https"),
    (f"https://evil.example@{MEET}", "user name or password"),
    (f"data:text/html,{MEET}", "does not begin with https"),
    ("evil.example/abc", "does not begin with https"),
    ("meet.google.com/landing", "to no meeting there"),
    ("meet.google.com@evil.example/abc-defg-hij", "does not begin with https"),
    (f"[{MEET}](https://meet.google.com/xyz-defg-hij)", "different meetings"),
    ("<https://evil.example/x>", "'evil.example' is not a meeting host"),
]


@pytest.mark.parametrize(("text", "message"), NO_MEETINGS)
def test_a_link_to_a_platform_that_is_no_meeting_is_refused_with_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(BadLinkError, match=message):
        recognise(text)


OTHERS: Final = {
    "zoom": ["zoom.company.example"],
    "teams": ["teams.cloud.corp", "teams.company.example:8443"],
    "jitsi": ["rooms.corp"],
    "webex": ["webex.com", "localhost:9443"],
}


@pytest.mark.parametrize(
    ("platform", "link"),
    [
        ("zoom", "https://zoom.company.example/conference/x?pwd=a.1&utm_source=x#y"),
        ("zoom", "https://eu.zoom.company.example:8443/j/1"),
        ("teams", f"https://teams.cloud.corp{DEEP}"),
        ("teams", "https://teams.company.example:8443/meet/1234567890123?p=x"),
        ("jitsi", "https://rooms.corp/a/b/Room"),
        ("webex", "https://company.webex.com/meet/ada"),
        ("webex", "https://localhost:9443/?id=1"),
    ],
)
def test_hosts_may_be_named_for_any_platform(platform: str, link: str) -> None:
    assert recognise(link, other_hosts=OTHERS)[:3] == (platform, link, "")
    assert recognise(f"Join: {link} .", other_hosts=OTHERS)[:3] == (platform, link, "")


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("http://zoom.company.example/j/1", "to zoom, but not by https"),
        ("https://zoom.company.example/", "to zoom, but to no meeting there"),
        ("https://teams.cloud.corp/x", "to teams, but to no meeting there"),
        ("https://xwebex.com/meet/ada", "is not a meeting host"),
        ("https://webex.com.evil.example/meet/ada", "is not a meeting host"),
        ("https://localhost:9444/?id=1", "is not a meeting host"),
    ],
)
def test_what_is_no_meeting_on_a_host_that_was_named_is_refused(link: str, message: str) -> None:
    with pytest.raises(BadLinkError, match=message):
        recognise(link, other_hosts=OTHERS)


GOOGLE_INVITATION: Final = f"""Ada is inviting you to a video call.
Join with Google Meet: meet.google.com/abc-defg-hij ({MEET})
Join by phone: (DE) +49 40 8081616034 PIN: 123 456 789#
More phone numbers: https://tel.meet/abc-defg-hij?pin=1234567890123&hs=7
Learn more about Meet at https://support.google.com/a/users/answer/9282720."""
ZOOM_INVITATION: Final = f"""Ada Lovelace is inviting you to a scheduled Zoom meeting.

Join Zoom Meeting
{ZOOM}

Meeting ID: 812 3456 7890
Passcode: 123456
---
One tap mobile
+13017158592,,81234567890#,,,,*123456# US (Washington DC)
Find your local number: https://us02web.zoom.us/u/kdAbCdEf
Join instructions
https://us02web.zoom.us/meetings/81234567890/invitations?signature=x
"""
TEAMS_INVITATION: Final = f"""________________________________________________________________________________
Microsoft Teams Need help?<https://aka.ms/JoinTeamsMeeting?omkt=en-US>
Join the meeting now<{SHORT}>
Meeting ID: 123 456 789 012 3
Passcode: aBcD12
For organizers: Meeting options<https://teams.microsoft.com/meetingOptions/?organizerId=x&language=en-US>
| System reference<{TEAMS}>
"""
JITSI_INVITATION: Final = """Click the following link to join the meeting:
https://meet.jit.si/Standup

Just want to dial in on your phone? Dial-in: +1.512.647.1431 PIN: 1234567890#
https://meet.jit.si/static/dialInInfo.html?room=Standup
"""
INVITATIONS: Final = [
    (GOOGLE_INVITATION, MEET),
    (ZOOM_INVITATION, ZOOM),
    (TEAMS_INVITATION, SHORT),
    (JITSI_INVITATION, "https://meet.jit.si/Standup"),
    (f"Join: {MEET}.", MEET),
    (f"Join:{MEET}, please!", MEET),
    (f"Today at ten ({ZOOM})", ZOOM),
    (f"the link is “{ZOOM}” …", ZOOM),
    (f"{ZOOM} Passcode: 123456", ZOOM),
    (f'<p>Join <a href="{ZOOM}">here</a></p>', ZOOM),
    (f"<p>Join <a href='{wrapped(ZOOM).replace('&', '&amp;')}'>{ZOOM}</a></p>", ZOOM),
    (f"https://us02web.zoom.us/j/81234567890 or {ZOOM}", ZOOM),
    (f"{ZOOM} or, for members of staff, https://us02web.zoom.us/j/81234567890", ZOOM),
    (f"join [the call]({SHORT}) now", SHORT),
    (f"{MEET}\n{MEET}?authuser=1", MEET),
    (f"see https://meet.company.example/agenda and join {MEET}", MEET),
    ("zum Plenum: jitsi.company.example/Plenum", "https://jitsi.company.example/Plenum"),
    (f"https://zoom.us/j/ is wrong, it is {ZOOM}", ZOOM),
    (f"System reference: {TEAMS}", TEAMS),
    (f"Einladung {f'https://teams.microsoft.com{PLAIN}'} bitte", PLAIN_TIDY),
]


@pytest.mark.parametrize(("text", "url"), INVITATIONS)
def test_of_an_invitation_the_one_meeting_link_is_taken(text: str, url: str) -> None:
    assert recognise(text).url == url


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{MEET} or {ZOOM}", "different meetings"),
        (f"{MEET} or https://meet.google.com/xyz-defg-hij", "different meetings"),
        (f"{SHORT} and {TEAMS}", "different meetings"),
        ("<https://jitsi.a.example/x> <https://jitsi.b.example/x>", "different meetings"),
        ("see you at ten", "contains spaces, and no link"),
        ("Help: https://aka.ms/JoinTeamsMeeting or example.com/help", "no link to a meeting: unknown platform"),
        ("Numbers: https://zoom.us/u/kdAbCdEf or https://example.com/x", "to zoom, but to no meeting there"),
        ("Join http://localhost:8090/r/demo now", "send a meeting room's link alone"),
        ("Join localhost.example:8090/r/demo now", "no link that begins with https"),
        ("rooms.example/r/demo", "does not begin with https"),
        (f"https://{'a' * 4090}.example/ x", "longer than 4096"),
        (f"{MEET} " + "x" * MAX_TEXT_LENGTH, f"longer than {MAX_TEXT_LENGTH}"),
        (f"see {MEET}\u202e", "control characters"),
    ],
)
def test_a_text_that_names_no_meeting_or_several_is_refused_with_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(BadLinkError, match=message):
        recognise(text, ROOMS)


def test_there_are_as_many_links_as_there_should_be() -> None:
    assert len(TAKEN) + len(LOOK_ALIKES) + len(NO_MEETINGS) + len(INVITATIONS) >= 150


def test_every_platform_that_a_link_can_be_of_is_named() -> None:
    assert set(links.PLATFORMS) == {"google_meet", "zoom", "teams", "jitsi", "room"}


def test_without_room_hosts_no_link_is_a_room() -> None:
    with pytest.raises(BadLinkError, match="unknown platform"):
        recognise("https://rooms.example/r/demo")


_PIECES = st.sampled_from(
    [
        *(
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
        ),
        *("#", "&", "=", " ", "<", ">", '"', "'", "(", ")", ".", "%2f", "%25", "%3A", "\u200b", "\ud800", "é"),
        *("meet.google.com", "/abc-defg-hij", "zoom.us", "/j/123456789", "pwd=", "tk=", "teams.microsoft.com"),
        *("/l/meetup-join/", THREAD, "/0", CONTEXT, "/meet/1234567890", "/v2/", "/dl/launcher/launcher.html?url="),
        *("/light-meetings/launch?coords=", "eyJtZWV0aW5nQ29kZSI6IjEyMzQ1Njc4OTAifQ", "meet.jit.si", "/Room", "jwt="),
        *("https://www.google.com/url?q=", "x.safelinks.protection.outlook.com/?url=", "meet.company.example", "&amp;"),
        *("utm_source=x", "System reference", "teams.company.example", "/my/", "events.zoom.us/ev/"),
    ]
)
_TEXTS = st.one_of(st.text(max_size=60), st.lists(st.one_of(_PIECES, st.characters()), max_size=14).map("".join))
_STARTED = st.tuples(
    st.sampled_from(["https://meet.jit.si/", ZOOM, TEAMS, LAUNCHER, "https://zoom.us/j/123456789?tk=", wrapped(ZOOM)]),
    _TEXTS,
).map("".join)


@given(st.one_of(_TEXTS, _STARTED))
@example("https://[")
@example("https://ℂ/")
@example("https://meet.jit.si/Foo!?utm_source=x")
@example('https://zoom.us/j/123456789?tk="x"')
@example("https%3A%2F%2F ")
@example("https://webex.com/?a&amp;amp;b")
@example("https://teams.live.com/light-meetings/launch?coords=eyJtZWV0aW5nQ29kZSI6ICJcdWQ4MDAifQ")
def test_any_text_is_a_meeting_that_stays_as_it_is_or_refused(text: str) -> None:
    try:
        link = recognise(text, ROOMS, JITSIS, OTHERS)
    except BadLinkError:
        return
    assert recognise(link.url, ROOMS, JITSIS, OTHERS) == link
    parts = urlsplit(link.url)
    link.url.encode()
    assert parts.username is None
    assert parts.scheme == "https" or parts.hostname in (*ROOMS, "localhost", *JITSIS)
    if link.platform == "room":
        assert parts.hostname == "rooms.example" or parts.netloc.lower() == "localhost:8090"
        assert parts.path.startswith("/r/")


_UNRESERVED = "ABCXYZabcxyz0123456789-._~!*+/=@$%"
_PLAIN_PASSCODES = st.text("ABCXYZabcxyz0123456789-_", min_size=1, max_size=40)


@given(st.text(_UNRESERVED, min_size=1, max_size=40), _PLAIN_PASSCODES)
def test_a_passcode_survives_byte_for_byte_or_is_refused(odd: str, plain: str) -> None:
    for passcode in (odd, plain):
        for link in (
            f"https://us02web.zoom.us/j/81234567890?pwd={passcode}",
            f"https://us02web.zoom.us/w/81234567890?tk={passcode}",
            f"https://teams.live.com/meet/9312345678901?p={passcode}",
            f"https://meet.jit.si/Room?jwt={passcode}",
        ):
            for text in (link, f"Join <{link}> now", wrapped(link), wrapped(link, 2), wrapped(link, 3)):
                try:
                    assert recognise(text).url == link
                except BadLinkError:
                    assert passcode == odd
                    assert set(odd) & set("%=."), "only what is encoded wrongly or cut, or may be quoted-printable"


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


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("https://us02web.zoom.us/j/81234567890?pwd=abc", "https://zoom.us/wc/join/81234567890"),
        ("https://meet.google.com/abc-defg-hij?authuser=1", "http://meet.google.com/ABC-DEFG-HIJ"),
        (
            "https://teams.live.com/meet/9312345678901?p=abc",
            "https://teams.live.com/meet/9312345678901?p=abc&anon=true",
        ),
    ],
)
def test_links_to_one_meeting_name_it_alike_and_links_to_others_do_not(first: str, second: str) -> None:
    assert recognise(first).identity == recognise(second).identity
    assert recognise(first).identity != recognise("https://zoom.us/j/81234567891").identity


_TIDY_HOSTS = st.sampled_from(
    [
        *ROOMS,
        "rooms.example:90",
        "meet.google.com",
        "meet.google.com:90",
        "mail.google.com",
        "mimecast.com",
        "a..b",
        "-",
    ]
)
_TIDY_NAMES = st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,63}\Z") | st.from_regex(r"\A[a-z]{3}-[a-z]{4}-[a-z]{3}\Z")
_TIDY_LINKS = st.tuples(
    st.sampled_from(["https://", "http://"]), _TIDY_HOSTS, st.sampled_from(["/r/", "/"]), _TIDY_NAMES
)


@given(_TIDY_LINKS.map("".join), st.sets(_TIDY_HOSTS), st.sets(_TIDY_HOSTS), st.sampled_from([{}, OTHERS]))
@example("https://meet.google.com/abc-defg-hij", set(), set(), {})
@example("https://meet.google.com/abc-defg-hij", {"meet.google.com"}, set(), {})
@example("https://meet.google.com/abc-defg-hij", set(), {"meet.google.com"}, {})
@example("https://meet.google.com/abc-defg-hij", set(), set(), {"jitsi": ("meet.google.com",)})
@example("http://localhost:8090/r/demo", set(ROOMS), set(), {})
@example("https://mimecast.com/r/demo", {"mimecast.com"}, set(), {})
def test_the_quick_way_to_read_a_tidy_link_finds_what_the_long_way_finds(
    link: str, rooms: set[str], jitsis: set[str], others: dict[str, tuple[str, ...]]
) -> None:
    hosts = links._Hosts(rooms, jitsis, others, guess=True)  # pyright: ignore[reportPrivateUsage]
    quick = links._tidy(link, hosts)  # pyright: ignore[reportPrivateUsage]
    if quick is not None:
        assert quick == links._read_text(link, hosts, MAX_TEXT_LENGTH)  # pyright: ignore[reportPrivateUsage]


def test_the_quick_way_is_taken_for_a_tidy_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(links, "_read_text")
    assert recognise("https://meet.google.com/abc-defg-hij").identity == "abc-defg-hij"
    assert recognise(" http://localhost:8090/r/demo ", ROOMS).platform == "room"


@given(st.from_regex(r"\Ahttps?://[a-z0-9.-]{1,9}(:[0-9]{0,5})?(/[!-~]{0,9})?\Z"))
@example("http://localhost:8090/r/demo?a=b#c")
@example("https://rooms.example:65536/r/demo")
def test_the_quick_way_to_split_a_link_finds_what_urlsplit_finds(link: str) -> None:
    try:
        parts = urlsplit(link)
        expected = (parts, parts.hostname or "", parts.port)
    except ValueError:
        with pytest.raises(BadLinkError):
            links._split(link)  # pyright: ignore[reportPrivateUsage]
    else:
        assert links._split(link) == expected  # pyright: ignore[reportPrivateUsage]
