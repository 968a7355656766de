"""Unwraps links that mail filters, chats and calendars put around other links. It opens none of them.

Sources: Proofpoint's own decoder of v1 to v3, Microsoft's pages on Safe Links and on Defender for Cloud Apps (mcas.ms),
Cisco's and Barracuda's on rewritten links; the others as they are seen in mail.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple
from urllib.parse import SplitResult

from common.links.text import BadLinkError, unquoted

_STARTS = ("https://", "http://")
_MOST_DECODED = 3  # levels of encoding that mail programs and launchers were seen to add
_GOOGLE = re.compile(r"(?:www\.)?google\.(?:com|[a-z]{2}|com?\.[a-z]{2})")
_SAFELINKS = ".safelinks.protection."
_SAFELINKS_CLOUDS = (".outlook.com", ".office365.us", ".outlook.cn", ".outlook.de", ".apps.mil")
_MICROSOFT = ("office.net", "office.com", "microsoft.com", "microsoft.us", "cloud.microsoft", "microsoftonline.cn")
_CLOUD_APPS = (".mcas.ms", ".mcas-gov.us", ".mcas-gov.ms")  # suffixes after the host's own name
_PROOFPOINT = ("urldefense.com", "urldefense.us", "urldefense.proofpoint.com")
_PROOFPOINT_TAIL = re.compile(r"[A-Za-z0-9_-]{0,4096}!")
# By host (hosts below it count, too): the parameter that holds the link.
_BY_PARAMETER = {
    "cudasvc.com": "a",
    "fireeye.com": "u",
    "trendmicro.com": "url",
    "slack-redir.net": "url",
    "l.facebook.com": "u",
    "lm.facebook.com": "u",
    "linkedin.com": "url",
    "deref-gmx.net": "redirectUrl",
    "deref-web.de": "redirectUrl",
    "deref-mail.com": "redirectUrl",
    "clicktime.symantec.com": "u",
    "clicktime.cloud.postoffice.net": "u",
}
_OPAQUE = ("mimecast.com", "mimecastprotect.com", "safelinks.com", "mailanyone.net")
_TAILS = frozenset(
    {
        *(
            "google.com",
            "outlook.com",
            "office365.us",
            "outlook.cn",
            "outlook.de",
            "apps.mil",
            "cisco.com",
            "sophos.com",
        ),
        *("mcas.ms", "mcas-gov.us", "mcas-gov.ms", "urldefense.com", "urldefense.us", "proofpoint.com", *_OPAQUE),
        *(".".join(host.rsplit(".", 2)[-2:]) for host in _BY_PARAMETER),
    }
)
"""The last two labels of all hosts that wrap links, except Google's in other countries and `atp-safelinks.html`."""
# Version 3 writes a run of characters as one mark and a letter for its length.
_RUNS = {
    letter: length
    for length, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", start=2)
}
_CUT = "the link is to {}, but was cut off: what it leads on to is not all there"


class Wrapped(NamedTuple):
    """The link inside a wrapper. `whole`: the wrapper says where that link ends."""

    link: str
    whole: bool


def is_below(host: str, suffixes: tuple[str, ...]) -> bool:
    return any(host == suffix or host.endswith(f".{suffix}") for suffix in suffixes)


def tail(host: str) -> str:
    """The last two labels of a host."""
    return ".".join(host.rsplit(".", 2)[-2:])


def may_wrap(link: str, host: str) -> bool:
    """Whether `unwrapped` may find something in that link."""
    # One character is found in a fraction of the time of a word.
    if tail(host) in _TAILS or (";" in link and "__;" in link):
        return True
    return ("?" in link and "/url?" in link) or (host.endswith(_MICROSOFT) and "/atp-safelinks.html" in link)


def parameter(query: str, name: str) -> str | None:
    """The first value of that name in a query, still encoded; None when there is none."""
    for part in query.split("&"):
        key, equals, value = part.partition("=")
        if equals and key == name:
            return value
    return None


def decoded(text: str, *starts: str) -> str:
    """`text` with levels of percent-encoding undone until it begins with one of `starts`; three levels at most."""
    for _ in range(_MOST_DECODED):
        if text[:16].lower().startswith(starts):
            break
        text = unquoted(text)
    return text


def unwrapped(link: str, parts: SplitResult, host: str) -> Wrapped | None:
    """The link inside a wrapper; None for a link that is no wrapper.

    Raises: BadLinkError for a wrapper that was cut off, or hides where it leads.
    """
    if not may_wrap(link, host):
        return None
    found = _by_host(link, parts, host)
    if found is None and "__;" in link:  # only the wrapper's end was left
        found = _proofpoint_3(link)
    if found is None:
        return None
    if not found.link[:8].lower().startswith(_STARTS):
        raise BadLinkError("the link leads on to something that does not begin with https://")
    return found


def _by_host(link: str, parts: SplitResult, host: str) -> Wrapped | None:
    if names := _parameters(host, parts.path):
        found = next(filter(None, (_value(parts.query, name) for name in names)), Wrapped("", whole=False))
        # Safe Links signs what it wraps, so its end is certain.
        if found.link and not found.whole and host.endswith(_SAFELINKS_CLOUDS):
            raise BadLinkError(_CUT.format("a safe link of Outlook"))
        return found
    for suffix in _CLOUD_APPS:
        if host.endswith(suffix):
            return _of_cloud_apps(parts, host[: -len(suffix)])
    if is_below(host, _PROOFPOINT):
        return _proofpoint(link, parts.query, parts.path)
    if host == "secure-web.cisco.com":
        return Wrapped(decoded(link.split("/", 4)[-1], *_STARTS), whole=False)
    if is_below(host, ("protection.sophos.com",)):
        return _of_base64(parameter(parts.query, "u") or "")
    if is_below(host, _OPAQUE):
        raise BadLinkError("the link is one of a mail filter that hides where it leads; send the meeting's own")
    name = next((name for suffix, name in _BY_PARAMETER.items() if is_below(host, (suffix,))), None)
    return _value(parts.query, name) if name else None


def _parameters(host: str, path: str) -> tuple[str, ...]:
    """The names of the parameters that may hold the link, for a redirecting page; empty for other pages."""
    if path == "/url" and _GOOGLE.fullmatch(host):
        return ("q", "url")
    if path == "/linkredirect" and host == "meet.google.com":
        return ("dest",)
    if _SAFELINKS in host and host.endswith(_SAFELINKS_CLOUDS):
        return ("url",)
    if path.endswith("/atp-safelinks.html") and is_below(host, _MICROSOFT):
        return ("url",)
    return ()


def _value(query: str, name: str) -> Wrapped | None:
    value = parameter(query, name)
    if value is None:
        return None
    return Wrapped(decoded(unquoted(value), *_STARTS), whole=f"{name}={value}&" in query)


def _of_cloud_apps(parts: SplitResult, host: str) -> Wrapped:
    """The link without the proxy of Defender for Cloud Apps, which appends its own name to the host."""
    theirs = ("Mcas", "McasTsid=", "McasCtx=")
    kept = (part for part in parts.query.split("&") if not part.startswith(theirs[0]) and not _begins_one(part, theirs))
    query = "&".join(kept)
    return Wrapped(parts._replace(scheme="https", netloc=host, query=query).geturl(), whole=False)


def _begins_one(part: str, names: tuple[str, ...]) -> bool:
    return bool(part) and any(name.startswith(part) for name in names)


def _of_base64(text: str) -> Wrapped:
    try:
        link = base64.urlsafe_b64decode(unquoted(text).rstrip("=") + "==").decode()
    except (ValueError, binascii.Error):
        link = ""
    return Wrapped(link, whole=False)


def _proofpoint(link: str, query: str, path: str) -> Wrapped | None:
    if path.startswith("/v3/"):
        return _proofpoint_3(link.partition("/v3/")[2])
    if path not in ("/v1/url", "/v2/url"):
        return None
    value = parameter(query, "u") or ""
    if f"u={value}&" not in query:
        raise BadLinkError(_CUT.format("a link of Proofpoint"))
    if path == "/v2/url":
        value = value.replace("-", "%").replace("_", "/")
    return Wrapped(unquoted(value), whole=True)


def _proofpoint_3(text: str) -> Wrapped:
    """`__LINK__;BYTES!!…$`, where `*` stands in LINK for a character of BYTES and `**X` for several."""
    link, mark, rest = text[2 * text.startswith("__") :].partition("__;")
    tail = _PROOFPOINT_TAIL.match(rest)
    if not mark or not tail:
        raise BadLinkError(_CUT.format("a link of Proofpoint"))
    scheme, _, behind = link.partition(":/")
    if not behind.startswith("/"):  # one of two slashes was lost on the way
        link = f"{scheme}://{behind}"
    try:
        taken = base64.urlsafe_b64decode(tail[0][:-1] + "==").decode()
        return Wrapped(_filled(link, taken), whole=True)
    except (ValueError, binascii.Error, KeyError, IndexError):
        raise BadLinkError(_CUT.format("a link of Proofpoint")) from None


def _filled(link: str, taken: str) -> str:
    """The link with its marks replaced. Raises: KeyError, IndexError for marks that do not fit."""
    pieces = link.split("*")
    filled, used, number = [pieces[0]], 0, 1
    while number < len(pieces):
        piece, length = pieces[number], 1
        if not piece and number + 1 < len(pieces) and pieces[number + 1]:  # **X
            number += 1
            length, piece = _RUNS[pieces[number][0]], pieces[number][1:]
        if used + length > len(taken):
            raise IndexError
        filled.append(taken[used : used + length] + piece)
        used, number = used + length, number + 1
    if used != len(taken):
        raise IndexError
    return "".join(filled)
