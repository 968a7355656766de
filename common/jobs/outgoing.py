"""A webhook to be sent, and checks of where it may go: the form of a URL, the kind of an IP address.

It resolves no names. The addresses of a name are resolved and checked at the moment of the call.
"""

import ipaddress
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from common.config.settings import TranscriptionSettings, WebhookSettings
from common.errors import PoolmgrError

MAX_URL_LENGTH: Final = 4096

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NETLOC: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")
_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")
_LOOPBACK: Final = IPv4Address("127.0.0.1")

_METADATA_NAMES: Final = frozenset({
    "instance-data", "instance-data.ec2.internal", "metadata", "metadata.azure.internal", "metadata.goog",
    "metadata.google.internal", "metadata.tencentyun.com",
})  # fmt: skip
"""Names that clouds give the address which hands out a VM's credentials."""

# Not public by IANA's special-purpose registries (RFC 6890); also Azure's platform address, which looks public.
_NOT_PUBLIC_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
_UNICAST_V6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "3fff::/20"))

_COMPATIBLE: Final = IPv6Network("::/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL: Final = IPv6Network("64:ff9b:1::/48")


class Delivery(msgspec.Struct, frozen=True):
    """One webhook. `body`: the JSON text, the same on every attempt; `at`: when it happened, epoch seconds.
    `traceparent`: as its bot's client gave it. `number`: of the transcript of which a receiver of its own is told; 0:
    the receiver is the bot's.
    """

    id: str
    bot_id: str
    event: str
    url: str
    body: str
    at: float
    traceparent: str = ""
    number: int = 0

    @property
    def line(self) -> str:
        """The queue that it waits in: its bot's, or one beside it. No receiver waits for another."""
        return line_of(self.bot_id, self.number)


def line_of(bot_id: str, number: int) -> str:
    """No bot's id has a tilde."""
    return f"{bot_id}~{number}" if number else bot_id


class OutgoingRules(msgspec.Struct, frozen=True):
    """`networks`: addresses that may be called although they are not public."""

    allow_http: bool = False
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, settings: WebhookSettings | TranscriptionSettings) -> "OutgoingRules":
        return cls(settings.allow_http, tuple(ipaddress.ip_network(text) for text in settings.allowed_networks))


class BadUrlError(PoolmgrError, ValueError):
    """The URL may not be called; the message says what to change."""


def check_url(text: str, rules: OutgoingRules, scheme: Literal["http", "ws"] = "http") -> None:
    """Check the form of a URL: of a POST, or of a WebSocket; `scheme` is without the s of its TLS. It may still resolve
    to an address that may not be called. Raises: BadUrlError.
    """
    if len(text) > MAX_URL_LENGTH:
        raise BadUrlError(f"the URL is longer than {MAX_URL_LENGTH} characters")
    if any(character.isspace() or not character.isprintable() for character in text) or "\\" in text:
        raise BadUrlError("the URL contains spaces, control characters or backslashes")
    try:
        parts = urlsplit(text)
        match = _NETLOC.fullmatch(parts.netloc)
        address = IPv6Address(match["six"]) if match and match["six"] else None
    except ValueError as error:  # its text quotes the URL
        raise BadUrlError("this is not a URL: its host cannot be read") from error
    if parts.scheme != f"{scheme}s" and not (rules.allow_http and parts.scheme == scheme):
        raise BadUrlError(f"the URL does not begin with {scheme}s:// ({scheme} is only for [webhooks] allow_http)")
    if "@" in parts.netloc:
        raise BadUrlError("the URL carries a user name or password before the host")
    if "#" in text:
        raise BadUrlError("the URL has a fragment (#...), which would never be sent; leave it away")
    if not parts.netloc:
        raise BadUrlError("the URL names no host")
    if not match:
        raise BadUrlError("this is not a URL: its host or port cannot be read")
    if match["port"] and not 1 <= int(match["port"]) <= 65535:
        raise BadUrlError("the URL's port is not between 1 and 65535")
    address = address or _address_of(match["host"].lower())
    if address and not is_allowed(address, rules):
        raise BadUrlError(
            "the URL's host is an address that may not be called: private, local or special"
            " (networks of your own go in [webhooks] allowed_networks)"
        )


def host_of(url: str) -> str:
    """The receiver of a URL, for limits, logs and metrics: the host, and the port if the URL has one."""
    return urlsplit(url).netloc.lower()


def is_allowed(address: Address, rules: OutgoingRules) -> bool:
    """Whether the address may be called: it is public, or the rules name it. An IPv6 address that stands for an IPv4
    address is judged by that one.
    """
    if inner := _embedded(address):
        return all(is_allowed(address, rules) for address in inner)
    if any(address in network for network in rules.networks):
        return True
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _UNICAST_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


def _address_of(host: str) -> Address | None:
    """The address in `host`, in any notation; None if `host` is a name. Raises: BadUrlError."""
    name = host.removesuffix(".")
    labels = name.split(".")
    if not _NUMBER.fullmatch(labels[-1]):
        if len(name) > 253 or not _NAME.fullmatch(name):
            raise BadUrlError("the URL's host is no host name (an international one is written as xn--...)")
        if name in _METADATA_NAMES:
            raise BadUrlError("the URL's host is a cloud's metadata service, which is never called")
        is_here = name in ("localhost", "localhost.localdomain") or name.endswith(".localhost")
        return _LOOPBACK if is_here else None
    # A host that ends in a number is an IPv4 address for browsers and inet_aton (WHATWG URL, "ends in a number"). It
    # has one to four parts, each decimal, octal or hexadecimal; the last part fills the remaining bytes.
    try:
        numbers = [_number(label) for label in labels]
    except ValueError as error:
        raise BadUrlError("the URL's host ends in a number and is no IPv4 address") from error
    *first, last = numbers
    if len(numbers) > 4 or any(number > 255 for number in first) or last >= 256 ** (4 - len(first)):
        raise BadUrlError("the URL's host ends in a number and is no IPv4 address")
    return IPv4Address(sum(number << 8 * (3 - place) for place, number in enumerate(first)) + last)


def _number(label: str) -> int:
    """The number in one part. Raises: ValueError."""
    if not _NUMBER.fullmatch(label) or len(label) > 32:
        raise ValueError
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8 if label.startswith("0") else 10)


def _embedded(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that an IPv6 address contains, or is translated to."""
    if isinstance(address, IPv4Address):
        return ()
    number = int(address)
    if address.ipv4_mapped:
        return (address.ipv4_mapped,)
    if address.sixtofour:
        return (address.sixtofour,)
    if address.teredo:
        return address.teredo
    if address in _NAT64 or (address in _COMPATIBLE and number > 1):
        return (IPv4Address(number & 0xFFFFFFFF),)
    if address in _NAT64_LOCAL:
        # The network's translator decides at which bits the IPv4 address stands: RFC 8215, RFC 6052 2.2.
        at_48 = (number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF
        return (IPv4Address(number & 0xFFFFFFFF), IPv4Address(at_48))
    return ()
