"""Links that are cut, dressed up or wrapped, as mail, calendars and chats make them: for every reader of links.

Each is right when the exact meeting with its exact passcode comes out, or, where `url` is None, when it is refused.
"""

import base64
import random
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple


class Case(NamedTuple):
    text: str
    url: str | None


class Made(NamedTuple):
    """A text that was made of `meeting`. `must`: it is to be recognised; else it may be refused."""

    text: str
    meeting: str
    must: bool


def quoted(link: str) -> str:
    return urllib.parse.quote(link, safe="")


MEET: Final = "https://meet.google.com/abc-defg-hij"
PASSCODE: Final = "BCbRmbaSRrU4ZCMJxyfjRk0YFd9BFe.1"
ZOOM: Final = f"https://us02web.zoom.us/j/81234567890?pwd={PASSCODE}"
OWN_ZOOM: Final = "https://us02web.zoom.us/j/81234567890?pwd=QkR0aVBa"
_THREAD: Final = "19%3ameeting_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6%40thread.v2"
_CONTEXT: Final = (
    "%7b%22Tid%22%3a%2272f988bf-86f1-41af-91ab-2d7cd011db47%22"
    "%2c%22Oid%22%3a%220a1b2c3d-86f1-41af-91ab-2d7cd011db47%22%7d"
)
TEAMS: Final = f"https://teams.microsoft.com/l/meetup-join/{_THREAD}/0?context={_CONTEXT}"
SHORT: Final = "https://teams.microsoft.com/meet/1234567890123?p=aBcD12"
JITSI: Final = "https://meet.jit.si/Standup"
SPELT: Final = "Meeting ID: 123 456 789 012 3"
_SECOND: Final = 'id="meet_invite_block.action.join_link_compatibility" class="me-email-link"'


# What makes one link of another


def safe_link(link: str, host: str = "eur01.safelinks.protection.outlook.com") -> str:
    return f"https://{host}/?url={quoted(link)}&data=05%7C02%7C&sdata=x%3D&reserved=0"


def of_teams_safe_links(link: str) -> str:
    page = "https://teams.cdn.office.net/evergreen-assets/safelinks/1/atp-safelinks.html"
    return f"{page}?url={quoted(link)}&locale=en-us&dest={quoted('https://teams.microsoft.com/api/mt/x')}"


def proofpoint_1(link: str) -> str:
    return f"https://urldefense.proofpoint.com/v1/url?u={quoted(link)}&k=x&r=y"


def proofpoint_2(link: str) -> str:
    kept = "".join(
        character if character.isalnum() or character in ".:/" else f"%{ord(character):02X}" for character in link
    )
    coded = kept.replace(":", "%3A").replace("%", "-").replace("/", "_")
    return f"https://urldefense.proofpoint.com/v2/url?u={coded}&d=DwMFAg&c=x&r=y&m=z&s=w&e="


def proofpoint_3(link: str, *, runs: bool = True, slashes: int = 2) -> str:
    """As Proofpoint's decoder undoes it: what is not plain is replaced by a mark each, or one for a run."""
    plain, taken, text = set(_PLAIN), "", ""
    rest = link.replace("://", ":" + "/" * slashes, 1)
    while rest:
        run = next((at for at, character in enumerate(rest) if character in plain), len(rest))
        if run > 1 and runs:
            run = min(run, len(_RUNS) + 1)
            text, taken, rest = f"{text}**{_RUNS[run - 2]}", taken + rest[:run], rest[run:]
        elif run:
            text, taken, rest = f"{text}*", taken + rest[0], rest[1:]
        else:
            text, rest = text + rest[0], rest[1:]
    tail = base64.urlsafe_b64encode(taken.encode()).decode().rstrip("=")
    return f"https://urldefense.com/v3/__{text}__;{tail}!!A-b!Cd_e-F1$"


_RUNS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_PLAIN: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/?=&#"


def barracuda(link: str) -> str:
    return f"https://linkprotect.cudasvc.com/url?a={quoted(link)}&c=E,1,x-y_z,&typo=1"


def cisco(link: str) -> str:
    return f"https://secure-web.cisco.com/1S1h_Cy8Q_Oh-5N7AuDE0CgXvA/{quoted(link)}"


def cloud_apps(link: str) -> str:
    host = urllib.parse.urlsplit(link).netloc
    return link.replace(host, f"{host}.mcas.ms", 1) + ("&" if "?" in link else "?") + "McasTsid=20595"


def sophos(link: str) -> str:
    return f"https://eu-west-1.protection.sophos.com/?d=zoom.us&u={base64.b64encode(link.encode()).decode()}&i=x"


def google(link: str) -> str:
    return f"https://www.google.com/url?q={quoted(link)}&sa=D&source=calendar&usg=x"


WRAPPERS: Final[dict[str, Callable[[str], str]]] = {
    "Outlook": safe_link,
    "Outlook of the United States": lambda link: safe_link(link, "usg01.safelinks.protection.office365.us"),
    "Outlook of China": lambda link: safe_link(link, "chn01.safelinks.protection.partner.outlook.cn"),
    "Teams": of_teams_safe_links,
    "Proofpoint 1": proofpoint_1,
    "Proofpoint 2": proofpoint_2,
    "Proofpoint 3": proofpoint_3,
    "Proofpoint 3 without runs": lambda link: proofpoint_3(link, runs=False),
    "Proofpoint 3 with one slash": lambda link: proofpoint_3(link, slashes=1),
    "Barracuda": barracuda,
    "Cisco": cisco,
    "Defender for Cloud Apps": cloud_apps,
    "Sophos": sophos,
    "Google": google,
    "Google Meet's chat": lambda link: f"https://meet.google.com/linkredirect?authuser=0&dest={quoted(link)}",
    "Slack": lambda link: f"https://slack-redir.net/link?url={quoted(link)}&v=3",
    "Trellix": lambda link: f"https://protect2.fireeye.com/v1/url?k=x&q=1&u={quoted(link)}&e=y",
}


# How links stand in texts


def folded(text: str, width: int = 75) -> str:
    """As iCalendar folds its lines."""
    pieces = [text[at : at + width] for at in range(0, len(text), width)]
    return "\r\n ".join(pieces)


def in_quoted_printable(text: str, width: int = 75) -> str:
    text = text.replace("=", "=3D")
    return "=\r\n".join(text[at : at + width] for at in range(0, len(text), width))


def hard_wrapped(link: str, width: int = 70) -> str:
    return "\n".join(link[at : at + width] for at in range(0, len(link), width))


def event(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")
    lines = (
        "BEGIN:VCALENDAR",
        "BEGIN:VEVENT",
        folded(f"DESCRIPTION:{escaped}"),
        "DTSTART:20300101T090000Z",
        "END:VEVENT",
    )
    return "\r\n".join(lines) + "\r\n"


_BEFORE: Final = "The link of our meeting tomorrow is "
# Dresses from which a link is to be taken, whichever it is.
DRESSES: Final[dict[str, Callable[[str], str]]] = {
    "alone": lambda link: link,
    "angle brackets": lambda link: f"<{link}>",
    "round brackets": lambda link: f"({link})",
    "square brackets": lambda link: f"[{link}]",
    "quotes": lambda link: f'"{link}"',
    "curly quotes": lambda link: f"“{link}”",
    "stars": lambda link: f"*{link}*",
    "more stars": lambda link: f"**{link}**",
    "underscores": lambda link: f"_{link}_",
    "code": lambda link: f"`{link}`",
    "Slack": lambda link: f"<{link}|here>",
    "Slack, with words": lambda link: f"<{link}|join the call>",
    "Markdown": lambda link: f"[join]({link})",
    "HTML": lambda link: f'<p>Join: <a href="{link.replace("&", "&amp;")}">now</a></p>',
    "HTML in apostrophes": lambda link: f"<a href='{link.replace('&', '&amp;')}'>now</a>",
    "HTML as text": lambda link: f"&lt;{link.replace('&', '&amp;')}&gt;",
    "HTML with a space": lambda link: f"<p>{link.replace('&', '&amp;')}&nbsp;</p>",
    "directions": lambda link: f"\u202a{link}\u202c",
    "isolated": lambda link: f"\u2068{link}\u2069",
    "zero-width": lambda link: f"\u200b{link}\u200b",
    "byte order mark": lambda link: f"\ufeff{link}",
    "Japanese brackets": lambda link: f"「{link}」",
    "wide brackets": lambda link: f"（{link}）",
    "wrapped in brackets": lambda link: f"<{hard_wrapped(link)}>",
    "an event": lambda link: event(f"Join, please; now:\n{link}\nThanks"),
    "an event with brackets": lambda link: event(f"Need help?\nJoin<{link}>\nMeeting options"),
    "escaped JSON": lambda link: link.replace("/", "\\/"),
    "a sentence": lambda link: f"Please join: {link} .",
    "a line of its own": lambda link: f"Join here:\n{link}\n\nMeeting ID: see above\n",
    "a soft break": lambda link: f"<p>{link[:30]}<wbr>{link[30:]}</p>",
}
# Dresses in which it may be that nobody can tell where the link ends: it is taken as it was, or refused.
DARK: Final[dict[str, Callable[[str], str]]] = {
    "folded": folded,
    "folded behind words": lambda link: folded(f"DESCRIPTION:Join the meeting: {link}"),
    "folded, with a tab": lambda link: folded(f"Join: {link}").replace("\r\n ", "\n\t"),
    "quoted-printable": in_quoted_printable,
    "quoted-printable, a letter": lambda link: in_quoted_printable(f"Dear all=\n\nJoin <{link}>\n"),
    "wrapped": hard_wrapped,
    "wrapped with indent": lambda link: hard_wrapped(link).replace("\n", "\n    "),
    "wrapped behind words": lambda link: hard_wrapped(f"{_BEFORE}{link} and that is all"),
    "wrapped in flowed text": lambda link: hard_wrapped(link).replace("\n", " \n"),
    "cut in half": lambda link: link[: len(link) // 2],
    "cut by one": lambda link: link[:-1] + "…",
    "cut with dots": lambda link: link[:-3] + "...",
    "a full stop": lambda link: f"{link}。",
    "a Korean particle": lambda link: f"{link}에서 만나요",
    "Japanese": lambda link: f"{link}で会いましょう",
    "a wide comma and a word": lambda link: f"{link}，Passcode",
    "a wide bracket and a word": lambda link: f"{link}（パスコード: 123456）",
    "a bar and a word": lambda link: f"{link}|Passcode:1",
    "a comma and a word": lambda link: f"{link},Passcode:1",
    "a semicolon and a word": lambda link: f"{link};Passcode:1",
    "a bracket and a word": lambda link: f"{link})Passcode",
    "a quote and a word": lambda link: f'{link}"Passcode',
    "a break of HTML": lambda link: f"{link}<br>Passcode: 1",
    "bold in HTML": lambda link: f"<p>{link[:-4]}<b>{link[-4:]}</b></p>",
    "a span in HTML": lambda link: f"<span>{link[:-2]}</span><span>{link[-2:]}</span>",
    "a space and more": lambda link: f"{link[:-5]} {link[-5:]}",
    "a space within": lambda link: link.replace("?", " ?"),
    "a zero-width space within": lambda link: f"{link[:-5]}\u200b{link[-5:]}",
    "a soft hyphen within": lambda link: f"{link[:-5]}\u00ad{link[-5:]}",
    "Proofpoint's tail": lambda link: f"{link}__;!!A!b$",
    "an unfinished safe link": lambda link: safe_link(link).partition("&data")[0],
    "a cut safe link": lambda link: safe_link(link).partition("&data")[0][:-7],
    "a cut link of Proofpoint": lambda link: proofpoint_3(link).partition("__;")[0],
    "a cut link of Proofpoint 2": lambda link: proofpoint_2(link).partition("&d=")[0][:-4],
    "an entity": lambda link: f"{link}&eacute;",
    "half an escape": lambda link: f"{link}%4",
}
SURROUNDINGS: Final[dict[str, Callable[[str], str]]] = {
    "nothing": lambda text: text,
    "help": lambda text: f"Need help? https://aka.ms/JoinTeamsMeeting?omkt=en-US\n{text}\n\nhttps://example.com/x",
    "words": lambda text: f"Ada is inviting you.\n\n{text}\n\nSee you there!",
    "a signature": lambda text: f"{text}\n\n-- \nAda Lovelace\nwww.example.com/ada | +44 20 7946 0000",
    "a banner": lambda text: f"[EXTERNAL] Be careful.\n____________________\n{text}\n____________________\n",
    "dial-in": lambda text: f"{text}\n\nOne tap mobile\n+13017158592,,81234567890#,,,,*123456# US\n",
}


def meetings(random: random.Random) -> Iterator[str]:
    """Links to meetings, as their platforms make them, without end."""

    def letters(alphabet: str, count: int) -> str:
        return "".join(random.choices(alphabet, k=count))

    small, digits = "abcdefghijklmnopqrstuvwxyz", "0123456789"
    every = small + small.upper() + digits
    while True:
        yield f"https://meet.google.com/{letters(small, 3)}-{letters(small, 4)}-{letters(small, 3)}"
        host = random.choice(
            ("us02web.zoom.us", "zoom.us", "agency.zoomgov.com", "university.zoom-x.de", "x.zoom.com.cn")
        )
        number = random.choice("123456789") + letters(digits, random.choice((8, 9, 10)))
        yield f"https://{host}/j/{number}?pwd={letters(every, 30)}.1"
        yield f"https://{host}/j/{number}?pwd={letters(every, random.randint(4, 22))}"
        yield f"https://{host}/w/{number}?tk={letters(every + '-_', 40)}.{letters(every, 6)}.AG"
        yield f"https://{host}/j/{number}"
        host = random.choice(("teams.microsoft.com", "teams.cloud.microsoft", "gov.teams.microsoft.us"))
        thread, context = letters(every, 48), _CONTEXT.replace("72f988bf", letters(digits, 8))
        yield f"https://{host}/l/meetup-join/19%3ameeting_{thread}%40thread.v2/0?context={context}"
        number = random.choice("23456789") + letters(digits, 12)
        yield f"https://{host}/meet/{number}?p={letters(every, random.randint(6, 20))}"
        yield f"https://meet.jit.si/{letters(every, random.randint(3, 20))}"
        tenant, room = f"vpaas-magic-cookie-{letters(digits, 8)}", letters(every, 9)
        yield f"https://8x8.vc/{tenant}/{room}?jwt={letters(every + '-_', 60)}.a.b"


def made(seed: int, count: int) -> Iterator[Made]:
    """`count` texts: meeting, wrapper, dress and surroundings drawn with `seed`."""
    chance = random.Random(seed)
    links = meetings(chance)
    for _ in range(count):
        meeting = next(links)
        wrapper = chance.choice((None, None, *WRAPPERS))
        link = WRAPPERS[wrapper](meeting) if wrapper else meeting
        dress = chance.choice((*DRESSES, *DARK))
        if dress == "cut in half" and not _shows_its_end(meeting, wrapper):
            dress = "alone"
        if dress == "wrapped behind words" and len(hard_wrapped(f"{_BEFORE}{link}").rpartition("\n")[2]) < 6:
            dress = "wrapped"  # as few letters may be a word
        text = (DRESSES.get(dress) or DARK[dress])(link)
        text = SURROUNDINGS[chance.choice(tuple(SURROUNDINGS))](text)
        yield Made(text, meeting, dress in DRESSES and not _is_ambiguous(meeting, link, dress))


def _shows_its_end(meeting: str, wrapper: str | None) -> bool:
    """Whether a link is known to be cut wherever it is: by a known shape, or by what a wrapper signs."""
    if wrapper is None:
        return "/l/meetup-join/" in meeting or "meet.google.com" in meeting
    return wrapper.startswith(("Outlook", "Proofpoint"))


def _is_ambiguous(meeting: str, link: str, dress: str) -> bool:
    """Dresses that hold for some links only: what is not delimited and stands before words, and wrappers' own stars."""
    if dress in ("wrapped in brackets", "a soft break", "escaped JSON") and link == meeting:
        return False
    return "**" in link or "=3D" in link or ("_" in link and dress == "underscores") or "\\" in link


# One by one


CASES: Final = [
    # cut
    Case(folded(f"Join: {TEAMS}"), TEAMS),
    Case(TEAMS.partition("FyYmF6")[0], None),
    Case(f"Join: {TEAMS.partition('FyYmF6')[0]}\r\nfor all", None),
    Case("https://teams.microsoft.com/l/meetup-join/389111222333444", None),
    Case(f"https://teams.microsoft.com/l/meetup-join/{_THREAD}/0", None),
    Case(f"<{hard_wrapped(TEAMS)}>", TEAMS),
    Case(f"<{hard_wrapped(OWN_ZOOM, 30)}>", OWN_ZOOM),
    Case(event(f"Join:\n{OWN_ZOOM}\nThanks"), OWN_ZOOM),
    Case("https://us02web.zoom.us/j/81234567890?pwd=", None),
    Case("https://us02web.zoom.us/j/81234567890?pwd=QkR0…", None),
    Case("see https://us02web.zoom.us/j/81234567890?pwd=QkR0... there", None),
    Case("https://us02web.zoom.us/j/81234567890?pwd=QkR0%2", None),
    Case("https://meet.google.com/abc-defg", None),
    Case("https://meet.google.com/abc-defg-hi", None),
    Case("https://meet.google.com/abc-defg-hijSee", None),
    Case(f"{MEET}…", MEET),
    Case("Join: https://university.\nzoom-x.de/j/81234567890?pwd=a.1", None),
    Case("Join: https://urldefense.com/v3/__https://university\n .zoom-x.de/j/81234567890?pwd=a.1", None),
    # what stands beside
    Case(f"{OWN_ZOOM}&nbsp;</p>", OWN_ZOOM),
    Case(f"<p>{OWN_ZOOM}&nbsp;</p>", OWN_ZOOM),
    Case(f"{OWN_ZOOM}，Passcode 1", OWN_ZOOM),
    Case(f"{OWN_ZOOM}（パスコード）", OWN_ZOOM),
    Case(f"<{OWN_ZOOM}|here>", OWN_ZOOM),
    Case(f"{OWN_ZOOM}|Passcode:1", OWN_ZOOM),
    Case(f"{OWN_ZOOM},Passcode:1", None),
    Case("https://us02web.zoom.us/j/81234567890?pwd=3DQUJ", None),
    Case(
        "https://us02web.zoom.us/j/81234567890?omn=3D1&pwd=3DQUJ", "https://us02web.zoom.us/j/81234567890?omn=1&pwd=QUJ"
    ),
    Case(
        "https://us02web.zoom.us/j/81234567890?omn=1&pwd=3DQUJ", "https://us02web.zoom.us/j/81234567890?omn=1&pwd=3DQUJ"
    ),
    Case(f"Join {OWN_ZOOM}__;!!A!b$ now", OWN_ZOOM),
    Case(f"{OWN_ZOOM}é", None),
    Case(f"{OWN_ZOOM}１", None),
    # names with spaces, and hosts of other products
    Case("https://meet.jit.si/Team Sync", None),
    Case("Join https://meet.jit.si/Team Sync", None),
    Case("Join https://meet.jit.si/Team, please", "https://meet.jit.si/Team"),
    Case("Join <https://meet.jit.si/Team> now", "https://meet.jit.si/Team"),
    Case("(https://meet.jit.si/Team(Sync))", "https://meet.jit.si/Team(Sync)"),
    Case("https://meet.jit.si/Team%20Sync", "https://meet.jit.si/Team%20Sync"),
    Case("https://meet.jit.si/会議", "https://meet.jit.si/会議"),
    Case("https://meet.jit.si/Grüße", "https://meet.jit.si/Grüße"),
    Case("https://meet.jit.si/Teamで会いましょう", None),
    Case("https://meet.jit.si/Team。", "https://meet.jit.si/Team"),
    Case("https://meet.jit.si/Team。明日", None),
    Case("https://meet.google.com/weekly sync", None),
    Case("https://meet.proton.me/join/abc", None),
    Case("https://meet.livekit.io/rooms/abc", None),
    Case("https://meet.pumble.com/abc", None),
    Case("https://meet.around.co/r/abc", None),
    Case("https://bbb.university.example/b/ada-abc-def", None),
    Case("https://meet.company.example/ada/0F9E8D7C", None),
    # wrapped by somebody who hides where it leads
    Case("https://protect-us.mimecast.com/s/abcDEF?domain=zoom.us", None),
    # escapes of iCalendar, marks and letters around
    Case(f"Join\\, please:\\n{OWN_ZOOM}\\nThanks\\; bye", OWN_ZOOM),
    Case(f"\u202a{OWN_ZOOM}\u202c", OWN_ZOOM),
    Case(f"see \u202a{OWN_ZOOM}\u202c there", OWN_ZOOM),
    Case(f"{OWN_ZOOM}\u200b", OWN_ZOOM),
    Case(f"*{OWN_ZOOM}*", OWN_ZOOM),
    Case(f"*Join: {OWN_ZOOM}*", OWN_ZOOM),
    Case(f"{OWN_ZOOM}。", OWN_ZOOM),
    Case(f"링크는 {OWN_ZOOM}에서", OWN_ZOOM),
    Case(f"링크{OWN_ZOOM}입니다", OWN_ZOOM),
    # broken before it was put into a calendar, or written as quoted-printable
    Case(f"BEGIN:VEVENT\nLOCATION:{SHORT[:46]}\\n{SHORT[46:]}\nEND:VEVENT", None),
    Case(f"BEGIN:VEVENT\nLOCATION:{OWN_ZOOM}\nEND:VEVENT", OWN_ZOOM),
    Case(f"BEGIN:VEVENT\nDESCRIPTION:{ZOOM}\\nSee you\nURL;VALUE=URI:https://a.example/\nEND:VEVENT", ZOOM),
    Case("https://meet.jit.si/Standup=E2=80=8B", None),
    # further hosts
    Case("https://university.zoom-x.de/j/81234567890?pwd=a.1", "https://university.zoom-x.de/j/81234567890?pwd=a.1"),
    Case("https://company.zoom.com.cn/j/81234567890?pwd=a.1", "https://company.zoom.com.cn/j/81234567890?pwd=a.1"),
    Case(
        TEAMS.replace("teams.microsoft.com", "partner.teams.microsoftonline.cn"),
        TEAMS.replace("teams.microsoft.com", "partner.teams.microsoftonline.cn"),
    ),
    Case("https://g.co/meet/abc-defg-hij", MEET),
    Case("https://g.co/abc-defg-hij", None),
    Case("https://meet.google.com/_meet/abc-defg-hij?authuser=0", MEET),
    # one meeting, or two
    Case(f'<a href="{SHORT}">Join</a> {SPELT} <a href="{TEAMS}">System reference</a>', SHORT),
    Case(f"Join: {SHORT}\n{SPELT}\nOld: {TEAMS}", SHORT),
    Case(f'<a href="{SHORT}">Join</a> <a href="{TEAMS}" style="color:#000">\nSystem reference</a>', SHORT),
    Case(f'<a href="{SHORT}">Teilnehmen</a> <a href="{TEAMS}" {_SECOND}>Systemreferenz</a>', SHORT),
    Case(f'<a {_SECOND} href="{TEAMS}">Systemreferenz</a> <a href="{SHORT}">Teilnehmen</a>', SHORT),
    Case(f"<a href='{TEAMS}' {_SECOND}>only this one</a>", TEAMS),
    Case(f'<a href="{SHORT}">Join</a> <a href="{TEAMS}">the other one</a> <a {_SECOND} href="#">x</a>', None),
    Case(f'<a href="{SHORT}">Join</a> <a href="#" {_SECOND}>x</a> {TEAMS}', None),
    Case(f"{SHORT} or {TEAMS}", None),
    Case(f"Join: {SHORT}\nMeeting ID: 999 456 789 012 3\n{TEAMS}", None),
    Case(f"{OWN_ZOOM} or {OWN_ZOOM}x", f"{OWN_ZOOM}x"),
    Case(f"{OWN_ZOOM} or https://us02web.zoom.us/j/81234567890?pwd=other", None),
    Case(f"{OWN_ZOOM} or {ZOOM}", ZOOM),
]
