"""Which URLs and addresses may be called: every way of writing a forbidden address that clients understand."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config.settings import WebhookSettings
from common.jobs.outgoing import BadUrlError, OutgoingRules, check_url, host_of, is_allowed

STRICT = OutgoingRules()
HOME = OutgoingRules.of(WebhookSettings(allow_http=True, allowed_networks=["127.0.0.0/8", "fd00::/8"]))


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/poolmgr?key=a%2Fb",
        "https://hooks.example.com.:8443/",
        "https://8.8.8.8/",
        "https://0x08080808/",
        "https://[2606:4700:4700::1111]:443/x",
        "https://[64:ff9b::8.8.8.8]/",
        "https://xn--bcher-kva.example/ü",
        "https://under_score.example",
        "HTTPS://EXAMPLE.COM/",
        "https://metadata.example.com/",
        "https://localhost.example.com/",
    ],
)
def test_public_urls_pass(url: str) -> None:
    check_url(url, STRICT)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "2130706433", "0x7f000001", "0x7F.1", "0177.0.0.1", "127.1", "127.0.1", "0", "0x", "0x7f.0.0.0x1",
        "127.0.0.1.", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:169.254.169.254]",
        "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[64:ff9b:1::7f00:1]", "[fe80::1]", "[fd00:ec2::254]",
        "10.0.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "2852039166", "100.100.100.200",
        "168.63.129.16", "192.0.0.192", "224.0.0.1", "255.255.255.255", "[ff02::1]",
        "localhost", "LOCALHOST.", "a.localhost", "localhost.localdomain", "metadata.google.internal", "metadata",
    ],
)  # fmt: skip
def test_no_way_of_writing_a_local_address_passes(host: str) -> None:
    with pytest.raises(BadUrlError):
        check_url(f"https://{host}/", STRICT)
    with pytest.raises(BadUrlError):
        check_url(f"https://{host}:8443", STRICT)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.com/", "https://"),
        ("ftp://example.com/", "https://"),
        ("//example.com/", "https://"),
        ("example.com", "https://"),
        ("", "https://"),
        ("https:///path", "no host"),
        ("https:example.com", "no host"),
        ("https://user@example.com/", "user name"),
        ("https://8.8.8.8@127.0.0.1/", "user name"),
        ("https://example.com/#@127.0.0.1/", "fragment"),
        ("https://example.com#", "fragment"),
        ("https://example.com\\@127.0.0.1/", "backslashes"),
        (" https://example.com/", "spaces"),
        ("https://exam\tple.com/", "spaces"),
        ("https://example.com/\x00", "spaces"),
        ("https://example.com/\u200b", "spaces"),
        ("https://example.com/" + "x" * 4096, "longer"),
        ("https://example.com:0/", "port"),
        ("https://example.com:65536/", "port"),
        ("https://example.com:/", "port"),
        ("https://example.com:80:80/", "port"),
        ("https://[::1/", "cannot be read"),
        ("https://[fe80::1%25eth0]/", "cannot be read"),
        ("https://[1::2::3]/", "cannot be read"),
        ("https://[12345::]/", "cannot be read"),
        ("https://%31%32%37.0.0.1/", "no IPv4 address"),
        ("https://127.0.0.1%2f.example.com/", "no host name"),
        ("https://１２７.0.0.1/", "no IPv4 address"),
        ("https://127。0。0。1/", "no host name"),
        ("https://ⓛocalhost/", "no host name"),
        ("https://exa mple.com/", "spaces"),
        ("https://-example.com/", "no host name"),
        ("https://a..example.com/", "no host name"),
        ("https://" + "a" * 64 + ".example.com/", "no host name"),
        ("https://" + "a.b" * 100 + "/", "no host name"),
        ("https://1.2.3.4.5/", "no IPv4 address"),
        ("https://256.1/", "no IPv4 address"),
        ("https://1.16777216/", "no IPv4 address"),
        ("https://4294967296/", "no IPv4 address"),
        ("https://09.1.1.1/", "no IPv4 address"),
        ("https://0x1g.1/", "no IPv4 address"),
        ("https://example.1/", "no IPv4 address"),
        ("https://" + "1" * 40 + "/", "no IPv4 address"),
        ("https://a℀b.example/", "cannot be read"),
    ],
)
def test_a_url_that_is_refused_says_why(url: str, why: str) -> None:
    with pytest.raises(BadUrlError, match=why):
        check_url(url, STRICT)


def test_a_network_of_ones_own_and_plain_http_are_allowed_by_name() -> None:
    for url in ("http://127.0.0.1:9000/x", "http://0x7f.1/", "http://[::ffff:127.0.0.1]/", "http://localhost:1/"):
        check_url(url, HOME)
    check_url("https://[fd00::1]/", HOME)
    for host in ("10.0.0.1", "[::1]", "metadata.google.internal"):
        with pytest.raises(BadUrlError):
            check_url(f"http://{host}/", HOME)


ALLOWED = [
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.169.0.0",
    "198.20.0.0", "223.255.255.255", "168.63.129.15", "2001:200::1", "2606:4700::1111", "2a00:1450::1",
    "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
]  # fmt: skip
REFUSED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.255",
    "168.63.129.16", "169.254.0.0", "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.1", "192.0.2.1",
    "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::2", "::7f00:1", "100::1", "64:ff9b:1::808:808", "64:ff9b:2::1",
    "2001::1", "2001:2::1", "2001:10::1", "2001:db8::1", "3fff::1", "4000::1", "5f00::1", "fc00::1", "fd12::1",
    "fe80::1", "fec0::1", "ff02::1", "ff0e::1", "fd00:ec2::254", "fe80::1%eth0",
]  # fmt: skip


@pytest.mark.parametrize("address", ALLOWED)
def test_a_public_address_may_be_called(address: str) -> None:
    assert is_allowed(ipaddress.ip_address(address), STRICT)


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_may_not(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address), STRICT)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_an_ipv4_address_is_judged_alike_in_whatever_it_is_wrapped(number: int, tail: int) -> None:
    inner = IPv4Address(number)
    wrapped = [
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(0x64FF9B << 96 | number),
        IPv6Address(0x2002 << 112 | number << 80 | tail),
    ]
    for rules in (STRICT, HOME):
        assert {is_allowed(address, rules) for address in wrapped} == {is_allowed(inner, rules)}
    if not is_allowed(inner, STRICT):
        teredo = IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | (number ^ 0xFFFFFFFF))
        assert not is_allowed(teredo, STRICT)
        assert not is_allowed(IPv6Address(0x64FF9B0001 << 80 | number), STRICT)


@given(st.integers(0, 2**32 - 1))
def test_a_url_is_judged_alike_in_whatever_way_its_address_is_written(number: int) -> None:
    first, rest = number >> 24, number & 0xFFFFFF
    ways = [
        str(number),
        hex(number),
        f"0{number:o}",
        str(IPv4Address(number)),
        f"{first}.{rest}",
        f"{first:#x}.{rest:#x}",
    ]
    passed: set[bool] = set()
    for host in ways:
        try:
            check_url(f"https://{host}/", STRICT)
        except BadUrlError:
            passed.add(False)
        else:
            passed.add(True)
    assert passed == {is_allowed(IPv4Address(number), STRICT)}


def test_a_network_that_holds_everything_allows_what_is_wrapped_only_by_what_is_in_it() -> None:
    everything = OutgoingRules.of(WebhookSettings(allowed_networks=["::/0"]))
    assert is_allowed(IPv6Address("fd00::1"), everything)
    assert not is_allowed(IPv6Address("::ffff:169.254.169.254"), everything)


def test_the_host_of_a_url_is_its_name_and_port_only() -> None:
    assert host_of("https://Hooks.Example:8443/secret?token=1") == "hooks.example:8443"
