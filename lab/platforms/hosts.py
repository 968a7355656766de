"""The platform of a host, the meeting of an address, and the links that people write. Pure."""

import re
from typing import Final
from urllib.parse import quote, unquote

SIGN_IN_HOSTS: Final = (
    *("accounts.google.com", "login.microsoftonline.com", "login.microsoftonline.us", "login.live.com"),
    *("login.microsoft.com", "login.windows.net"),
)
_PLATFORM_OF: Final = {
    "meet.google.com": "google_meet",
    "zoom.us": "zoom",
    "app.zoom.us": "zoom",
    "us02web.zoom.us": "zoom",
    "zoom.com": "zoom",
    "zoomgov.com": "zoom",
    "teams.microsoft.com": "teams",
    "teams.live.com": "teams",
    "teams.cloud.microsoft": "teams",
    "teams.microsoft.us": "teams",
    "meet.jit.si": "jitsi",
    "8x8.vc": "jitsi",
}
PLATFORMS: Final = ("google_meet", "zoom", "teams", "jitsi")
HOSTS: Final = (*_PLATFORM_OF, "*.zoom.us", "*.zoom.com", *SIGN_IN_HOSTS, "www.google.com")

_MEETINGS: Final = {
    "google_meet": re.compile(r"/([a-z0-9][a-z0-9-]{3,38}[a-z0-9])/?"),
    "zoom": re.compile(r"/(?:j|s|w|wc|wc/join)/(\d{8,11})(?:/join|/start)?/?"),
    "teams": re.compile(r"(?:/meet/|/l/meetup-join/19:meeting_)([\w-]+)(?:@.*)?"),
    "jitsi": re.compile(r"/(?:[\w-]+/)?([^/]+)"),
}


def platform_of(host: str) -> str | None:
    if host.endswith((".zoom.us", ".zoom.com")):
        return "zoom"
    return _PLATFORM_OF.get(host)


def code_in(platform: str, path: str) -> str | None:
    """The meeting that a path names; None if there is none, or if only the page can find it, as in a fragment."""
    meeting = _MEETINGS.get(platform)
    found = meeting.fullmatch(path) if meeting else None
    return unquote(found[1]) if found else None


def link_to(platform: str, code: str, passcode: str = "") -> str:
    """The link as it would stand in an invitation."""
    match platform:
        case "google_meet":
            return f"https://meet.google.com/{code}"
        case "zoom":
            return f"https://us02web.zoom.us/j/{code}" + (f"?pwd={quote(passcode)}" if passcode else "")
        case "teams" if code.isdigit():
            return f"https://teams.microsoft.com/meet/{code}" + (f"?p={quote(passcode)}" if passcode else "")
        case "teams":
            context = quote(
                '{"Tid":"72f988bf-86f1-41af-91ab-2d7cd011db47","Oid":"a1b2c3d4-0000-4000-8000-000000000000"}'
            )
            return f"https://teams.microsoft.com/l/meetup-join/19%3ameeting_{code}%40thread.v2/0?context={context}"
        case _:
            return f"https://meet.jit.si/{quote(code)}"
